"""The page in a real browser: Debian's Chromium, headless."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.compare.html.drill import gather
from harness.compare.html.page import Section, page
from tests.harness.compare.conftest import Tree
from tests.harness.compare.test_drill import demo
from tests.harness.compare.test_html import ATTACK, END, content

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # the sandbox needs rights that containers lack; the only page it opens is ours
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    folder, figures = tmp_path_factory.mktemp("page"), []
    for axis in ("steps", "tokens", "seconds"):
        figures.append(folder / f"learning_curves_{axis}.svg")
        figures[-1].write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    sections = [Section("End points", "", [END]), Section("Curves", "", [], figures)]
    html = page(content(drill=gather(demo(Tree(folder / "demo"), text=ATTACK)), sections=sections))
    made = folder / "comparison.html"
    made.write_text(html, encoding="utf-8")
    return made


@contextmanager
def opening(browser, path, scheme: str) -> Iterator:
    """The page; afterwards it must have asked for nothing and complained of nothing."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1400, "height": 900})
    tab = context.new_page()
    requests, complaints = [], []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(path.as_uri())
    yield tab
    context.close()
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert complaints == []


@pytest.fixture
def opened(browser, path) -> Iterator:
    with opening(browser, path, "light") as tab:
        yield tab


def methods(tab) -> list[str]:
    return tab.locator("#table-end-point tbody th").all_inner_texts()


def header(tab, name):
    return tab.locator("#table-end-point thead th", has_text=name)


def test_sorting_by_keyboard(opened):
    before = methods(opened)
    assert before == ["grpo", "delta", "lampo", "oracle"]
    button = header(opened, "difference").locator("button")
    button.focus()
    opened.keyboard.press("Enter")
    assert header(opened, "difference").get_attribute("aria-sort") == "ascending"
    assert methods(opened) == ["oracle", "delta", "lampo", "grpo"]  # -10.2, -1.7, +2.7, missing
    opened.keyboard.press("Space")
    assert header(opened, "difference").get_attribute("aria-sort") == "descending"
    assert methods(opened) == ["lampo", "delta", "oracle", "grpo"]  # missing stays last
    opened.keyboard.press("Enter")
    assert header(opened, "difference").get_attribute("aria-sort") is None and methods(opened) == before


def test_sorting_by_mouse(opened):
    orders = {
        "end point": ["delta", "grpo", "lampo", "oracle"],  # 9.5 before 54.0; a tie stays as it was
        "tokens": ["oracle", "grpo", "delta", "lampo"],  # 900, 340.0 k, 1.25 M, no number
        "verdict": ["grpo", "lampo", "delta", "oracle"],  # baseline, better, not resolved, worse
    }
    for column, order in orders.items():
        header(opened, column).locator("button").click()
        assert methods(opened) == order
    assert opened.locator("#table-end-point [aria-sort]").count() == 1


def test_the_first_view_is_one_completion_with_the_credit_of_each_method(opened):
    assert opened.locator("#set option:checked").inner_text() == (
        "Training, step 1: same completions, different credit"
    )
    columns = opened.locator("#shown thead th").all_inner_texts()
    assert [text.split()[0] for text in columns] == ["Sample", "grpo", "lampo"]
    tokens = opened.locator("#shown td pre.heat span")
    assert tokens.all_inner_texts() == ["a", "b", "a", "b"]
    assert [tokens.nth(i).get_attribute("title") for i in range(4)] == [
        '"a": credit +0.5', '"b": credit +0.25', '"a": credit −1', '"b": credit +0.25',
    ]  # fmt: skip
    assert [tokens.nth(i).get_attribute("class") for i in range(4)] == ["up", "up", "down", "up"]
    heat = [
        tokens.nth(i).evaluate("span => getComputedStyle(span).getPropertyValue('--heat')") for i in range(4)
    ]
    assert [float(value) for value in heat] == [1, 0.5, 1, 0.25]  # |credit| over each method's largest
    assert (
        tokens.nth(0).evaluate("span => getComputedStyle(span).backgroundColor") == "rgba(0, 114, 178, 0.72)"
    )
    assert "reward 1" in opened.locator("#shown td").first.inner_text()


def test_a_test_problem_by_keyboard(opened):
    opened.locator("#set").focus()
    opened.keyboard.press("End")
    opened.keyboard.press("Tab")
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.id") == "problem"
    assert "problem b" in opened.locator("#shown h3").inner_text()
    opened.locator("#next").focus()
    opened.keyboard.press("Enter")
    assert "problem c" in opened.locator("#shown h3").inner_text()
    assert opened.locator("#place").inner_text() == "2 of 4"
    assert "right: 2 of 4" in opened.locator("#shown thead th").nth(2).inner_text()
    assert opened.locator("#shown td .verdict").all_inner_texts() == [
        "✓ right",
        "✓ right",
        "✓ right",
        "✗ wrong",
    ]
    opened.locator("#previous").focus()
    opened.keyboard.press("Space")
    assert "problem b" in opened.locator("#shown h3").inner_text()
    assert opened.locator("#previous").is_disabled()


def test_a_test_problem_by_mouse_and_filter(opened):
    opened.locator("#set").select_option(label="Test, math: after training")
    opened.locator("#problem").select_option(index=3)
    assert "problem d" in opened.locator("#shown h3").inner_text()
    assert opened.locator("#shown td .verdict").first.inner_text() == "? unjudged"
    opened.locator("#filter").fill("PROMPT C")
    assert opened.locator("#problem option").count() == 1
    assert "problem c" in opened.locator("#shown h3").inner_text()
    opened.locator("#filter").fill("nothing has this")
    assert opened.locator("#place").inner_text() == "no problem fits"
    assert opened.locator("#shown").inner_text() == ""


def test_what_a_model_wrote_is_shown_and_not_run(opened):
    opened.locator("#set").select_option(label="Test, math: after training")
    assert opened.locator("#shown td pre").first.inner_text() == f"{ATTACK} grpo 0 0"
    assert opened.locator("#shown img").count() == 0
    assert opened.title() == "demo"


def test_the_axis_is_switched_by_keyboard(opened):
    shown = opened.locator(".switch figure:visible")
    assert shown.count() == 1 and shown.get_attribute("data-axis") == "steps"
    opened.locator("input[value=steps]").focus()
    opened.keyboard.press("ArrowRight")
    assert shown.count() == 1 and shown.get_attribute("data-axis") == "tokens"
    opened.get_by_role("radio", name="Training time").click()
    assert shown.get_attribute("data-axis") == "seconds"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser, path, scheme):
    bright = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) > 200"
    inverted = "getComputedStyle(document.querySelector('figure img')).filter !== 'none'"
    with opening(browser, path, scheme) as tab:
        is_dark = scheme == "dark"
        assert tab.evaluate(bright) != is_dark and tab.evaluate(inverted) == is_dark
        header(tab, "verdict").locator("button").press("Enter")
        tab.locator("#set").select_option(index=1)
        tab.locator("#theme").click()
        assert tab.evaluate(bright) == is_dark and tab.evaluate(inverted) != is_dark


def test_only_boxes_scroll_sideways(opened):
    for width in (1400, 400):
        opened.set_viewport_size({"width": width, "height": 900})
        assert opened.evaluate("document.documentElement.scrollWidth") == width
