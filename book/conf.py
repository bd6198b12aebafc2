"""How the site looks: Sphinx reads this file, `_config.yml` holds the facts and `_toc.yml` the order.

Build it with `sphinx-build -c book -W -n --keep-going -b html . _site`. Nothing is executed and nothing is
fetched; the finished site asks no other host for anything.
"""

import builtins
import re
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import yaml
from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
facts = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))

project = html_title = facts["title"]
author = facts["author"]
copyright = f"{facts['copyright']}, {author}"
exclude_patterns = facts["exclude_patterns"]
bibtex_bibfiles = [str(ROOT / name) for name in facts["bibtex_bibfiles"]]
myst_enable_extensions = facts["parse"]["myst_enable_extensions"]
nb_execution_mode = facts["execute"]["execute_notebooks"]
globals().update(facts["sphinx"]["config"])

extensions = [
    "myst_nb",
    "sphinx_external_toc",
    "sphinxcontrib.bibtex",
    "sphinx_design",
    "sphinx_copybutton",
    *facts["sphinx"]["extra_extensions"],
]
external_toc_path = str(ROOT / "_toc.yml")
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_logo = "_static/logo.svg"
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": html_title, "alt_text": ""},
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
    "extra_footer": facts["html"]["extra_footer"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_version_warning_banner": False,
}

MATHJAX = "tex-svg-full.js"  # "full": every TeX package inside, so that no macro asks for a second file
mathjax_path = MATHJAX

# Where the types in signatures are documented. Links for the reader: the build does not visit them.
OUTSIDE = {
    "torch.Tensor": "https://docs.pytorch.org/docs/stable/tensors.html",
    "torch.dtype": "https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch.dtype",
    "torch.device": "https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch.device",
    "torch.optim.Optimizer": "https://docs.pytorch.org/docs/stable/optim.html#torch.optim.Optimizer",
    "torch": "https://docs.pytorch.org/docs/stable/generated/{target}.html",
    "numpy": "https://numpy.org/doc/stable/reference/generated/{target}.html",
    "matplotlib.figure": "https://matplotlib.org/stable/api/figure_api.html",
    "matplotlib.axes": "https://matplotlib.org/stable/api/axes_api.html",
}


def link_outside(app, env, node, content):
    """Resolve a reference to a type of torch, NumPy, Matplotlib or Python; any other unknown name stays an error."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    module, dot, _ = target.rpartition(".")
    if not dot and hasattr(builtins, target):
        kind = "constants" if target in ("None", "True", "False") else "stdtypes"
        kind = "exceptions" if target.endswith(("Error", "Interrupt", "Warning")) else kind
        page = f"https://docs.python.org/3/library/{kind}.html#{{target}}"
    elif dot and module.split(".")[0] in sys.stdlib_module_names:
        page = f"https://docs.python.org/3/library/{module}.html#{{target}}"
    else:
        known = [prefix for prefix in OUTSIDE if target == prefix or target.startswith(prefix + ".")]
        if not known:
            return None
        page = OUTSIDE[max(known, key=len)]
    return nodes.reference("", "", content, internal=False, refuri=page.format(target=target))


def plain_docstring(app, what, name, obj, options, lines):
    """Our docstrings are plain text: `code` between single backticks, and no other markup but *emphasis*."""
    for index, line in enumerate(lines):
        pieces = re.split(r"(``[^`]+``|(?<!:)`[^`]+`(?!_))", line)
        for i, piece in enumerate(pieces):
            if piece.startswith("`"):
                pieces[i] = f"``{piece.strip('`')}``"
            else:
                stars = re.sub(r"(\*\w(?:[^*]*\w)?\*(?!\*))|\*", lambda match: match[1] or r"\*", piece)
                pieces[i] = stars.replace("|", r"\|")
        lines[index] = "".join(pieces)


def split_attributes(app, what, name, obj, options, lines):
    """`train, valid: …` under Attributes describes two of them."""
    for index in reversed(range(len(lines))):
        if field := re.match(r":ivar (\w+(?:, \w+)+):(.*)", lines[index]):
            lines[index : index + 1] = [f":ivar {one}:{field[2]}" for one in field[1].split(", ")]


def skip_borrowed(app, what, name, obj, skip, options):
    """Leave out what only looks like ours: a field's default taken from torch, and the fields of a NamedTuple."""
    home = getattr(obj, "__module__", None) or "labsupport"
    if what == "class" and (not home.startswith("labsupport") or (obj.__doc__ or "").startswith("Alias for field")):
        return True
    return None


def is_solutions(link: str) -> bool:
    return link.split("#")[0].endswith(("solutions", "solutions.html"))


def leave_solutions_out(app, pagename, templatename, context, doctree):
    """Solutions are found in the sidebar, never by `next` or `previous`."""
    for way in ("prev", "next"):
        if is_solutions(pagename) or (context.get(way) and is_solutions(context[way]["link"])):
            context[way] = None
    context["rellinks"] = [link for link in context.get("rellinks", []) if not is_solutions(link[0])]


def mend_citations(app, pagename, templatename, context, doctree):
    """docutils gives the bibliography roles that assistive technology refuses: a list whose children are no items."""
    if "citation-list" in context.get("body", ""):
        body = context["body"].replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        context["body"] = body.replace(' role="doc-biblioentry"', "")


def label_folds(app, doctree):
    """A folded output answers the prediction above it: say so on the label (a page may set its own)."""
    names = {"output": "result", "input": "code"}
    for cell in doctree.findall(nodes.container):
        for key in ("prompt_show", "prompt_hide"):
            if key in cell:
                name = names.get(cell.get("hide_mode"), "cell")
                cell[key] = cell[key].replace("code cell {type}", f"the {name}")


def hide_marks(app, doctree):
    """`# NBVAL_CHECK_OUTPUT` speaks to the tests, not to readers; a downloaded notebook keeps it."""
    for code in doctree.findall(nodes.literal_block):
        text = code.astext()
        if text.startswith("# NBVAL_"):
            text = text.partition("\n")[2]
            code.rawsource, code.children = text, []
            code += nodes.Text(text)


def copy_mathjax(app, exception):
    """Serve MathJax from the site itself: one file of the sphinx-mathjax-offline package."""
    if exception is None and app.builder.format == "html":
        source = distribution("sphinx-mathjax-offline").locate_file(f"sphinx-mathjax-offline/static/mathjax/{MATHJAX}")
        shutil.copyfile(source, Path(app.outdir, "_static", MATHJAX))


def setup(app):
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", split_attributes, priority=600)  # after it
    app.connect("autodoc-skip-member", skip_borrowed)
    app.connect("missing-reference", link_outside)
    app.connect("doctree-read", label_folds)
    app.connect("doctree-read", hide_marks)
    app.connect("html-page-context", mend_citations)
    app.connect("html-page-context", leave_solutions_out, priority=900)
    app.connect("build-finished", copy_mathjax)
