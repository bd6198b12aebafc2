"""The built site as a reader meets it: in light and dark, on a desk and a phone, with the keyboard alone, on paper."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import MODES
from playwright.sync_api import Page, expect
from sitebuild import in_toc

PAGE = "chapters/landscape/saddle_points"
EVERY = [*in_toc(), "search", "genindex"]


def looks() -> list[tuple[str, str]]:
    """Which page is looked at in which mode: the first of each chapter in all four, the package's in the hardest."""
    chapters, found = set(), []
    for name in EVERY:
        if name.startswith("book/api"):
            modes = ["phone-dark"]
        else:
            modes = ["phone-dark", "desktop-light"] if name.rpartition("/")[0] in chapters else list(MODES)
            chapters.add(name.rpartition("/")[0])
        found += [(name, mode) for mode in modes]
    return found


def wait_for_math(page: Page) -> None:
    page.wait_for_function(
        "() => document.querySelectorAll('.math').length === 0 || (window.MathJax?.startup?.promise && "
        "[...document.querySelectorAll('.math')].every(math => math.querySelector('mjx-container')))"
    )


def serious(page: Page) -> list[str]:
    """What axe-core finds serious or critical, with the elements it means."""
    # A text that is still fading in has another colour: bring every animation to its end first.
    page.evaluate("""async () => {
        for (const animation of document.getAnimations()) { try { animation.finish(); } catch (error) {} }
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    }""")
    # Without preload axe does not fetch style sheets, which would look like failed requests of the page.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:120]} — {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(("name", "mode"), looks())
def test_page(name, mode, site_url, open_page, trouble, picture):
    page = open_page(f"{site_url}{name}.html", mode)
    wait_for_math(page)
    picture(page, f"{name}-{mode}")
    assert page.evaluate("document.documentElement.dataset.theme") == mode.split("-")[1]
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, "wider than the screen"
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    empty = "all => all.filter(image => image.complete && !image.naturalWidth).map(image => image.src.slice(0, 80))"
    assert page.locator("img").evaluate_all(empty) == []
    assert serious(page) == []
    trouble.assert_none()


@pytest.mark.parametrize("mode", MODES)
def test_unfolded_page_is_accessible_too(mode, site_url, open_page, picture):
    page = open_page(f"{site_url}{PAGE}.html", mode)
    wait_for_math(page)
    for button in page.locator(".predict button").all():
        button.click()
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    picture(page, f"unfolded-{mode}")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert serious(page) == []


@pytest.mark.parametrize("mode", ["desktop-light", "phone-dark"])
def test_every_slider_moves_by_keyboard(mode, site_url, open_page, trouble):
    page = open_page(f"{site_url}{PAGE}.html", mode)
    sliders = page.locator("figure.slider")
    assert sliders.count() >= 1
    for figure in sliders.all():
        control, image, text = figure.get_by_role("slider"), figure.locator("img"), figure.locator("output")
        assert control.evaluate("input => input.labels[0].textContent.trim()")
        page.evaluate("document.activeElement.blur()")
        control.focus()
        for key in ("End", "Home", "ArrowRight"):
            before = image.get_attribute("src"), image.get_attribute("alt"), text.inner_text()
            page.keyboard.press(key)
            after = image.get_attribute("src"), image.get_attribute("alt"), text.inner_text()
            if key != "Home":
                assert all(old != new for old, new in zip(before, after, strict=True))
            assert control.get_attribute("aria-valuetext") == text.inner_text()
            assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    trouble.assert_none()


def test_a_slider_is_dragged(site_url, open_page):
    page = open_page(f"{site_url}{PAGE}.html")
    figure = page.locator("figure.slider").first
    control, image = figure.get_by_role("slider"), figure.locator("img")
    control.scroll_into_view_if_needed()
    box, before = control.bounding_box(), image.get_attribute("src")
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, middle, steps=5)
    page.mouse.up()
    assert image.get_attribute("src") != before


def test_without_scripts_everything_can_be_read(site_url, open_page):
    page = open_page(f"{site_url}{PAGE}.html", java_script_enabled=False)
    expect(page.locator("figure.slider img").first).to_be_visible()
    page.locator("details.hide summary").first.click()
    expect(page.locator("details.hide .cell_input").first).to_be_visible()


def test_on_paper_nothing_is_folded(site_url, open_page, picture):
    page = open_page(f"{site_url}{PAGE}.html")
    page.emulate_media(media="print")
    picture(page, "paper")
    expect(page.locator(".bd-sidebar-primary")).to_be_hidden()


def test_the_colour_mode_can_be_chosen(site_url, open_page):
    page = open_page(f"{site_url}{PAGE}.html")
    page.get_by_role("button", name="Color mode").first.click()
    page.locator(".theme-change-button[data-mode=dark]").first.click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_page_is_downloaded_as_a_notebook(site_url, open_page):
    page = open_page(f"{site_url}{PAGE}.html")
    page.get_by_role("button", name="Download this page").hover()
    with page.expect_download() as download:
        page.locator(".btn-download-source-button").click()
    assert download.value.suggested_filename == "saddle_points.ipynb"


@pytest.mark.parametrize("address", ["served", "from the file system"])
def test_search_finds_the_page(address, site_url, site_folder, open_page, trouble):
    start = site_url if address == "served" else f"{site_folder.as_uri()}/"
    page = open_page(f"{start}search.html?q=saddle")
    expect(page.locator("ul.search li a").first).to_be_visible()
    assert any(PAGE in link.get_attribute("href") for link in page.locator("ul.search li a").all())
    assert trouble.outside == []
    if address == "served":
        trouble.assert_none()


def test_a_page_opens_from_the_file_system(site_folder, open_page, trouble):
    page = open_page(f"{(site_folder / PAGE).as_uri()}.html")
    wait_for_math(page)
    control = page.locator("figure.slider input").first
    before = page.locator("figure.slider img").first.get_attribute("src")
    control.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("figure.slider img").first.get_attribute("src") != before
    trouble.assert_none()


def test_the_ledger_is_narrowed_down(site_url, open_page, trouble):
    page = open_page(f"{site_url}chapters/claims.html", "phone-light")
    cards, lists = page.locator(".claim-card"), page.locator(".ledger-filters select")
    every = cards.count()
    expect(page.locator(".ledger-filters [role=status]")).to_have_text(f"{every} of {every} claims")
    lists.nth(0).select_option("hypergradients")
    lists.nth(1).select_option("fails")
    shown = page.locator(".claim-card:visible")
    assert 0 < shown.count() < every
    assert shown.count() == page.locator(".claim-card.chapter-hypergradients.verdict-fails").count()
    expect(page.get_by_role("heading", name="Landscape")).to_be_hidden()
    shown.first.locator("summary").click()
    expect(shown.first.get_by_text("Tested in")).to_be_visible()
    trouble.assert_none()
