"""What a report and the terminal say of records and of few patients."""

import dataclasses
import html
import json
import re

import numpy as np
import pytest

from data_pipelines.notes import Note, note
from data_pipelines.records import Skipped
from echoforge_jax.evaluation.ejection_fraction import EF_METHODS, Failure
from echoforge_jax.evaluation.protocols import SEMI
from echoforge_jax.evaluation.rows import EFPairs, EFResult
from echoforge_jax.evaluation.summary import summarise
from echoforge_jax.report.content import Evaluation
from echoforge_jax.report.figures import regression_and_bland_altman
from echoforge_jax.report.folder import write_results
from echoforge_jax.report.selection import Pictures
from echoforge_jax.report.terminal import table
from tests.helpers.reports import build, overlay, scores

SKIPPED = [Skipped(f"patient{i:04d}_4CH", "truncated file", "it ends at byte 10") for i in range(90, 97)]
NOTES = {
    "patient0001_4CH": (note("uneven frame times", "Steps of 20.0 to 200.0 ms."), note("frame rate", "From <FPS>.")),
    "patient0002_4CH": (note("uneven frame times", "Steps of 20.0 to 300.0 ms."),),
    "patient0003_4CH": (Note("of another version", "A code that is not known here.", "info"),),
}


def evaluation(n, **changes):
    card = {"data set": "CAMUS"}
    made = {"protocols": {"semi": scores(n)}, "pictures": Pictures([overlay()]), "card": card, "simulated": False}
    return Evaluation(split="test", **made | changes)


def visible(page):
    """The text of a page, its cells apart."""
    return " ".join(html.unescape(re.sub(r"<script>.*</script>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


def test_notes_and_skipped_records_are_in_the_report(tmp_path):
    text = visible(build(tmp_path / "r.html", n=3, skipped=SKIPPED, notes=NOTES)[0])
    assert "7 truncated file The file ends before the data that it announces. Fetch it again. patient0090_4CH" in text
    assert "2 uneven frame times warning Steps of 20.0 to 200.0 ms. (1 other text.) Do not read times off" in text
    assert "Every warning patient0001_4CH uneven frame times Steps of 20.0 to 200.0 ms. patient0002_4CH" in text
    assert "1 frame rate info From <FPS>." in text and "of another version" in text
    assert "No record was left out." in build(tmp_path / "r.html", n=3)[0]


def test_notes_are_in_metrics_json_and_on_the_terminal(tmp_path):
    metrics = write_results(tmp_path, evaluation(12, skipped=SKIPPED, notes=NOTES))
    stored = json.loads((tmp_path / "metrics.json").read_text())["notes"]
    assert stored == metrics["notes"] and stored["patient0001_4CH"] == [
        {"code": "uneven frame times", "text": "Steps of 20.0 to 200.0 ms.", "severity": "warning"},
        {"code": "frame rate", "text": "From <FPS>.", "severity": "info"},
    ]
    shown = table(metrics)
    assert "7 records left out\n        7 x truncated file: patient0090_4CH" in shown
    assert "notes on 3 records\n        2 x uneven frame times: patient0001_4CH, patient0002_4CH: Steps of 20" in shown
    assert "for information: frame rate (1), of another version (1)" in shown and "From <FPS>" not in shown
    del metrics["notes"]  # an evaluation of an earlier version
    assert "notes on" not in table(metrics)


def test_the_terminal_says_of_how_many(tmp_path):
    shown = table(write_results(tmp_path, evaluation(12)))
    assert "empty predictions: 1 of 48 frames" in shown and "of 47 of 48 frames" in shown
    for line in (line for line in shown.splitlines() if "EF " in line):
        assert " r 0." in line and "measured in 11 of 12 patients (1 x prediction: the mask is empty)" in line


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_few_patients_have_no_correlation_anywhere(tmp_path, n):
    metrics = write_results(tmp_path, evaluation(n))
    shown, page = table(metrics), visible((tmp_path / "report.html").read_text())
    assert ", r " not in shown and "r = " not in page and "MAE" in shown and "MAE" in page
    assert ("[no interval below 5 patients]" in shown) == (n < 5)
    for method in metrics["protocols"]["semi"]["ejection_fraction"].values():
        assert method["agreement"]["pearson_r"] is None
        assert method["agreement"]["withheld"]["pearson_r"].endswith("shown from 10 on")
    assert f"measured in {n - (n > 3)}{f' of {n}' if n > 3 else ''} patients" in shown


def test_the_regression_of_few_patients_has_points_alone():
    def drawn(n):
        reference = np.linspace(30, 60, n)
        pairs = EFPairs(reference + 1, reference)
        agreement = {"pearson_r": None, "bias": 1.0, "loa_low": None, "loa_high": None}
        return regression_and_bland_altman(pairs, agreement, method="m").decode()

    assert drawn(10).count("<path") > drawn(9).count("<path") and "undefined" not in drawn(9)


def test_an_ejection_fraction_that_nobody_has_says_so(tmp_path):
    drawn = scores(4)
    failed = {
        method: EFResult(Failure("the mask is empty"), Failure("the mask is empty"), "ml") for method in EF_METHODS
    }
    patients = [dataclasses.replace(row, methods=failed) for row in drawn.patients]
    summary = summarise(drawn.frames, patients, protocol=SEMI, split="test")
    empty = dataclasses.replace(drawn, patients=patients, summary=summary)
    metrics = write_results(tmp_path, evaluation(4, protocols={"semi": empty}))
    assert "EF folland: measured in 0 of 4 patients (4 x reference: the mask is empty; pred" in table(metrics)
    assert "not measurable in any of 4 patients" in visible((tmp_path / "report.html").read_text())
