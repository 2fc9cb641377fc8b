"""Tables 1 and 3 to 6, Fig. 7 and the curve over labelled patients: their rows, and finished cells as Markdown, CSV and
JSON with paired tests.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echoforge_jax.evaluation.comparison import values_by_measure
from echoforge_jax.evaluation.statistics import bootstrap_ci, compare_paired, holm
from echoforge_jax.report.folder import read_frames
from echoforge_jax.reproduction.study import CAMUS, ECHONET, Cell, Changes, Study


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table: the paper's name for it, the fields it changes, the paper's mDice in per cent."""

    label: str
    changes: Changes
    paper: float | None = None
    data: str = CAMUS


FULL = {"model.temporal_fusion": True, "model.anchor_recalibration": True, "semi.pseudo_labels": "reforging"}
WITHOUT_CPR = {**FULL, "semi.pseudo_labels": "none"}
BASELINE = {**WITHOUT_CPR, "model.temporal_fusion": False, "model.anchor_recalibration": False}
MEAN_TEACHER = {"semi.pseudo_labels": "mean_teacher", "optimizer.ema_decay": 0.99}
AVERAGE = {"optimizer.ema_decay": 0.99}
STEADIER_CPR = {  # what the first cells with few labels suggested (docs/results/few_labels.md)
    **FULL,
    **AVERAGE,
    "semi.teacher": "average",
    "semi.strong_student": True,
    "semi.own_weight": 0.5,
    "semi.lambda_max": 0.5,
    "semi.burn_in": 0.3,
    "data.labelled_clips_per_batch": 5,
}
METHODS = {
    "supervised only": WITHOUT_CPR,
    "confidence threshold": {**FULL, "semi.pseudo_labels": "threshold"},
    "CPR + FlameRise": FULL,
    "CPR": {**FULL, "semi.flamerise": False},
    "mean teacher": {**FULL, **MEAN_TEACHER},
    "supervised only (average)": {**WITHOUT_CPR, **AVERAGE},
    "steadier CPR + FlameRise (average)": STEADIER_CPR,
}
FEW = (0.05, 0.1, 0.25)  # of the patients, on real frames
ROWS = {"data.batch_clips": 16, "data.labelled_clips_per_batch": 8}  # as many labelled ones as supervised training has
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
TABLES = {
    "table1": (Row("EchoForge", FULL, 94.89), Row("EchoForge", FULL, 93.63, ECHONET)),
    "table3": (
        Row("baseline", BASELINE, 88.52),
        Row("+ TSF", {**WITHOUT_CPR, "model.anchor_recalibration": False}, 92.36),
        Row("+ TSF + ARC", WITHOUT_CPR, 93.43),
        Row("+ TSF + ARC + CPR", FULL, 94.89),
    ),
    "table4": tuple(
        Row(f"{n} anchors" if n > 1 else "1 anchor", {**FULL, "model.anchors": n}, paper)
        for n, paper in ((1, 94.52), (2, 94.89), (3, 94.96), (4, 94.91))
    ),
    "table5": (
        Row("without CPR", WITHOUT_CPR, 93.43),
        Row("+ channel attention", {**FULL, "semi.flamerise": False}, 94.54),
        Row("+ FlameRise", FULL, 94.89),
    ),
    "table6": (
        Row("none", WITHOUT_CPR, 93.43),
        Row("deformation (CLAS-style)", {**FULL, "semi.pseudo_labels": "deformation"}, 93.86),
        Row("registration (TCS-style)", {**FULL, "semi.pseudo_labels": "registration"}, 94.03),
        Row("mean teacher", {**FULL, **MEAN_TEACHER}),
        Row("confidence threshold", {**FULL, "semi.pseudo_labels": "threshold"}),
        Row("CPR", FULL, 94.89),
    ),
    "fig7": tuple(Row(f"K = {k}", {**FULL, "model.neighbours": k}) for k in (1, 4, 8, 16, 32, 64)),
    "defaults": (  # constants that the paper leaves open (docs/explanation/method.md)
        Row("+ TSF + ARC", WITHOUT_CPR),
        Row("+ TSF + ARC, ARC's temperature 0.1", {**WITHOUT_CPR, "model.temperature": 0.1}),
        Row("+ TSF + ARC, no BCE on ARC's mask", {**WITHOUT_CPR, "semi.seed_weight": 0.0}),
        Row("all", FULL),
        Row("all, reforging with a residual", {**FULL, "semi.reforging_residual": True}),
        Row("all, largest pseudo-label weight 0.3", {**FULL, "semi.lambda_max": 0.3}),
    ),
    "parts": (  # on real frames, two to a clip
        Row("plain pyramid", BASELINE),
        Row("+ TSF", {**WITHOUT_CPR, "model.anchor_recalibration": False}),
        Row("+ TSF + ARC", WITHOUT_CPR),
        Row("+ TSF + ARC, ARC's temperature 0.1", {**WITHOUT_CPR, "model.temperature": 0.1}),
    ),
    **{
        f"few_labels{100 * share:g}": tuple(
            Row(name, {**changes, "data.labelled_fraction": share}) for name, changes in METHODS.items()
        )
        for share in FEW
    },
    "few_labels": tuple(
        Row(f"{name}, {100 * share:g} %", {**changes, "data.labelled_fraction": share})
        for name, changes in METHODS.items()
        for share in (*FEW, 1.0)
        if share < 1 or changes is WITHOUT_CPR  # with all labels there is nothing to pseudo-label
    ),
    "exposure": tuple(  # how often a label is seen: 10 % of the patients, equal steps
        Row(name, {**changes, "data.labelled_fraction": 0.1})
        for name, changes in (
            ("supervised only, 8 rows", WITHOUT_CPR),
            ("supervised only, 4 rows", {**WITHOUT_CPR, "data.batch_clips": 4}),
            ("CPR + FlameRise, 4 of 8 rows labelled", FULL),
            ("CPR + FlameRise, 8 of 16 rows labelled", {**FULL, **ROWS}),
            ("steadier CPR + FlameRise (average), 8 of 16 rows labelled", {**STEADIER_CPR, **ROWS}),
        )
    ),
    "labels": tuple(
        Row(f"{name}, {100 * share:g} %", {**changes, "data.labelled_fraction": share})
        for name, changes in (("without CPR", WITHOUT_CPR), ("CPR", FULL))
        for share in FRACTIONS
    ),
}
EF_METHOD = {CAMUS: "biplane_discs", ECHONET: "single_plane_discs"}
PAPER_FULL = 94.36  # CAMUS-Full, Table 1


