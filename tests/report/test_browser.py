"""Both pages in a real browser: nothing from outside, no errors, keys, links, axe, light and dark, desk and phone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from simstudent.report.gather import gather
from simstudent.report.write import write_report
from tests.report.made import HOSTILE, folder

pytestmark = pytest.mark.slow
SIZES = {"desk": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("no npm to get axe-core with")
    done = subprocess.run([npm, "install", "--silent", "--prefix", str(folder), "axe-core@4.14.1"], check=False)
    if done.returncode:
        pytest.skip("axe-core could not be installed from npm")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pages")
    rolled = folder(root / "rolled", students=24, methods=("sft", "repeat-last", "constant-0"))
    write_report([str(rolled)], root / "out", resamples=50, say=lambda text: None)
    return root / "out"


class Page:
    """An open page, and what it complained about or asked for."""

    def __init__(self, browser: Any, path: Path, *, size: str = "desk", scheme: str = "light", tail: str = "") -> None:
        self.context = browser.new_context(viewport=SIZES[size], color_scheme=scheme)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"file://{path}{tail}")
        if path.name.startswith("trajectories"):
            self.page.wait_for_selector("body[data-shown]", timeout=10_000)

    def heading(self) -> str:
        return str(self.page.inner_text("#view h2"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "trajectories"])
def test_clean_and_readable(browser: Any, made: Path, axe: str, name: str, scheme: str, size: str) -> None:
    opened = Page(browser, made / f"{name}.html", size=size, scheme=scheme)
    assert opened.complaints == []
    assert len(opened.asked) == 1  # the page itself
    assert opened.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    cdp = opened.context.new_cdp_session(opened.page)
    cdp.send("Runtime.evaluate", {"expression": axe})  # past the page's own policy
    found = opened.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found] == []
    opened.context.close()


def test_programs_stay_text_and_tests_and_feedback_are_shown(browser: Any, made: Path) -> None:
    (part,) = gather([str(made.parent / "rolled")])
    start = next(r for r in part.rollouts if r.steps and r.steps[0].code == HOSTILE)
    named = {"student": start.student, "assignment": start.assignment, "start": start.start, "show": "sft"}
    opened = Page(browser, made / "trajectories.html", tail=f"#{urlencode(named)}")
    page = opened.page
    page.locator("#view", has_text="</script>").wait_for(timeout=5000)
    assert page.locator("#view img, #view script, #view b, #view i").count() == 0
    assert page.locator("#view .tests span").count() > 0
    assert page.locator("#view details.told").count() > 0
    assert page.locator("#view .del, #view .add").count() > 0
    assert opened.complaints == []
    assert len(opened.asked) == 1
    opened.context.close()


def test_keys_filters_and_links(browser: Any, made: Path) -> None:
    opened = Page(browser, made / "trajectories.html")
    page, first = opened.page, opened.heading()
    facts = page.inner_text("#view .facts")

    def moved(key: str) -> None:
        """Press it and wait for the other start; the page's policy forbids Playwright's own waiting."""
        before = page.get_attribute("body", "data-shown")
        page.keyboard.press(key)
        page.locator(f"body:not([data-shown='{before}'])").wait_for(timeout=5000)

    moved("j")
    link = page.evaluate("location.hash")
    second = (opened.heading(), page.inner_text("#view .facts"))
    moved("k")
    assert (opened.heading(), page.inner_text("#view .facts")) == (first, facts)
    page.keyboard.press("ArrowRight")
    assert page.locator(".step.at").get_attribute("id") == "step2"
    page.keyboard.press("ArrowLeft")
    assert page.locator(".step.at").get_attribute("id") == "step1"
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()
    page.keyboard.press("d")
    assert page.input_value("#diff") == "student"
    page.keyboard.press("/")
    page.keyboard.type("student 24")
    assert page.evaluate("document.activeElement.id") == "search"
    assert page.locator("#list li").count() == 5  # one start after each submission but the last
    page.keyboard.type("zzz")
    assert "No start fits" in page.inner_text("#view")
    assert opened.complaints == []
    opened.context.close()
    again = Page(browser, made / "trajectories.html", tail=link)
    assert (again.heading(), again.page.inner_text("#view .facts")) == second
    again.context.close()
