"""Invented scores, cases and pictures, and a report built from them."""

import html.parser

import numpy as np

from data_pipelines.records import Clip
from echoforge_jax.evaluation.evaluator import DISTANCES, summarise
from echoforge_jax.evaluation.patients import EF_METHODS
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


def rows(n=12, unit="mm", seed=0):
    """Frame and EF rows as the evaluator makes them; patient 2 has one empty prediction, patient 3 a failed EF."""
    rng = np.random.default_rng(seed)
    frame_rows, ef_rows = [], []
    for i in range(n):
        for view in ("2CH", "4CH"):
            for phase, frame in (("ED", 0), ("ES", 9)):
                gone = (i, view, phase) == (2, "4CH", "ES")
                drawn = rng.uniform((4, 2.5, 2.6, 1, 1, 1), (7, 4, 4.2, 1.5, 1.5, 1.5))
                distance = {key: np.nan if gone else value for key, value in zip(DISTANCES, drawn, strict=True)}
                overlap = 0.0 if gone else rng.uniform(0.86, 0.97)
                frame_rows.append(
                    {
                        "patient_id": f"patient{i:04d}",
                        "view": view,
                        "phase": phase,
                        "frame": frame,
                        "quality": ("Good", "Medium", "Poor", None)[i % 4],
                        "dice": overlap,
                        "iou": overlap / (2 - overlap),
                        **distance,
                        "boundary_f_1": overlap / 2,
                        "boundary_f_2": overlap,
                        "unit": unit,
                        "empty_prediction": gone,
                        "empty_reference": False,
                    }
                )
        row = {"patient_id": f"patient{i:04d}", "quality": "Good", "views": "2CH+4CH", "ef_stated_percent": 50.0 + i}
        for method in EF_METHODS:
            reference = rng.uniform(25, 70)
            row |= {
                f"{method}_reference_ef_percent": reference,
                f"{method}_prediction_ef_percent": None if i == 3 else reference + rng.normal(0.5, 3),
                f"{method}_failure": "prediction: the mask is empty" if i == 3 else None,
                f"{method}_not_applicable": None,
            }
        ef_rows.append(row)
    return frame_rows, ef_rows


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
    return [(clip, prediction)]


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


def build(
    path,
    *,
    split="test",
    simulated=False,
    card=None,
    n=12,
    n_overlays=11,
    protocol="semi",
    moving=(),
    curves=(),
    **changes,
):
    frame_rows, ef_rows = rows(n) if n else ([], [])
    summary = summarise(frame_rows, ef_rows, protocol=protocol, split=split)
    arguments = {
        "title": "A run <with> & signs",
        "summaries": {protocol: summary},
        "frame_rows": {protocol: frame_rows},
        "ef_rows": {protocol: ef_rows},
        "history": history(),
        "pictures": Pictures([overlay(i) for i in range(n_overlays)], list(moving), list(curves)),
        "card": card or {"data set": "CAMUS", "model": "EchoForge <small>"},
        "simulated": simulated,
    }
    write_report(path, **(arguments | changes))
    text = path.read_text(encoding="utf-8")
    return text, Page(text), summary
