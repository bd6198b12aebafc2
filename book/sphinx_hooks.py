"""A Sphinx extension: what our pages and docstrings need beyond settings.

Both `book/conf.py` and Jupyter Book 1.x (through `_config.yml`) load it, so it imports nothing of ours.
"""

import builtins
import re
import sys

from docutils import nodes

__all__ = ["setup"]

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
    "optuna": "https://optuna.readthedocs.io/en/stable/reference/index.html",
}
# What signatures name without its module.
BARE = {"Device": "torch.device", "Executor": "concurrent.futures.Executor", "Module": "torch.nn.Module",
        "ModuleType": "types.ModuleType"}  # fmt: skip


def link_outside(app, env, node, content):
    """Resolve a reference to a type of torch, NumPy, Matplotlib or Python; any other unknown name stays an error."""
    if node.get("refdomain") != "py":
        return None
    target = BARE.get(node["reftarget"], node["reftarget"])
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


def setup(app):
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", split_attributes, priority=600)  # after it
    app.connect("autodoc-skip-member", skip_borrowed)
    app.connect("missing-reference", link_outside)
    app.connect("doctree-read", label_folds)
    app.connect("doctree-read", hide_marks)
    app.connect("html-page-context", mend_citations)
    app.connect("html-page-context", leave_solutions_out, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
