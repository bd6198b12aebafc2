"""The built site: whole, self-contained, in order."""

import importlib
import inspect
import json
import pkgutil
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from sitebuild import ROOT, build_site, in_toc

import labsupport

RESOURCES = {"script": ["src"], "link": ["href"], "img": ["src", "srcset"], "source": ["src", "srcset"],
             "iframe": ["src"], "object": ["data"], "embed": ["src"], "video": ["src", "poster"]}  # fmt: skip
MADE_BY_SPHINX = {"genindex", "py-modindex", "search", "index"}


@dataclass
class Page(HTMLParser):
    """What the tests ask of a page: its elements with their attributes, and the text of its equation numbers."""

    path: Path
    elements: list[tuple[str, dict]] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self._in_number = False
        self.text = self.path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._in_number = "eqno" in self.elements[-1][1].get("class", "")

    def handle_data(self, data):
        if self._in_number:
            self.numbers.append(data.strip("()"))
            self._in_number = False

    def of(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]

    def with_class(self, name):
        return [attributes for _, attributes in self.elements if name in attributes.get("class", "").split()]

    @property
    def ids(self):
        return {attributes["id"] for _, attributes in self.elements if "id" in attributes}

    def target(self, link):
        """The file and the anchor that a link of this page leads to; None where it leaves the site."""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            return None
        return (self.path.parent / unquote(parts.path)).resolve() if parts.path else self.path, unquote(parts.fragment)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def pages(site):
    """Every page by its name, those that Sphinx makes included."""
    found = {path.relative_to(site).with_suffix("").as_posix(): Page(path) for path in site.rglob("*.html")}
    return {name: page for name, page in found.items() if not name.startswith("_static/")}


@pytest.fixture(scope="module")
def book(pages):
    return {name: pages[name] for name in in_toc()}


def test_the_table_of_contents_is_the_site(pages):
    assert set(pages) - MADE_BY_SPHINX == set(in_toc())
    assert in_toc()[0] in pages["index"].text  # the front door leads to the first page


def test_every_file_of_chapters_has_its_place():
    left_out = {"exercises", "solutions"}
    files = {p.relative_to(ROOT).with_suffix("").as_posix() for p in (ROOT / "chapters").rglob("*.ipynb")}
    files |= {p.relative_to(ROOT).with_suffix("").as_posix() for p in (ROOT / "chapters").glob("*.md")}
    files = {name for name in files if ".ipynb_checkpoints" not in name}
    assert files - set(in_toc()) == set(), "not in _toc.yml"
    assert left_out <= {name.split("/")[-1] for name in in_toc()}


def test_nothing_comes_from_another_host(pages):
    outside = [
        (name, tag, attributes[key])
        for name, page in pages.items()
        for tag, attributes in page.elements
        for key in RESOURCES.get(tag, [])
        if re.match(r"(https?:)?//", attributes.get(key, "").strip())
    ]
    assert outside == []


def test_no_style_sheet_fetches_from_another_host(site, pages):
    fetch = re.compile(r"""(@import\s+(url\()?["']?|url\(\s*["']?)(https?:)?//""")
    styles = {path.name: path.read_text(encoding="utf-8") for path in (site / "_static").rglob("*.css")}
    styles |= {name: "".join(re.findall(r"<style.*?</style>", page.text, flags=re.S)) for name, page in pages.items()}
    assert [name for name, text in styles.items() if fetch.search(text)] == []


def test_every_local_link_leads_somewhere(pages):
    known = {page.path: page.ids for page in pages.values()}
    broken = []
    for name, page in pages.items():
        links = [a.get("href") or a.get("src") for a in page.of("a", "link", "img", "script")]
        for link in filter(None, links):
            if (target := page.target(link)) is None:
                continue
            file, anchor = target
            file = file / "index.html" if file.is_dir() else file
            if not file.exists() or (anchor and file in known and anchor not in known[file]):
                broken.append((name, link))
    assert broken == []


