"""Invented scores, cases and pictures, and a report built from them."""

import dataclasses
import html.parser

import numpy as np

from data_pipelines.records import Clip
from echoforge_jax.evaluation.ejection_fraction import EF_METHODS, EjectionFraction, Failure
from echoforge_jax.evaluation.protocols import SEMI
from echoforge_jax.evaluation.rows import DISTANCES, EFResult, FrameScore, PatientEF
from echoforge_jax.evaluation.scores import Case
from echoforge_jax.evaluation.summary import ProtocolScores, summarise
from echoforge_jax.evaluation.surface import SurfaceDistances
from echoforge_jax.report.content import Evaluation
from echoforge_jax.report.html import write_report
from echoforge_jax.report.overlays import Overlay
from echoforge_jax.report.selection import Pictures

VOID = {"meta", "img", "source", "br", "link", "input"}


class Page(html.parser.HTMLParser):
    """Refuses tags that are not closed in order; keeps attributes and the text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open_tags, self.attributes, self.text = [], [], ""
        self.feed(text)
        assert not self.open_tags

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        self.text += data


def scores(n=12, split="test", seed=0):
    """Invented scores of n patients; patient 2 has one empty prediction, patient 3 a failed EF."""
    rng = np.random.default_rng(seed)
    frames, patients = [], []
    for i in range(n):
        for view in ("2CH", "4CH"):
            for phase, frame in (("ED", 0), ("ES", 9)):
                empty = (i, view, phase) == (2, "4CH", "ES")
                drawn = rng.uniform((4, 2.5, 2.6, 1, 1, 1), (7, 4, 4.2, 1.5, 1.5, 1.5))
                dice = 0.0 if empty else rng.uniform(0.86, 0.97)
                values = [*(float("nan") if empty else value for value in drawn.tolist()), dice / 2, dice]
                row = FrameScore(
                    patient_id=f"patient{i:04d}",
                    view=view,
                    phase=phase,
                    frame=frame,
                    quality=("Good", "Medium", "Poor", None)[i % 4],
                    dice=dice,
                    iou=dice / (2 - dice),
                    distances=SurfaceDistances(**dict(zip(DISTANCES, values, strict=True))),
                    unit="mm",
                    empty_prediction=empty,
                    empty_reference=False,
                )
                frames.append(row)
        methods = {}
        for method in EF_METHODS:
            percent = rng.uniform(25, 70)
            reference = EjectionFraction(percent, 100.0, 100.0 - percent)
            predicted = percent + rng.normal(0.5, 3)
            prediction = EjectionFraction(predicted, 100.0, 100.0 - predicted)
            methods[method] = EFResult(reference, Failure("the mask is empty") if i == 3 else prediction, "ml")
        patients.append(PatientEF(f"patient{i:04d}", "Good", "2CH+4CH", 50.0 + i, methods))
    return ProtocolScores(frames, patients, (), summarise(frames, patients, protocol=SEMI, split=split))


def overlay(i=0, shape=(96, 80)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    reference = ((y - 55) / 30) ** 2 + ((x - 40) / 18) ** 2 <= 1
    prediction = ((y - 55 - i) / 30) ** 2 + ((x - 40 + i) / 18) ** 2 <= 1
    image = np.random.default_rng(i).rayleigh(40, shape).clip(0, 255).astype(np.uint8)
    return Overlay(image, prediction, reference, (0.5, 0.8), f"patient{i:04d} 4CH ED <frame 0>")


def moving(n=5):
    """A clip of a shrinking ventricle whose ES frame alone is drawn badly, as cases for the selection."""
    y, x = np.mgrid[:96, :80]
    masks = np.stack([((y - 50) / (30 - t)) ** 2 + ((x - 40) / (18 - t)) ** 2 <= 1 for t in range(n)]).astype(np.uint8)
    frames = np.random.default_rng(0).rayleigh(40, masks.shape).clip(0, 255).astype(np.uint8)
    prediction = masks.copy()
    prediction[-1, :, 38:] = 0
    labelled = np.ones(n, bool)
    clip = Clip(frames, masks, labelled, 0, n - 1, (0.5, 0.8), 50.0, "patient0001", "4CH")
    return [Case(clip, prediction)]


def history(n=4):
    return [
        {
            "epoch": e,
            "loss": 1 / e,
            "bce": 0.5 / e,
            "lambda": min(1, e / 5),
            "tau": 0.95 - 0.02 * e,
            "validation_dice_percent": 90 + e / 4 if e > 1 else None,
            "learning_rate": 1e-4 * (1 - e / 10) ** 0.9,
        }
        for e in range(1, n + 1)
    ]


def build(path, *, n=12, n_overlays=11, animations=(), curves=(), **changes):
    """Writes the report of n invented patients; returns its text, the parsed page and the summary of its protocol."""
    evaluation = Evaluation(
        split="test",
        protocols={"semi": scores(n)},
        pictures=Pictures([overlay(i) for i in range(n_overlays)], list(animations), dict(curves)),
        card={"data set": "CAMUS", "model": "EchoForge <small>"},
        simulated=False,
        history=history(),
    )
    evaluation = dataclasses.replace(evaluation, **changes)
    write_report(path, evaluation, title="A run <with> & signs")
    text = path.read_text(encoding="utf-8")
    return text, Page(text), evaluation.protocols["semi"].summary