def tabulate(rows: Sequence[Row], cells: Sequence[Sequence[dict[str, Any]]], protocol: str) -> list[dict[str, Any]]:
    """One line for each row that has a finished cell; Dice is the mean over seeds of each patient's mean.

    The difference to the table's first row uses the seeds that both have, paired by patient and seed.
    """
    lines: list[dict[str, Any]] = []
    for row, of_row in zip(rows, cells, strict=True):
        if not of_row:
            continue
        line = _line(row, of_row, protocol)
        first = {cell["seed"]: cell["protocols"][protocol]["dice_percent_by_patient"] for cell in cells[0]}
        pairs = [
            (cell["protocols"][protocol]["dice_percent_by_patient"], first[cell["seed"]])
            for cell in of_row
            if cell["seed"] in first
        ]
        if lines and pairs:
            ours, theirs = ({key: [pair[side][key] for pair in pairs] for key in pairs[0][side]} for side in (0, 1))
            line["against_first"] = compare_paired(ours, theirs, seed=0)
        lines.append(line)
    adjusted = holm({line["row"]: line["against_first"]["p_signed_rank"] for line in lines if "against_first" in line})
    for line in lines:
        if "against_first" in line:
            line["against_first"]["p_signed_rank_holm"] = adjusted[line["row"]]
    return lines


