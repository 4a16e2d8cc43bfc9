"""Print each lower bound of a dependency as a pin, for `pip install --constraint`."""

import re
import tomllib
from pathlib import Path

path = Path(__file__).parents[1] / "pyproject.toml"
project = tomllib.loads(path.read_text("utf-8"))["project"]
extras = project["optional-dependencies"]
names = ("dask", "feed", "openvino", "sentiment", "test")
stated = {*project["dependencies"], *(r for name in names for r in extras[name])}
# What these find differs with each version.
tools = r"(?!hypothesis|import-linter|mypy|pandas-stubs|pytest|ruff)"
for requirement in sorted(stated):
    if bound := re.fullmatch(rf"{tools}([\w-]+)>=([\d.]+)", requirement):
        print(*bound.groups(), sep="==")
