"""JupyterLab as a learner meets it: the copied page runs, folds, moves, and reads well when it is opened again."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect
from sitebuild import ROOT

PAGE = "landscape/saddle_points.ipynb"
TOKEN = "course"
MINUTE = 60_000  # milliseconds
SHOWN_ERRORS = ".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']"


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab over a learner's folder."""

    url: str
    folder: Path

    def address(self, page: str) -> str:
        return f"{self.url}/lab/tree/{page}?token={TOKEN}&reset"

    def ask(self, method: str, path: str):
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        request.add_header("Authorization", f"token {TOKEN}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None


def course():
    """course.py as a module: the settings that its `lab` starts JupyterLab with."""
    spec = importlib.util.spec_from_file_location("course", ROOT / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wait_until_up(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            lab.ask("GET", "status")
            return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')}", pytrace=False)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab as `course.py lab` starts it, over a fresh copy and with a user's folders that are empty."""
    home = tmp_path_factory.mktemp("learner")
    folder, settings, log = home / "my", home / "settings", home / "lab.log"
    dirs = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | dirs | {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1", "PATH": path}
    env |= {"OMP_NUM_THREADS": "1", "SHELL": "/bin/sh"}
    env.pop("LABSUPPORT_LIVE", None)
    subprocess.run([sys.executable, "-m", "book", "copy", str(folder)], cwd=ROOT, env=env, check=True)
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(course().LAB_SETTINGS), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}",
        f"--LabApp.app_settings_dir={settings}", "--ServerApp.jpserver_extensions={'jupyterlab_jupytext': False}",
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with log.open("w", encoding="utf-8") as out:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            running = Lab(f"http://127.0.0.1:{port}", folder)
            wait_until_up(running, server, log)
            yield running
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_until_idle(page: Page) -> None:
    """Wait for the kernel by the words of the status bar; "Run All" before it is there would be lost."""
    expect(page.get_by_text(re.compile(r"\| Idle$")).first).to_be_visible(timeout=MINUTE)


def open_notebook(lab: Lab, open_page, name: str = PAGE, mode: str = "desktop-light") -> Page:
    """Open a notebook in a fresh browser and wait for its kernel."""
    page = open_page(lab.address(name), mode)
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=MINUTE)
    wait_until_idle(page)
    return page


def run_all(page: Page) -> None:
    """Run → Run All Cells, and wait until every code cell has been run."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(
        r"""() => [...document.querySelectorAll('.jp-CodeCell')].every(cell => {
              const area = cell.querySelector('.jp-InputArea-prompt');  // none where the code is folded
              if (!area) return true;
              const prompt = area.textContent.trim();
              return cell.model?.sharedModel?.source === '' || /^\[\d+\]:?$/.test(prompt); })""",
        timeout=3 * MINUTE,
    )
    wait_until_idle(page)


def asked(page: Page, number: int):
    """A prediction's box, and the box that tells what the run says to it."""
    box = page.locator(".predict").nth(number)
    return box, page.locator(f'.outcome[data-name="{box.get_attribute("data-name")}"]')


def save(page: Page) -> None:
    page.keyboard.press("Escape")
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_text("Save Notebook", exact=True).click()
    page.wait_for_function(
        "() => !document.querySelector('.jp-mod-dirty, .lm-mod-current.jp-mod-dirty')", timeout=MINUTE
    )


def test_the_welcome_page_opens(lab, open_page, trouble, picture):
    page = open_page(lab.address("welcome.md"))
    heading = page.get_by_role("heading", name="Adaptive Training").first
    expect(heading).to_be_visible(timeout=MINUTE)
    picture(page, "lab-welcome", full_page=False)
    page.get_by_role("link", name=re.compile("saddle|finished|begin", re.I)).first.click()
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=MINUTE)
    assert trouble.outside == []


def test_the_page_runs_folds_and_moves(lab, open_page, trouble, picture):
    page = open_notebook(lab, open_page)
    picture(page, "lab-opened", full_page=False)
    box, told = asked(page, 0)  # a trusted copy that has not been run
    expect(box.locator(".predict-note")).to_contain_text("folded until you choose", timeout=MINUTE)
    expect(told).to_be_hidden()
    run_all(page)
    assert page.locator(SHOWN_ERRORS).count() == 0
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".predict").count() >= 1
    for number in range(page.locator(".predict").count()):
        box, told = asked(page, number)
        expect(told).to_be_hidden()
        expect(page.locator(".jp-Cell:has(.predict) + .jp-Cell .jp-Cell-outputWrapper").nth(number)).to_be_hidden()
        box.scroll_into_view_if_needed()
        picture(page, f"lab-predict-{number}", full_page=False)
        if number:
            box.locator("label").nth(1).click()
        else:  # by keyboard, which JupyterLab's own shortcuts must not swallow
            box.get_by_role("radio").nth(0).focus()
            page.keyboard.press("ArrowDown")
        expect(told).to_be_visible()
        expect(told.locator(".outcome-choice")).to_contain_text("You chose")
        picture(page, f"lab-answered-{number}", full_page=False)
    drag_the_live_slider(page, picture)
    save(page)
    assert trouble.outside == []