def _line(row: Row, of_row: Sequence[dict[str, Any]], protocol: str) -> dict[str, Any]:
    scores = [cell["protocols"][protocol] for cell in of_row]
    values = _by_patient(scores)
    low, high = bootstrap_ci(values, seed=0)
    unit = next(iter(scores[0]["distances"]), None)
    distance = lambda key: _mean([s["distances"].get(unit, {}).get(key) for s in scores])
    methods = (EF_METHOD[row.data], "single_plane_discs")  # views without a spacing have no volume
    method = next((m for m in methods if m in scores[0]["ejection_fraction"]), methods[0])
    ef = [s["ejection_fraction"][method] for s in scores if method in s["ejection_fraction"]]
    return {
        "row": row.label,
        "seeds": len(of_row),
        "patients": len(values),
        "dice_percent": float(np.mean([v for of in values.values() for v in of])),
        "ci95_low": low,
        "ci95_high": high,
        "dice_percent_by_seed": [float(np.mean(list(s["dice_percent_by_patient"].values()))) for s in scores],
        "distance_unit": unit,
        "hd95": distance("hd95"),
        "assd": distance("assd"),
        "ef_method": method,
        "ef_r": _mean([e["pearson_r"] for e in ef]),
        "ef_bias": _mean([e["bias"] for e in ef]),
        "paper_dice_percent": row.paper,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Of the defined values."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _by_patient(scores: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """patient -> mean Dice in per cent, one value a seed."""
    values: dict[str, list[float]] = {}
    for score in scores:
        for patient, dice in score["dice_percent_by_patient"].items():
            values.setdefault(patient, []).append(dice)
    return values


def compare_systems(
    row: Row, cells: Sequence[dict[str, Any]], others: Mapping[str, Path]
) -> dict[str, list[dict[str, Any]]]:
    """Table 1 on one data set: by protocol EchoForge's line (of the row's finished cells) and one for each other
    system's folder of `evaluate`, with both tests of mDice by patient against EchoForge, Holm-corrected over systems.

    Raises:
        ConfigError: a folder holds no evaluation.
    """
    tables: dict[str, list[dict[str, Any]]] = {}
    for protocol in cells[0]["protocols"] if cells else ():
        paper = PAPER_FULL if (row.data, protocol) == (CAMUS, "full") else row.paper
        ours = _by_patient([cell["protocols"][protocol] for cell in cells])
        lines = [_line(dataclasses.replace(row, paper=paper), cells, protocol)]
        tests = {}
        for name, folder in others.items():
            frames = [one for one in read_frames(folder) if one["protocol"] == protocol]
            theirs = values_by_measure(frames).get("dice_percent", {})
            if theirs:
                tests[name] = compare_paired(ours, theirs, seed=0)
                lines.append(_line_of_folder(name, folder, protocol, theirs, EF_METHOD[row.data]))
        for test in ("p_signed_rank", "p_rank_sum"):
            for name, adjusted in holm({name: found[test] for name, found in tests.items()}).items():
                tests[name][f"{test}_holm"] = adjusted
        for line in lines[1:]:
            line["ours_minus_this"] = tests[line["row"]]
        tables[protocol] = lines
    return tables


def _line_of_folder(
    name: str, folder: Path, protocol: str, dice: Mapping[str, Sequence[float]], method: str
) -> dict[str, Any]:
    summary = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["protocols"][protocol]
    unit = next((unit for unit, found in summary["distances"].items() if found["hd"]["n"]), None)
    low, high = bootstrap_ci(dice, seed=0)
    agreement = summary["ejection_fraction"][method]["agreement"] or {}
    return {
        "row": name,
        "seeds": 1,
        "patients": len(dice),
        "dice_percent": float(np.mean([np.mean(values) for values in dice.values()])),
        "ci95_low": low,
        "ci95_high": high,
        "distance_unit": unit,
        "hd95": summary["distances"][unit]["hd95"]["mean"] if unit else None,
        "assd": summary["distances"][unit]["assd"]["mean"] if unit else None,
        "ef_method": method,
        "ef_r": agreement.get("pearson_r"),
        "ef_bias": agreement.get("bias"),
        "paper_dice_percent": None,
    }


def write_table1(study: Study, seeds: int, others: Mapping[str, Mapping[str, Path]]) -> str:
    """Table 1 for every data set that has a finished cell; `others`: data set -> system -> folder. Returns its text."""
    tables, flat, text = {}, [], []
    rows = [row for row in TABLES["table1"] if row.data in study.bases]
    seeds = _seeds(study, rows, seeds)
    for row in rows:
        cells = _finished(study, row, seeds)
        of_data = compare_systems(row, cells, others[row.data])
        if of_data:
            tables[row.data] = of_data
        for protocol, lines in of_data.items():
            text += [f"# table1, {row.data}, scale {study.scale}, protocol {protocol} ({_frames(protocol)})", ""]
            text += [_note(cells, seeds), "", _head("EchoForge minus this [95 % CI]; signed-rank p, rank-sum p (Holm)")]
            text += [_markdown_line(line, _versus(line.get("ours_minus_this"), both=True)) for line in lines] + [""]
            flat += [{"data": row.data, "protocol": protocol, **line} for line in lines]
    return _write(study.results, "table1", tables, flat, "\n".join(text))


def write_table(study: Study, name: str, seeds: int) -> str:
    """docs/results/SCALE/NAME.{md,csv,json} from the cells that are finished; returns the Markdown."""
    rows = TABLES[name]
    seeds = _seeds(study, rows, seeds)
    cells = [_finished(study, row, seeds) for row in rows]
    finished = [cell for of_row in cells for cell in of_row]
    if not finished:
        return ""
    tables, texts = {}, []
    for protocol in finished[0]["protocols"]:
        tables[protocol] = tabulate(rows, cells, protocol)
        texts += [f"# {name}, scale {study.scale}, protocol {protocol} ({_frames(protocol)})", ""]
        texts += [_note(finished, len(rows) * seeds), "", _head("minus first row [95 % CI], Holm signed-rank p")]
        texts += [_markdown_line(line, _versus(line.get("against_first"))) for line in tables[protocol]] + [""]
    flat = [{"protocol": protocol, **line} for protocol, lines in tables.items() for line in lines]
    return _write(study.results, name, tables, flat, "\n".join(texts))


def _seeds(study: Study, rows: Sequence[Row], wanted: int) -> int:
    """How many seeds a table tells: those asked for, and more where all of its rows have them already."""
    while all(study.is_finished(Cell(row.changes, wanted, row.data)) for row in rows):
        wanted += 1
    return wanted


def _finished(study: Study, row: Row, seeds: int) -> list[dict[str, Any]]:
    """The finished cells of a row, by seed."""
    return [found for seed in range(seeds) if (found := study.load(Cell(row.changes, seed, row.data)))]


def _frames(protocol: str) -> str:
    return "ED and ES" if protocol == "semi" else "every frame"


def _note(cells: Sequence[dict[str, Any]], wanted: int) -> str:
    simulated = "SIMULATED clips: not comparable with the paper's numbers, only with its order. "
    return (
        f"{len(cells)} of {wanted} cells finished. {simulated if cells[0]['simulated'] else ''}"
        f"Split {cells[0]['split']}, {cells[0]['epochs']} epochs; "
        f"commits {', '.join(sorted({cell['commit'][:7] for cell in cells}))}."
    )


def _head(versus: str) -> str:
    return (
        f"| row | seeds | mDice % [95 % CI by patient] | each seed | {versus} "
        "| HD95 (pooled) | ASSD | EF: r, bias (method) | paper's mDice |\n|---|---|---|---|---|---|---|---|---|"
    )


def _versus(found: Mapping[str, Any] | None, *, both: bool = False) -> str:
    if not found:
        return "-"
    low, high = found["ci95"]
    text = f"{found['difference']:+.2f} [{low:+.2f}, {high:+.2f}], p {found['p_signed_rank_holm']:.3g}"
    return f"{text}, {found['p_rank_sum_holm']:.3g}" if both else text


def _markdown_line(line: Mapping[str, Any], versus: str) -> str:
    number = lambda value, form: "n/a" if value is None else format(value, form)
    unit = line["distance_unit"]
    return (
        f"| {line['row']} | {line['seeds']} "
        f"| {line['dice_percent']:.2f} [{line['ci95_low']:.2f}, {line['ci95_high']:.2f}] "
        f"| {', '.join(format(value, '.2f') for value in line.get('dice_percent_by_seed', ()))} | {versus} "
        f"| {number(line['hd95'], '.2f')} {unit} | {number(line['assd'], '.2f')} {unit} "
        f"| {number(line['ef_r'], '.3f')}, {number(line['ef_bias'], '+.2f')} ({line['ef_method']}) "
        f"| {number(line['paper_dice_percent'], '.2f')} |"
    )


def _write(results: Path, name: str, tables: Any, flat: Sequence[Mapping[str, Any]], text: str) -> str:
    (results / f"{name}.md").write_text(text, encoding="utf-8")
    (results / f"{name}.json").write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")
    stream = io.StringIO()
    plain = [{k: v for k, v in line.items() if not isinstance(v, dict | list)} for line in flat]
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for line in plain for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    (results / f"{name}.csv").write_text(stream.getvalue(), encoding="utf-8")
    return text
