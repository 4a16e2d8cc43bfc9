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
    "matplotlib.sphinxext.plot_directive",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
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
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {"index": [], "changelog": []}
html_context = {"default_mode": "light"}
html_theme_options = {
    "logo": {"text": "skchallenge"},
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# What is copied runs: no prompts, no output.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# Charts at the head of pages are drawn from the numbers in docs/pictures.
plot_formats = [("svg", 72)]
plot_html_show_formats = plot_html_show_source_link = False
plot_rcparams = {"figure.figsize": (6.8, 2.9), "axes.spines.top": False}
plot_rcparams |= {"axes.spines.right": False, "figure.constrained_layout.use": True}
plot_rcparams |= {"font.size": 11, "svg.hashsalt": "skchallenge"}
plot_apply_rcparams = True

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
    "doc_module": ("skchallenge",),
    "backreferences_dir": "generated/gallery",
    "reference_url": {"skchallenge": None},
    "subsection_order": ["../examples/virality", "../examples/feed", "*"],
    "thumbnail_size": (560, 300),
}


# Names on the API page, by the module that its readers import them from: the last.
MODULES = (
    "tabular",
    "nn",
    "media",
    "exceptions",
    "metrics",
    "model_selection",
    "baselines",
    "feed",
    "datasets",
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


def methods(cls):
    """List the public methods of a class: own ones, and those of its scikit-learn.

    Those of PyTorch's modules and of exceptions are documented there.
    """
    own, inherited = [], []
    for name, method in inspect.getmembers(cls, callable):
        home = (getattr(method, "__module__", None) or "").partition(".")[0]
        if name.startswith("_") or home not in {"skchallenge", "sklearn"}:
            continue
        if home == "skchallenge":
            own.append(name)
            continue
        summary = inspect.getdoc(method).partition("\n\n")[0].replace("\n", " ")
        summary = re.sub(r":\w+:`([^`<]+?)(?: <[^`]*>)?`", r"\1", summary)
        signature = inspect.signature(method)
        parameters = [
            p.replace(annotation=p.empty)
            for p in signature.parameters.values()
            if p.name != "self"
        ]
        signature = signature.replace(
            parameters=parameters, return_annotation=signature.empty
        )
        inherited.append((name, str(signature), summary))
    return own, inherited


def public_object(path):
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


CLASSES = [path for path in PUBLIC.values() if inspect.isclass(public_object(path))]
EXAMPLES = sorted(DOCS.parent.glob("examples/**/plot_*.py"))


def examples_of(name):
    """List the examples that name a public object."""
    named = re.compile(rf"\b{name}\b")
    return [
        f"../{path.relative_to(DOCS.parent)}"
        for path in EXAMPLES
        if named.search(path.read_text("utf-8"))
    ]


autosummary_context = {
    "own_methods": {path: methods(public_object(path))[0] for path in CLASSES},
    "inherited_methods": {path: methods(public_object(path))[1] for path in CLASSES},
    "examples": {path: examples_of(name) for name, path in PUBLIC.items()},
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
