"""Tables as Markdown, CSV and JSON in the results folder of a study."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echoforge_jax.reproduction.cell_result import CellResult
from echoforge_jax.reproduction.rows import TABLES, Row
from echoforge_jax.reproduction.study import Cell, Study
from echoforge_jax.reproduction.tables import Comparison, Line, compare_systems, tabulate

FRAMES = {"semi": "ED and ES", "full": "every frame"}
AGAINST_FIRST = "minus first row [95 % CI], Holm signed-rank p"
OURS_MINUS_THIS = "EchoForge minus this [95 % CI]; signed-rank p, rank-sum p (Holm)"


def write_table(study: Study, name: str, seeds: int) -> str:
    """Writes NAME.md, NAME.csv and NAME.json from the cells that are finished.

    Args:
        study: the study, whose results folder holds the cells and gets the files.
        name: name of the table in `rows.TABLES`; "table1" is `write_table1`.
        seeds: seeds that each row should have. The table tells more where all of its rows have them.

    Returns:
        The Markdown; nothing where no cell is finished.
    """
    rows = TABLES[name]
    seeds = _told_seeds(study, rows, seeds)
    results = [study.finished(row, seeds) for row in rows]
    finished = [result for cells in results for result in cells]
    if not finished:
        return ""
    tables, text = {}, []
    for protocol in finished[0].protocols:
        tables[protocol] = tabulate(rows, results, protocol)
        text += [f"# {name}, scale {study.scale}, protocol {protocol} ({FRAMES[protocol]})", ""]
        text += [_note(finished, len(rows) * seeds), "", _head(AGAINST_FIRST)]
        text += [_markdown(line, _comparison(line.against_first)) for line in tables[protocol]] + [""]
    by_protocol = {protocol: [line.to_json() for line in lines] for protocol, lines in tables.items()}
    flat = [{"protocol": protocol, **line} for protocol, lines in by_protocol.items() for line in lines]
    return _write(study.results / name, by_protocol, flat, "\n".join(text))


def write_table1(study: Study, seeds: int, others: Mapping[str, Mapping[str, Path]]) -> str:
    """Writes Table 1 for every data set that has a finished cell.

    Args:
        study: as for `write_table`.
        seeds: as for `write_table`.
        others: by data set, the folders of other systems' evaluations by name.

    Returns:
        The Markdown.

    Raises:
        ConfigError: a folder of `others` holds no evaluation.
    """
    by_data: dict[str, dict[str, Any]] = {}
    flat, text = [], []
    rows = [row for row in TABLES["table1"] if row.data in study.bases]
    seeds = _told_seeds(study, rows, seeds)
    for row in rows:
        cells = study.finished(row, seeds)
        for protocol, lines in compare_systems(row, cells, others[row.data]).items():
            text += [f"# table1, {row.data}, scale {study.scale}, protocol {protocol} ({FRAMES[protocol]})", ""]
            text += [_note(cells, seeds), "", _head(OURS_MINUS_THIS)]
            text += [_markdown(line, _comparison(line.ours_minus_this)) for line in lines] + [""]
            as_json = [line.to_json() for line in lines]
            by_data.setdefault(row.data, {})[protocol] = as_json
            flat += [{"data": row.data, "protocol": protocol, **line} for line in as_json]
    return _write(study.results / "table1", by_data, flat, "\n".join(text))


def _told_seeds(study: Study, rows: Sequence[Row], seeds: int) -> int:
    """How many seeds a table tells: those asked for, and more where all of its rows have them already."""
    while all(study.is_finished(Cell.from_row(row, seeds)) for row in rows):
        seeds += 1
    return seeds


def _note(cells: Sequence[CellResult], expected: int) -> str:
    simulated = "SIMULATED clips: not comparable with the paper's numbers, only with its order. "
    return (
        f"{len(cells)} of {expected} cells finished. {simulated if cells[0].simulated else ''}"
        f"Split {cells[0].split}, {cells[0].epochs} epochs; "
        f"commits {', '.join(sorted({cell.commit[:7] for cell in cells}))}."
    )


def _head(comparison: str) -> str:
    return (
        f"| row | seeds | mDice % [95 % CI by patient] | each seed | {comparison} "
        "| HD95 (pooled) | ASSD | EF: r, bias (method) | paper's mDice |\n|---|---|---|---|---|---|---|---|---|"
    )


def _comparison(comparison: Comparison | None) -> str:
    if not comparison:
        return "-"
    paired = comparison.paired
    low, high = paired["ci95"] or (None, None)
    text = f"{_number(paired['difference'], '+.2f')} {_interval(low, high, '+.2f')}"
    if comparison.p_signed_rank_holm is None:
        return f"{text}, no p of {paired['n_patients']} patients"
    text = f"{text}, p {comparison.p_signed_rank_holm:.3g}"
    return text if comparison.p_rank_sum_holm is None else f"{text}, {comparison.p_rank_sum_holm:.3g}"


def _markdown(line: Line, comparison: str) -> str:
    unit = line.distance_unit
    return (
        f"| {line.row} | {line.seeds} | {line.dice_percent:.2f} {_interval(line.ci95_low, line.ci95_high, '.2f')} "
        f"| {', '.join(format(value, '.2f') for value in line.dice_percent_by_seed or ())} | {comparison} "
        f"| {_number(line.hd95, '.2f')} {unit} | {_number(line.assd, '.2f')} {unit} "
        f"| {_number(line.ef_r, '.3f')}, {_number(line.ef_bias, '+.2f')} ({line.ef_method}) "
        f"| {_number(line.paper_dice_percent, '.2f')} |"
    )


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "[no interval]" if low is None or high is None else f"[{low:{form}}, {high:{form}}]"


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def _write(stem: Path, tables: Any, flat: Sequence[Mapping[str, Any]], text: str) -> str:
    """Writes the three files; the CSV leaves out what is no single value."""
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    stem.with_suffix(".json").write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")
    lines = [
        {name: value for name, value in line.items() if not isinstance(value, dict | list | tuple)} for line in flat
    ]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    stem.with_suffix(".csv").write_text(stream.getvalue(), encoding="utf-8")
    return text
