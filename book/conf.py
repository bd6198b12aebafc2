"""How the site looks: Sphinx reads this file, `_config.yml` holds the facts and `_toc.yml` the order.

Build it with `sphinx-build -c book -W -n --keep-going -b html . _site`. Nothing is executed and nothing is
fetched; the finished site asks no other host for anything.
"""

import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
facts = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
ours = facts["sphinx"]["local_extensions"]  # name: folder
sys.path[:0] = [str(ROOT), *(str(ROOT / folder) for folder in ours.values())]

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
    *ours,
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
    "use_repository_button": facts["html"]["use_repository_button"],
    "repository_url": facts["repository"]["url"],
    "repository_branch": facts["repository"]["branch"],
    "navbar_persistent": [],
    "extra_footer": facts["html"]["extra_footer"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_version_warning_banner": False,
}

MATHJAX = "tex-svg-full.js"  # "full": every TeX package inside, so that no macro asks for a second file
mathjax_path = MATHJAX


def copy_mathjax(app, exception):
    """Serve MathJax from the site itself: one file of the sphinx-mathjax-offline package."""
    if exception is None and app.builder.format == "html":
        source = distribution("sphinx-mathjax-offline").locate_file(f"sphinx-mathjax-offline/static/mathjax/{MATHJAX}")
        shutil.copyfile(source, Path(app.outdir, "_static", MATHJAX))


def setup(app):
    app.connect("build-finished", copy_mathjax)
