"""Whole cohorts of simulated patients on disk, as a CAMUS tree or an EchoNet-Dynamic tree."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.files import write_atomically
from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.records import QUALITIES, VIEWS
from data_pipelines.simulator.clip import heart_of, patient_name, simulate_clip
from data_pipelines.splits import cut_by_ratio

SIMULATOR_VERSION = 2  # raise it whenever the same arguments give other pictures
FORMATS: dict[str, tuple[str, ...]] = {"camus": VIEWS, "echonet": ("4CH",)}  # and the views that each has
REVERSED_SHARE = 0.1  # of CAMUS half sequences: from end-systole to end-diastole, as some of the release
STATE_FILE, TRUTH_FILE, PARTS = "cohort.json", "truth.csv", "parts"
TRUTH_COLUMNS: tuple[str, ...] = ("patient", "view", "edv_ml", "esv_ml", "ef_percent", "quality")


def split_by_number(patients: int) -> dict[str, list[str]]:
    """Splits patients 1..n in the ratio 7:1:2, in the order of their numbers, with at least one in each split.

    Raises:
        ValueError: there are fewer than three patients.
    """
    if patients < 3:
        raise ValueError(f"patients is {patients}; expected at least 3: training, validation and testing need one each")
    return cut_by_ratio([patient_name(number) for number in range(1, patients + 1)])


def write_cohort(
    out: Path,
    *,
    patients: int,
    seed: int,
    frames: int = 16,
    size: int = 256,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
    tree: str = "camus",
) -> None:
    """Writes every patient, the split 7:1:2, `truth.csv` and `cohort.json`.

    "camus": both views, `frames` from end-diastole to end-systole, or back in one clip of ten. "echonet": videos of the
    four-chamber view at 50 frames a second that run over any part of the cycle, of an EchoNet-like population.

    A second call with the same arguments goes on where the first stopped; `progress(finished, patients)` is called once
    at the start and after every patient. With more than one process, patients are simulated in spawned processes.

    Raises:
        ValueError: the folder holds something else, or a cohort made with other arguments.
    """
    out = Path(out)
    split = split_by_number(patients)
    arguments = {"patients": patients, "seed": seed, "frames": frames, "size": size, "tree": tree}
    if is_complete(out, arguments):
        if progress:
            progress(patients, patients)
        return
    out.mkdir(parents=True, exist_ok=True)
    _write_state(out, arguments, complete=False)
    if tree == "camus":
        camus.write_split(out, split)
    rows = _finished_rows(out, FORMATS[tree])
    finished = {row["patient"] for row in rows}
    _write_truth(out, rows)
    if progress:
        progress(len(finished), patients)
    jobs = [
        (out, seed, number, frames, size, tree)
        for number in range(1, patients + 1)
        if patient_name(number) not in finished
    ]
    for done, patient_rows in enumerate(_results(jobs, processes), start=len(finished) + 1):
        rows += patient_rows
        _append_truth(out, patient_rows)
        if progress:
            progress(done, patients)
    if tree == "echonet":
        _join_parts(out, split)
    _write_truth(out, sorted(rows, key=lambda row: (row["patient"], row["view"])))
    _write_state(out, arguments, complete=True)


def is_complete(out: Path, arguments: Mapping[str, Any]) -> bool:
    """Whether `out` already holds the whole cohort of these arguments; False where it is absent, empty or unfinished.

    Raises:
        ValueError: `out` holds something else, or a cohort made with other arguments or by another version.
    """
    out = Path(out)
    if not out.exists():
        return False
    state_path = out / STATE_FILE
    if not state_path.exists():
        strangers = [path.name for path in out.iterdir() if not path.name.startswith(f".{STATE_FILE}.")]
        if strangers:
            raise ValueError(
                f"{out}: found {len(strangers)} entries such as {min(strangers)!r} and no {STATE_FILE}; expected an "
                "empty folder or an unfinished cohort: choose another folder"
            )
        return False
    state = json.loads(state_path.read_text())
    expected = {"simulator_version": SIMULATOR_VERSION, "arguments": dict(arguments)}
    found = {key: state.get(key) for key in expected}
    if found != expected:
        raise ValueError(
            f"{out}: found a cohort made with {found}; expected {expected}: choose another folder, "
            "use the arguments found, or delete the folder"
        )
    return bool(state.get("complete"))


def _results(jobs: list[tuple[Path, int, int, int, int, str]], processes: int) -> Iterator[list[dict[str, str]]]:
    """Rows of truth of each patient as it is finished. Spawned, never forked: the caller may hold threads."""
    if processes <= 1 or len(jobs) <= 1:
        yield from map(_write_patient, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(min(processes, len(jobs)), initializer=_single_thread) as pool:
        yield from pool.imap_unordered(_write_patient, jobs)


def _single_thread() -> None:
    """One thread for each process: the processes already fill the cores."""
    import cv2

    cv2.setNumThreads(1)


def _write_patient(job: tuple[Path, int, int, int, int, str]) -> list[dict[str, str]]:
    """Simulates and writes every view of one patient; returns their rows of truth.csv."""
    out, seed, patient, frames, size, tree = job
    rows = []
    for view in FORMATS[tree]:
        cycle = "beats" if tree == "echonet" else half_cycle_of(seed, patient, view)
        clip = simulate_clip(seed, patient, view, frames=frames, size=size, cycle=cycle, population=tree)
        if tree == "camus":
            camus.write_clip(clip, out)
        else:
            echonet_dynamic.write_tree([clip], out / PARTS / clip.patient_id, {clip.patient_id: "TRAIN"})
        heart = heart_of(seed, patient, tree)
        numbers = [f"{value:.6f}" for value in (heart.edv_ml, heart.esv_ml, heart.ef_percent)]
        rows.append(dict(zip(TRUTH_COLUMNS, (clip.patient_id, view, *numbers, str(clip.quality)), strict=True)))
    return rows


def half_cycle_of(seed: int, patient: int, view: str) -> str:
    """Which half of the cycle a clip of a CAMUS tree holds: `cycle` of `simulate_clip`."""
    draw = np.random.default_rng(np.random.SeedSequence([seed, patient, 11 + VIEWS.index(view)])).random()
    return "filling" if draw < REVERSED_SHARE else "ejection"


def _join_parts(out: Path, split: Mapping[str, list[str]]) -> None:
    """One EchoNet tree from one a patient; run again after an interruption, it goes on."""
    subset_of = {name: echonet_dynamic.SPLIT_VALUES[group] for group, names in split.items() for name in names}
    (out / "Videos").mkdir(exist_ok=True)
    for file_name in ("VolumeTracings.csv", "FileList.csv"):
        rows: list[list[str]] = []
        for name in sorted(subset_of):
            with (out / PARTS / name / file_name).open(newline="") as file:
                header, *lines = csv.reader(file)
            if file_name == "FileList.csv":
                lines = [[*line[:-1], subset_of[name]] for line in lines]
            rows += lines if rows else [header, *lines]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomically(out / file_name, text.getvalue().encode())
    for name in sorted(subset_of):
        if (video := out / PARTS / name / "Videos" / f"{name}.avi").exists():
            os.replace(video, out / "Videos" / video.name)
    shutil.rmtree(out / PARTS)


def _write_state(out: Path, arguments: Mapping[str, Any], *, complete: bool) -> None:
    state = {"simulator_version": SIMULATOR_VERSION, "arguments": dict(arguments), "complete": complete}
    write_atomically(out / STATE_FILE, (json.dumps(state, indent=2) + "\n").encode())


def _truth_text(rows: list[dict[str, str]], *, header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, TRUTH_COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_truth(out: Path, rows: list[dict[str, str]]) -> None:
    write_atomically(out / TRUTH_FILE, _truth_text(rows, header=True).encode())


def _append_truth(out: Path, rows: list[dict[str, str]]) -> None:
    with (out / TRUTH_FILE).open("a", newline="") as file:
        file.write(_truth_text(rows, header=False))


def _finished_rows(out: Path, wanted: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of the patients with all wanted views written; a line cut short by an interruption counts as missing."""
    path = out / TRUTH_FILE
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["quality"] in QUALITIES]
    views: dict[str, set[str]] = {}
    for row in rows:
        views.setdefault(row["patient"], set()).add(row["view"])
    return [row for row in rows if views[row["patient"]] == set(wanted)]
