"""Simulated data sets on disk: many patients with exact volumes (ml), split 7:1:2, in the file tree of a real one."""

from __future__ import annotations

import dataclasses
import functools
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from data_pipelines.files import write_atomically
from data_pipelines.simulator.clip import ClipSettings, simulate_clip
from data_pipelines.simulator.patient import Patient, patient_name
from data_pipelines.simulator.trees import TREES
from data_pipelines.simulator.truth import TruthRow, append_truth, read_finished, write_truth
from data_pipelines.splits import cut_by_ratio

SIMULATOR_VERSION = 2  # raise it whenever the same arguments give other pictures
STATE_FILE = "cohort.json"


@dataclasses.dataclass(frozen=True)
class Cohort:
    """What a simulated data set consists of; equal cohorts give equal bytes.

    Attributes:
        patients: number of patients, at least 3.
        seed: seed of the population.
        frames: frames of every clip.
        size: height and width in pixels.
        tree: "camus" or "echonet", a key of `TREES`: the file tree, and the population that it holds.

    Raises:
        ValueError: the tree has another name.
    """

    patients: int
    seed: int
    frames: int = 16
    size: int = 256
    tree: str = "camus"

    def __post_init__(self) -> None:
        if self.tree not in TREES:
            raise ValueError(f"tree is {self.tree!r}; expected one of {', '.join(TREES)}: choose one of these")

    def split(self) -> dict[str, list[str]]:
        """Returns the names of the patients of each split: see `split_by_number`."""
        return split_by_number(self.patients)


def split_by_number(patients: int) -> dict[str, list[str]]:
    """Splits patients 1..n in the ratio 7:1:2, in the order of their numbers, with at least one in each split.

    Returns:
        names of the patients of "train", "validation" and "test".

    Raises:
        ValueError: there are fewer than three patients.
    """
    if patients < 3:
        raise ValueError(f"patients is {patients}; expected at least 3: training, validation and testing need one each")
    return cut_by_ratio([patient_name(number) for number in range(1, patients + 1)])


def write_cohort(
    out: Path, cohort: Cohort, *, processes: int = 1, progress: Callable[[int, int], None] | None = None
) -> None:
    """Writes every patient, the split, `truth.csv` and `cohort.json`.

    A second call with the same cohort continues where the first stopped, and gives the same bytes.

    Args:
        out: folder of the data set.
        cohort: what to write.
        processes: number of processes that simulate; more than one are spawned.
        progress: called with (finished patients, all patients) once at the start and after every patient.

    Raises:
        ValueError: the folder holds something else or another cohort, or there are fewer than three patients.
    """
    out, tree, split = Path(out), TREES[cohort.tree], cohort.split()
    if is_complete(out, cohort):
        if progress:
            progress(cohort.patients, cohort.patients)
        return
    out.mkdir(parents=True, exist_ok=True)
    _write_state(out, cohort, complete=False)
    tree.begin(out, split)
    rows = read_finished(out, tree.views)
    finished = {row.patient for row in rows}
    write_truth(out, rows)
    if progress:
        progress(len(finished), cohort.patients)
    missing = [number for number in range(1, cohort.patients + 1) if patient_name(number) not in finished]
    for count, patient_rows in enumerate(_write_patients(out, cohort, missing, processes), start=len(finished) + 1):
        rows += patient_rows
        append_truth(out, patient_rows)
        if progress:
            progress(count, cohort.patients)
    tree.finish(out, split)
    write_truth(out, sorted(rows))
    _write_state(out, cohort, complete=True)


def is_complete(out: Path, cohort: Cohort) -> bool:
    """Returns whether a folder holds a whole cohort; False where the folder is absent, empty or unfinished.

    Args:
        out: the folder.
        cohort: the cohort that is expected there.

    Raises:
        ValueError: the folder holds something else, or a cohort made with other arguments or by another version.
    """
    out = Path(out)
    if not out.exists():
        return False
    state_path = out / STATE_FILE
    if not state_path.exists():
        names = [path.name for path in out.iterdir() if not path.name.startswith(f".{STATE_FILE}.")]
        if names:
            raise ValueError(
                f"{out}: found {len(names)} entries such as {min(names)!r} and no {STATE_FILE}; expected an "
                "empty folder or an unfinished cohort: choose another folder"
            )
        return False
    state = json.loads(state_path.read_text())
    expected = {"simulator_version": SIMULATOR_VERSION, "arguments": dataclasses.asdict(cohort)}
    stored = {key: state.get(key) for key in expected}
    if stored != expected:
        raise ValueError(
            f"{out}: found a cohort made with {stored}; expected {expected}: choose another folder, "
            "use the arguments found, or delete the folder"
        )
    return bool(state.get("complete"))


def remove_other_cohort(out: Path, cohort: Cohort) -> None:
    """Removes a cohort of other arguments or of another version, which nothing needs any more.

    Args:
        out: the folder; what is not a cohort in it stays.
        cohort: a cohort with these arguments stays.
    """
    try:
        is_complete(out, cohort)
    except ValueError:
        if (out / STATE_FILE).exists():
            shutil.rmtree(out)


def _write_state(out: Path, cohort: Cohort, *, complete: bool) -> None:
    state = {"simulator_version": SIMULATOR_VERSION, "arguments": dataclasses.asdict(cohort), "complete": complete}
    write_atomically(out / STATE_FILE, (json.dumps(state, indent=2) + "\n").encode())


def _write_patients(out: Path, cohort: Cohort, numbers: Sequence[int], processes: int) -> Iterator[list[TruthRow]]:
    """Writes patients and yields their rows of truth.csv, each as soon as the patient is finished."""
    write = functools.partial(_write_patient, out, cohort)
    if processes <= 1 or len(numbers) <= 1:
        yield from map(write, numbers)
        return
    # Spawned, never forked: the caller may hold threads.
    with multiprocessing.get_context("spawn").Pool(min(processes, len(numbers)), initializer=_single_thread) as pool:
        yield from pool.imap_unordered(write, numbers)


def _single_thread() -> None:
    """Gives each process one thread, because the processes already fill the cores."""
    import cv2

    cv2.setNumThreads(1)


def _write_patient(out: Path, cohort: Cohort, number: int) -> list[TruthRow]:
    """Simulates and writes every view of one patient; returns their rows of truth.csv."""
    tree, patient = TREES[cohort.tree], Patient(cohort.seed, number, cohort.tree)
    heart = patient.heart()
    rows = []
    for view in tree.views:
        settings = ClipSettings(frames=cohort.frames, size=cohort.size, cycle=tree.cycle(patient, view))
        clip = simulate_clip(patient, view, settings)
        tree.write(clip, out)
        rows.append(
            TruthRow(
                patient=patient.name,
                view=view,
                edv_ml=f"{heart.edv_ml:.6f}",
                esv_ml=f"{heart.esv_ml:.6f}",
                ef_percent=f"{heart.ef_percent:.6f}",
                quality=str(clip.quality),
            )
        )
    return rows
