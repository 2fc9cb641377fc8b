"""What an evaluation leaves on disk: tables, summaries, comparisons with other runs, pictures, the report."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines.files import write_atomically
from data_pipelines.records import Skipped
from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.comparison import compare_rows
from echoforge_jax.report.html import write_report
from echoforge_jax.report.overlays import overlay_grid
from echoforge_jax.report.selection import Pictures


@dataclasses.dataclass(frozen=True)
class Scores:
    """One protocol: its summary and the rows behind it."""

    summary: dict[str, Any]
    frames: list[dict]
    patients: list[dict]
    clips: list[dict]


def write_results(
    out: Path,
    scores: dict[str, Scores],
    *,
    pictures: Pictures,
    card: dict[str, str],
    history: list[dict],
    skipped: Sequence[Skipped],
    split: str,
    simulated: bool,
    against: Sequence[Path] = (),
) -> dict[str, Any]:
    """Writes metrics.json, per_frame.csv, per_patient.csv, per_clip.csv (full clips), overlays.png and report.html.

    Raises:
        ConfigError: a folder of `against` holds no per_frame.csv.
    """
    comparisons = compare_runs(scores, against)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows_by_protocol in (
        ("per_frame.csv", {protocol: s.frames for protocol, s in scores.items()}),
        ("per_patient.csv", {protocol: s.patients for protocol, s in scores.items()}),
        ("per_clip.csv", {protocol: s.clips for protocol, s in scores.items() if s.clips}),
    ):
        if rows_by_protocol:
            _write_table(out / name, rows_by_protocol)
    (out / "overlays.png").write_bytes(overlay_grid(pictures.overlays, 4))
    summaries = {protocol: s.summary for protocol, s in scores.items()}
    write_report(
        out / "report.html",
        title=f"EchoForge: {out.resolve().name}",
        summaries=summaries,
        frame_rows={protocol: s.frames for protocol, s in scores.items()},
        ef_rows={protocol: s.patients for protocol, s in scores.items()},
        history=history,
        pictures=pictures,
        card=card,
        simulated=simulated,
        comparisons=comparisons,
    )
    result = {
        "split": split,
        "simulated": simulated,
        "protocols": summaries,
        "comparisons": comparisons,
        "skipped": [dataclasses.asdict(s) for s in skipped],
        "card": card,
    }
    write_atomically(out / "metrics.json", json.dumps(result, indent=1).encode())
    return result


def read_frames(folder: Path) -> list[dict[str, str]]:
    """The rows of per_frame.csv of an evaluation's folder.

    Raises:
        ConfigError: there is none.
    """
    if not (folder / "per_frame.csv").is_file():
        raise ConfigError(f"{folder} holds no per_frame.csv; expected a folder that evaluate wrote into")
    with (folder / "per_frame.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def compare_runs(scores: dict[str, Scores], against: Sequence[Path]) -> dict[str, dict[str, dict[str, Any]]]:
    """protocol -> `compare_rows` with the folders of other evaluations.

    Raises:
        ConfigError: a folder holds no per_frame.csv.
    """
    others = {str(folder): read_frames(folder) for folder in against}
    return {
        protocol: compare_rows(
            of_protocol.frames,
            {name: [row for row in rows if row["protocol"] == protocol] for name, rows in others.items()},
        )
        for protocol, of_protocol in (scores.items() if others else ())
    }


def _write_table(path: Path, rows_by_protocol: dict[str, list[dict]]) -> None:
    rows = [{"protocol": protocol, **row} for protocol, rows in rows_by_protocol.items() for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
