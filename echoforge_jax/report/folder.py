"""The folder of an evaluation: tables, summaries, pictures and the report; and its tables read back."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from data_pipelines.files import write_atomically
from data_pipelines.notes_by_record import notes_as_json
from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.comparison import compare_rows
from echoforge_jax.evaluation.rows import ClipSteadiness, FrameScore, PatientEF
from echoforge_jax.evaluation.summary import ProtocolScores
from echoforge_jax.report.content import Evaluation
from echoforge_jax.report.html import write_report
from echoforge_jax.report.overlays import overlay_grid

RowT = TypeVar("RowT")
FRAMES_FILE, PATIENTS_FILE, CLIPS_FILE = "per_frame.csv", "per_patient.csv", "per_clip.csv"


def write_results(out: Path, evaluation: Evaluation) -> dict[str, Any]:
    """Writes metrics.json, per_frame.csv, per_patient.csv, per_clip.csv (full clips), overlays.png and report.html.

    Args:
        out: folder of the results; made if it does not exist.
        evaluation: what the evaluation found.

    Returns:
        The content of metrics.json.
    """
    out.mkdir(parents=True, exist_ok=True)
    protocols = evaluation.protocols
    _write_table(out / FRAMES_FILE, {name: scores.frames for name, scores in protocols.items()})
    _write_table(out / PATIENTS_FILE, {name: scores.patients for name, scores in protocols.items()})
    if any(scores.clips for scores in protocols.values()):
        _write_table(out / CLIPS_FILE, {name: scores.clips for name, scores in protocols.items()})
    (out / "overlays.png").write_bytes(overlay_grid(evaluation.pictures.overlays, columns=4))
    write_report(out / "report.html", evaluation, title=f"EchoForge: {out.resolve().name}")
    metrics = {
        "split": evaluation.split,
        "simulated": evaluation.simulated,
        "protocols": {name: scores.summary for name, scores in protocols.items()},
        "comparisons": evaluation.comparisons,
        "skipped": [dataclasses.asdict(skipped) for skipped in evaluation.skipped],
        "notes": notes_as_json(evaluation.notes),
        "card": evaluation.card,
    }
    write_atomically(out / "metrics.json", json.dumps(metrics, indent=1).encode())
    return metrics


def check_results_folder(out: Path) -> None:
    """Checks that results can be written into a folder, without making it.

    Raises:
        NotADirectoryError, PermissionError: there is a file of that name, or the folder may not be written.
    """
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file, expected a folder for the results: give another --out")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{there} may not be written: give another --out")


def read_frames(folder: Path) -> dict[str, list[FrameScore]]:
    """Reads per_frame.csv of an evaluation's folder: name of a protocol -> scores of frames.

    Raises:
        ConfigError: the folder does not hold the file, or it is not what an evaluation wrote.
    """
    return _rows_of(folder, FRAMES_FILE, FrameScore.from_columns)


def read_patients(folder: Path) -> dict[str, list[PatientEF]]:
    """Reads per_patient.csv of an evaluation's folder: name of a protocol -> ejection fractions of patients.

    Raises:
        ConfigError: the folder does not hold the file, or it is not what an evaluation wrote.
    """
    return _rows_of(folder, PATIENTS_FILE, PatientEF.from_columns)


def compare_with_folders(
    protocols: Mapping[str, ProtocolScores], folders: Sequence[Path]
) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Compares an evaluation with earlier ones.

    Args:
        protocols: name of a protocol -> its scores.
        folders: folders of other evaluations.

    Returns:
        Name of a protocol -> `comparison.compare_rows`; empty without a folder.

    Raises:
        ConfigError: a folder holds no per_frame.csv.
    """
    others = {str(folder): read_frames(folder) for folder in folders}
    if not others:
        return {}
    return {
        name: compare_rows(scores.frames, {other: rows.get(name, []) for other, rows in others.items()})
        for name, scores in protocols.items()
    }


def _write_table(path: Path, rows: Mapping[str, Sequence[FrameScore | PatientEF | ClipSteadiness]]) -> None:
    """Writes the rows of all protocols as CSV; the first column names the protocol."""
    lines = [{"protocol": protocol, **row.columns()} for protocol, group in rows.items() for row in group]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_atomically(path, text.getvalue().encode())


def _rows_of(folder: Path, name: str, read: Callable[[Mapping[str, str]], RowT]) -> dict[str, list[RowT]]:
    """Reads the rows of a CSV by protocol."""
    try:
        return {protocol: [read(row) for row in rows] for protocol, rows in _read_table(folder, name).items()}
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:  # also UnicodeDecodeError
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{folder / name} is not what evaluate writes ({type(error).__name__}: {error}); expected the folder of an "
            "evaluation, unchanged"
        ) from error


def _read_table(folder: Path, name: str) -> dict[str, list[dict[str, str]]]:
    """Reads a CSV as rows by protocol."""
    if not (folder / name).is_file():
        raise ConfigError(f"{folder} holds no {name}; expected a folder that evaluate wrote into")
    protocols: dict[str, list[dict[str, str]]] = {}
    with (folder / name).open(newline="", encoding="utf-8") as stream:
        for columns in csv.DictReader(stream):
            protocols.setdefault(columns["protocol"], []).append(columns)
    return protocols
