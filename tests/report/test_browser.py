"""The report in a real browser: it requests nothing, logs no error, and its table sorts and filters."""

import base64
import dataclasses

import numpy as np
import pytest
from PIL import Image

from echoforge_jax.evaluation.scores import score_clips, score_ejection_fraction
from echoforge_jax.report.selection import pick_animations, pick_curves
from tests.helpers.browser import Browser, find_or_skip
from tests.helpers.reports import build, moving, scores

ROWS = "[...document.querySelectorAll('table.sortable tbody tr')]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_or_skip()
    folder = tmp_path_factory.mktemp("browser")
    cases = moving()
    animations = pick_animations(cases, score_clips(cases, [range(5)]))
    protocol = scores(12)
    patients = list(protocol.patients)
    for i, stated in enumerate((100.0, 9.5, None)):  # as texts they sort otherwise
        patients[i] = dataclasses.replace(patients[i], ef_stated_percent=stated)
    build(
        folder / "report.html",
        animations=animations,
        curves=pick_curves(cases, score_ejection_fraction(cases)),
        protocols={"semi": dataclasses.replace(protocol, patients=patients)},
    )
    with Browser(program, folder / "profile") as browser:
        browser.open(folder / "report.html")
        yield browser


def column(browser, heading):
    """Numbers (or texts) of a column in the order shown; None where the cell is empty."""
    heads = "[...document.querySelectorAll('table.sortable thead th')]"
    index = browser.evaluate(f"{heads}.findIndex(head => head.textContent.trim() === {heading!r})")
    assert index >= 0
    return index, [v or None for v in browser.evaluate(f"{ROWS}.map(r => r.cells[{index}].dataset.value)")]


def test_the_browser_logs_no_error_and_no_request(browser):
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    methods = [event["method"] for event in browser.events]
    assert not {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled", "Network.loadingFailed"} & {
        *methods
    }
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert len([url for url in asked if url.startswith("file:") and url.endswith("report.html")]) == 1
    assert all(url.startswith("data:") or url.endswith("report.html") for url in asked)
    assert browser.evaluate("[...document.images].length > 10 && [...document.images].every(i => i.naturalWidth > 0)")


@pytest.mark.parametrize("heading", ["mean Dice, %", "EF biplane pred., %", "EF stated, %", "patient"])
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
    texts = browser.evaluate(f"{ROWS}.map(row => row.textContent.toLowerCase())")
    for wanted, n_shown in (("pATIENT0003", 1), ("the mask is empty", 1), ("good", 3), ("no such text", 0), ("", 12)):
        hidden = browser.evaluate(
            f"(() => {{ const box = document.querySelector('input[data-filters]'); box.value = {wanted!r};"
            f"box.dispatchEvent(new Event('input')); return {ROWS}.map(row => row.hidden); }})()"
        )
        assert hidden == [wanted.lower() not in text for text in texts] and hidden.count(False) == n_shown


def test_the_page_is_drawn(browser, tmp_path):
    picture = tmp_path / "page.png"  # pytest keeps it for a look
    picture.write_bytes(base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"]))
    with Image.open(picture) as image:
        assert np.asarray(image.convert("L")).std() > 5