def test_every_page_can_be_downloaded(book):
    for name, page in book.items():
        buttons = page.with_class("btn-download-source-button")
        assert len(buttons) == 1, name
        file, _ = page.target(buttons[0]["href"])
        source = next(p for p in (ROOT / f"{name}.ipynb", ROOT / f"{name}.md") if p.exists())
        assert file.suffix == source.suffix, name
        assert file.read_bytes() == source.read_bytes(), name
        if source.suffix == ".ipynb":
            assert json.loads(file.read_text(encoding="utf-8"))["nbformat"] == 4


def test_every_chapter_page_downloads_as_a_notebook(book):
    for name in book:
        if re.fullmatch(r"chapters/\w+/\w+", name):
            assert (ROOT / f"{name}.ipynb").exists(), name


def test_every_picture_says_what_is_to_be_seen(pages):
    silent = [
        (name, attributes.get("src", "")[:60])
        for name, page in pages.items()
        for attributes in page.of("img")
        if not attributes.get("alt", "").strip() and "logo__image" not in attributes.get("class", "")
    ]
    assert silent == []
    assert all("alt" in attributes for page in pages.values() for attributes in page.of("img"))


def test_solutions_are_outside_the_reading_path(book):
    def neighbours(page):
        links = page.with_class("left-prev") + page.with_class("right-next")
        return [a["href"] for a in links + [a for a in page.of("link") if a.get("rel") in ("next", "prev")]]

    for name, page in book.items():
        leads = neighbours(page)
        assert not any("solutions" in link for link in leads), name
        if name.endswith("solutions"):
            assert leads == [], name


def test_next_leads_through_the_whole_book(book):
    names = {page.path: name for name, page in book.items()}
    here, walked = in_toc()[0], [in_toc()[0]]
    while following := book[here].with_class("right-next"):
        here = names[book[here].target(following[0]["href"])[0]]
        walked.append(here)
    assert walked == [name for name in in_toc() if not name.endswith("solutions")]


def test_the_api_lists_every_public_name(book):
    ids = set().union(*(page.ids for name, page in book.items() if name.startswith("book/api/")))
    missing = []
    for info in pkgutil.walk_packages(labsupport.__path__, "labsupport."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name in module.__all__:
            thing = getattr(module, name, None)
            if not inspect.isclass(thing) and not inspect.isroutine(thing):  # a constant, a room, an exercise's check
                continue
            home = f"{getattr(thing, '__module__', info.name)}.{getattr(thing, '__qualname__', name)}"
            parents = {f"{info.name.rsplit('.', depth)[0]}.{name}" for depth in range(info.name.count("."))}
            if not ids & {home, f"{info.name}.{name}", *parents}:
                missing.append(f"{info.name}.{name}")
    assert missing == []


def test_equations_are_numbered_from_one_on_every_page(book):
    numbered = {name: page.numbers for name, page in book.items() if page.numbers}
    assert numbered, "no page has a numbered equation"
    for name, numbers in numbered.items():
        assert numbers == [str(n + 1) for n in range(len(numbers))], name


def test_mathjax_is_served_from_the_site(site, book):
    for name, page in book.items():
        scripts = [a["src"] for a in page.of("script") if "tex-" in a.get("src", "")]
        if page.with_class("math"):
            assert len(scripts) == 1, name
            assert page.target(scripts[0].split("?")[0])[0].parent == site / "_static"


def test_folds_and_code_are_labelled_for_readers(book):
    page = book["chapters/landscape/saddle_points"]
    assert "Show the result" in page.text
    assert page.with_class("predict")
    assert not any("NBVAL_" in page.text for page in book.values())
    assert not any("Show code cell" in page.text for page in book.values())


def test_the_search_index_knows_the_chapters(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(")
    assert '"saddl"' in index or "saddl:" in index
    assert '"chapters/landscape/saddle_points"' in index
