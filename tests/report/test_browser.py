"""The report in a real browser: it asks for nothing, complains about nothing, and its table sorts and filters."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from echoforge_jax.evaluation.evaluator import score_clips
from echoforge_jax.evaluation.patients import score_ejection_fraction
from echoforge_jax.report.selection import pick_animations, pick_curves
from tests.report.browser import Browser, find
from tests.report.test_report import build, moving

ROWS = "[...document.querySelectorAll('table.sortable tbody tr')]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if find() is None:
        pytest.skip("no Chromium on this machine: the report's script is not run")
    folder = tmp_path_factory.mktemp("browser")
    cases = moving()
    patients = score_ejection_fraction(cases)
    animations = pick_animations(cases, score_clips(cases, [range(5)]))
    build(folder / "report.html", animations=animations, curves=pick_curves(cases, patients))
    with Browser(folder / "profile") as browser:
        browser.open(folder / "report.html")
        yield browser


def column(browser, heading):
    """Numbers (or texts) of a column in the order shown; None where the cell is empty."""
    heads = "[...document.querySelectorAll('table.sortable thead th')]"
    index = browser.evaluate(f"{heads}.findIndex(head => head.textContent.trim() === {heading!r})")
    assert index >= 0
    return index, [v or None for v in browser.evaluate(f"{ROWS}.map(r => r.cells[{index}].dataset.value)")]


def test_no_complaint_and_no_request(browser):
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    methods = [event["method"] for event in browser.events]
    assert not {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled", "Network.loadingFailed"} & {
        *methods
    }
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert len([url for url in asked if url.startswith("file:") and url.endswith("report.html")]) == 1
    assert all(url.startswith("data:") or url.endswith("report.html") for url in asked)
    assert browser.evaluate("[...document.images].length > 10 && [...document.images].every(i => i.naturalWidth > 0)")


@pytest.mark.parametrize("heading", ["mean Dice, %", "EF biplane pred., %", "patient"])
def test_a_heading_sorts_up_then_down(browser, heading):
    index, before = column(browser, heading)
    kind = str if heading == "patient" else float
    known = sorted(kind(v) for v in before if v is not None)
    for order, state in ((known, "ascending"), (known[::-1], "descending")):
        browser.evaluate(f"document.querySelectorAll('table.sortable th button')[{index}].click()")
        _, shown = column(browser, heading)
        assert [kind(v) for v in shown if v is not None] == order
        assert shown[len(known) :] == [None] * (len(before) - len(known))  # what is missing stays last
        heads = "[...document.querySelectorAll('table.sortable th[aria-sort]')].map(h => h.ariaSort)"
        assert browser.evaluate(heads) == [state]


def test_the_filter_hides_what_does_not_match(browser):
    def hidden_after(text):
        return browser.evaluate(
            f"(() => {{ const box = document.querySelector('input[data-filters]'); box.value = {text!r};"
            f"box.dispatchEvent(new Event('input')); return {ROWS}.filter(r => r.hidden).length; }})()"
        )

    shown = "pATIENT0003"
    assert hidden_after(shown) == 11 and hidden_after("the mask is empty") == 11
    assert hidden_after("no such text") == 12 and hidden_after("") == 0


def test_it_looks_like_something(browser):
    picture = browser.call("Page.captureScreenshot", format="png")["data"]
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        assert np.asarray(image.convert("L")).std() > 5
