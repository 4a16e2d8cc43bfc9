import os

# Before any numerical library is loaded: small nets are fastest on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import inspect
import re
from importlib import import_module
from pathlib import Path

import skchallenge

DOCS = Path(__file__).parent

project = "skchallenge"
author = "The skchallenge developers"
copyright = author
release = version = skchallenge.__version__

# No intersphinx: the build must work, with -W, on a machine without a network.
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**/sg_execution_times.rst", "sg_execution_times.rst"]
default_role = "py:obj"  # single backticks link where there is something to link
add_function_parentheses = False
autodoc_typehints = "none"  # numpydoc states the types
numpydoc_show_class_members = False  # the template lists them

html_theme = "pydata_sphinx_theme"
html_title = "skchallenge"
html_show_sourcelink = False
html_sidebars = {"*": []}  # pages of the guide have no pages below them
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "/plot_",
    "plot_gallery": True,
    "abort_on_example_error": True,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 600,
    "show_signature": False,
    "download_all_examples": False,
}


# Names on the API page, by the module that its readers import them from: the last.
MODULES = (
    "tabular",
    "nn",
    "exceptions",
    "metrics",
    "model_selection",
    "baselines",
    "feed",
    "datasets",
    "media",
    "embed",
    "",
)
PUBLIC = {
    name: module
    for module in MODULES
    for name in import_module(f"skchallenge.{module}".rstrip(".")).__all__
}
PUBLIC = {
    name: f"skchallenge.{m}.{name}".replace("..", ".") for name, m in PUBLIC.items()
}


def own_methods(cls):
    """List the public methods that this package defines, not scikit-learn."""
    return [
        name
        for name, function in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and function.__module__.startswith("skchallenge.")
    ]


def public_object(path):
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


autosummary_context = {
    "own_methods": {path: own_methods(public_object(path)) for path in PUBLIC.values()}
}


def include_changelog(app, docname, source):
    """Turn CHANGELOG.md, which uses little of Markdown, into the page's text."""
    if docname != "changelog":
        return
    underlines = {"#": "=", "##": "-", "###": "~"}
    lines = []
    for line in (DOCS.parent / "CHANGELOG.md").read_text("utf-8").splitlines():
        heading = re.fullmatch(r"(#+) (.*)", line)
        if heading:
            title = heading[2]
            lines += [title, underlines[heading[1]] * len(title)]
        else:
            lines.append(re.sub(r"\[(.+?)\]\((.+?)\)", r"`\1 <\2>`__", line))
    source[0] = "\n".join(lines)


def find_public_home(app, env, node, contnode):
    """Link a public name or its method, mentioned in full or not."""
    *_, owner, name = ["", *node.get("reftarget", "").split(".")]
    path = PUBLIC.get(name) or (owner in PUBLIC and f"{PUBLIC[owner]}.{name}")
    if node.get("refdomain") != "py" or not path:
        return None
    domain, page = env.get_domain("py"), node["refdoc"]
    return domain.resolve_xref(env, page, app.builder, "obj", path, node, contnode)


def setup(app):
    app.connect("source-read", include_changelog)
    app.connect("missing-reference", find_public_home)