def drag_the_live_slider(page: Page, picture) -> None:
    live = page.locator(".slider-live").first
    live.scroll_into_view_if_needed()
    expect(page.locator(".slider-behind").first).to_be_hidden()
    image, handle = live.locator("img"), live.locator(".noUi-handle")
    before, readout = image.get_attribute("src"), live.locator(".widget-readout").inner_text()
    track = live.locator(".noUi-target").bounding_box()
    grip = handle.bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] * 0.6, track["y"] + track["height"] / 2, steps=6)
    page.mouse.up()
    expect(live.locator(".widget-readout")).not_to_have_text(readout)
    expect(image).not_to_have_attribute("src", before)
    picture(page, "lab-slider", full_page=False)
    after = image.get_attribute("src")
    handle.focus()
    page.keyboard.press("ArrowRight")
    expect(image).not_to_have_attribute("src", after)


def test_the_saved_page_reads_well_without_its_kernel(lab, open_page, trouble, picture):
    """After the run above was saved: a new browser, and a kernel that has never seen the page."""
    saved = nbformat.read(lab.folder / PAGE, as_version=4)
    if not any("slider-behind" in str(cell.get("outputs")) for cell in saved.cells):
        pytest.fail("the run of the page was not saved: see the test before this one", pytrace=False)
    for session in lab.ask("GET", "sessions"):
        lab.ask("DELETE", f"sessions/{session['id']}")
    page = open_notebook(lab, open_page, mode="desktop-dark")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Shut Down Kernel", exact=True).click()
    for words in ("Error displaying widget", "model not found", "Loading widget"):
        assert page.get_by_text(words).locator("visible=true").count() == 0, words
    figures = page.locator("figure.slider")
    assert figures.count() >= 1
    for image in page.locator("figure.slider img, figure.plot img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_be_visible()
        assert image.evaluate("image => image.naturalWidth") > 0
    control = figures.first.get_by_role("slider")
    control.scroll_into_view_if_needed()
    before = figures.first.locator("img").get_attribute("src")
    control.focus()
    page.keyboard.press("ArrowRight")
    assert figures.first.locator("img").get_attribute("src") != before
    picture(page, "lab-reopened", full_page=False)
    assert trouble.outside == []


def test_the_exercises_say_not_attempted(lab, open_page, trouble, picture):
    page = open_notebook(lab, open_page, "landscape/exercises.ipynb")
    run_all(page)
    assert page.locator(SHOWN_ERRORS).count() == 0
    assert page.get_by_text("not attempted").count() >= 3
    picture(page, "lab-exercises", full_page=False)
    assert trouble.outside == []
