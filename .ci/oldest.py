"""Print each lower bound of a dependency as a pin, for `pip install --constraint`."""

import re
import tomllib
from pathlib import Path

path = Path(__file__).parents[1] / "pyproject.toml"
project = tomllib.loads(path.read_text("utf-8"))["project"]
extras = project["optional-dependencies"]
# Not of the tools for lint, types and tests, whose findings differ with each version.
names = ("dask", "feed", "openvino", "sentiment")
stated = {*project["dependencies"], *(r for name in names for r in extras[name])}
for requirement in sorted(stated):
    if bound := re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement):
        print(*bound.groups(), sep="==")
