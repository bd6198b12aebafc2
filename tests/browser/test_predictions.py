"""Predictions on the built site: folded until answered, and nothing that is seen before then gives them away."""

import re

import pytest
from playwright.sync_api import expect
from rules.model import Page

from book import pages
from book.pages import ROOT
from labsupport.show.predictions import PREDICTION

LESSONS = [page for page in map(Page, pages.pages(ROOT)) if not page.is_solutions]
ONE = "chapters/hypergradients/drmad.html"
BOX = '.predict[data-name="{}"]'
# What can be seen of a page: its headings, and all up to the end of the question's section, but not the questions.
SEEN = """box => {
    const article = document.querySelector('.bd-article'), seen = element => element.checkVisibility();
    const named = ['alt', 'title', 'aria-label', 'aria-valuetext'], found = [document.title];
    const section = [...article.querySelectorAll(':scope > section > section')].find(part => part.contains(box));
    const after = element => section && !section.contains(element) &&
        section.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING;
    for (const heading of article.querySelectorAll('h1, h2, h3, h4')) if (seen(heading)) found.push(heading.innerText);
    for (const part of article.querySelectorAll('*')) {
        if (part.closest('.predict, .header-article') || after(part) || !seen(part)) continue;
        for (const name of named) if (part.hasAttribute(name)) found.push(part.getAttribute(name));
        if (part.matches('p, li, pre, td, th, figcaption, output, label, summary')) found.push(part.innerText);
    }
    return found;
}"""


def asked(page: Page) -> list[dict]:
    """The records of a page's predictions, from its stored outputs."""
    outputs = [output for cell in page.code for output in cell.outputs]
    return [output.data[PREDICTION] for output in outputs if PREDICTION in output.get("data", {})]


@pytest.mark.parametrize("lesson", LESSONS, ids=[page.name for page in LESSONS])
def test_an_unanswered_page_gives_nothing_away(lesson, site_url, open_page):
    page = open_page(f"{site_url}chapters/{lesson.name}.html")
    assert asked(lesson)
    for record in asked(lesson):
        seen = page.locator(BOX.format(record["name"])).evaluate(SEEN)
        found = [(one, text) for one in record["reveals"] for text in seen if re.search(one, text, flags=re.I)]
        assert found == []


@pytest.mark.parametrize("lesson", LESSONS, ids=[page.name for page in LESSONS])
def test_what_is_folded_opens_by_a_choice(lesson, site_url, open_page, trouble, picture):
    page = open_page(f"{site_url}chapters/{lesson.name}.html")
    for record in asked(lesson):
        box, told = (page.locator(f'.{kind}[data-name="{record["name"]}"]') for kind in ("predict", "outcome"))
        expect(told).to_be_hidden()
        expect(box.locator(".predict-note")).to_have_text("What follows is folded until you choose.")
        picture(page, f"{lesson.name}-{record['name']}-folded")
        page.emulate_media(media="print")
        expect(told).to_be_visible()
        page.emulate_media(media="screen")
        expect(told).to_be_hidden()
        box.get_by_role("radio").first.focus()
        page.keyboard.press("Space")
        expect(told).to_be_visible()
        expect(told.locator(".outcome-choice")).to_contain_text("You chose")
    expect(page.locator(".predict-folded")).to_have_count(0)
    trouble.assert_none()


def test_it_opens_by_a_link_and_by_a_skip_and_remembers(site_url, open_page, trouble):
    page = open_page(f"{site_url}{ONE}")
    box, told = page.locator(".predict").first, page.locator(".outcome").first
    page.evaluate("document.querySelector('.outcome').closest('.cell').id = 'told'; location.hash = '#told'")
    expect(told).to_be_visible()
    expect(told.locator(".outcome-choice")).to_have_text("You looked without choosing.")
    page.evaluate("localStorage.clear()")
    page.goto(f"{site_url}{ONE}")
    expect(told).to_be_hidden()
    box.locator("button").click()
    expect(told).to_be_visible()
    page.evaluate("localStorage.clear()")
    page.reload()
    box.get_by_role("radio").nth(1).check()
    kept = page.evaluate("localStorage.getItem('predict:' + document.querySelector('.predict').dataset.name)")
    assert kept == box.locator("label").nth(1).inner_text()  # its words: choices may be put in another order
    page.reload()
    expect(told).to_be_visible()
    expect(box.get_by_role("radio").nth(1)).to_be_checked()
    trouble.assert_none()


def test_without_scripts_nothing_is_folded(site_url, open_page):
    page = open_page(f"{site_url}{ONE}", java_script_enabled=False)
    expect(page.locator(".outcome").first).to_be_visible()
    expect(page.locator(".predict button").first).to_be_hidden()
