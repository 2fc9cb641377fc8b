"""Invented scores of finished cells of a study."""

import json

from echoforge_jax.reproduction.study import ROOT, Cell, Study

SMALL = ROOT / "configs/ablations/small.py"


def scored_cell(seed: int, shift: float, unit: str = "mm", method: str = "biplane_discs") -> dict:
    """A cell's JSON: eight patients, Dice 90 % and more, `shift` points better."""
    dice = {f"patient{i:04d}": 90 + i / 10 + shift + 0.01 * seed for i in range(8)}
    return {
        "seed": seed,
        "changes": {},
        "commit": "abc",
        "simulated": True,
        "split": "test",
        "epochs": 3,
        "protocols": {
            "semi": {
                "dice_percent_by_patient": dice,
                "distances": {unit: {"hd": 6.0, "hd95": 5.0 - shift, "assd": 2.0}},
                "ejection_fraction": {method: {"pearson_r": 0.9, "bias": -1.0, "sd": 3.0, "n": 8}},
            }
        },
    }


def put(study: Study, cell: Cell, content: dict) -> None:
    study.results.mkdir(parents=True, exist_ok=True)
    study.file(cell).write_text(json.dumps(content))
