"""Clips of simulated patients, and whole cohorts written as a CAMUS tree.

A clip is a pure function of its arguments: the two views of a patient share the heart and nothing else.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from data_pipelines.formats import camus
from data_pipelines.formats.camus_images import write_atomically
from data_pipelines.records import QUALITIES, VIEWS, Clip
from data_pipelines.simulator.heart import Heart, sample_heart
from data_pipelines.simulator.section import labels_at, sample_view, section_at
from data_pipelines.simulator.ultrasound import compress, pixel_grid, prepare_scan, scan_convert, scan_frame

SIMULATOR_VERSION = 1  # raise it whenever the same arguments give other pictures
QUALITY_SHARES = (0.46, 0.35, 0.19)  # Good, Medium, Poor
STATE_FILE, TRUTH_FILE = "cohort.json", "truth.csv"
TRUTH_COLUMNS: tuple[str, ...] = ("patient", "view", "edv_ml", "esv_ml", "ef_percent", "quality")
SMALLEST_SIZE = 32


def heart_of(seed: int, patient: int) -> Heart:
    """The heart that every view of this patient shows."""
    return sample_heart(np.random.default_rng(np.random.SeedSequence([seed, patient, 0])))


def simulate_clip(
    seed: int, patient: int, view: str, *, frames: int = 16, size: int = 256, quality: str | None = None
) -> Clip:
    """One half cycle, end-diastole first, end-systole last, every frame labelled; same arguments, same bytes.

    Args:
        seed: of the cohort.
        patient: number, which also names the patient.
        view: "2CH" or "4CH".
        frames: at least 2.
        size: height and width in pixels, at least 32.
        quality: "Good", "Medium", "Poor", or None for a draw from the population.

    Returns:
        a Clip with spacing_mm (isotropic), fps, and the exact volumes and ejection fraction of the heart.

    Raises:
        ValueError: an argument out of its range.
    """
    if view not in VIEWS:
        raise ValueError(f"view is {view!r}; expected one of {', '.join(VIEWS)}: choose one of these")
    if quality is not None and quality not in QUALITIES:
        raise ValueError(f"quality is {quality!r}; expected one of {', '.join(QUALITIES)}, or None for a random draw")
    if frames < 2 or size < SMALLEST_SIZE:
        raise ValueError(f"frames is {frames}, size is {size}; expected at least 2 and {SMALLEST_SIZE}: raise them")
    heart = heart_of(seed, patient)
    rng = np.random.default_rng(np.random.SeedSequence([seed, patient, 1 + VIEWS.index(view)]))
    drawn_quality = QUALITIES[rng.choice(len(QUALITIES), p=QUALITY_SHARES)]
    quality = quality or drawn_quality
    gain_db = float(rng.normal(0, 3))
    placement = sample_view(rng, heart, view)
    scan = prepare_scan(rng, placement, section_at(heart, view, 0.0), quality, size)
    pixels = pixel_grid(placement, size, scan.grid)
    u_mm, v_mm = placement.to_heart(pixels.x_mm, pixels.z_mm)
    v_mm = v_mm - section_at(heart, view, 0.0).bend_at(u_mm)

    pictures = np.empty((frames, size, size), np.uint8)
    masks = np.empty((frames, size, size), np.uint8)
    for frame, phase in enumerate(np.linspace(0, 1, frames)):
        section = section_at(heart, view, float(phase))
        grey = compress(scan_frame(scan, section, frame, rng), gain_db)
        pictures[frame] = scan_convert(grey, pixels)
        masks[frame] = labels_at(section, u_mm, v_mm) * pixels.inside
    return Clip(
        frames=pictures,
        masks=masks,
        labelled=np.ones(frames, bool),
        ed_index=0,
        es_index=frames - 1,
        spacing_mm=(pixels.spacing_mm, pixels.spacing_mm),
        fps=(frames - 1) / heart.systole_s,
        patient_id=patient_name(patient),
        view=view,
        quality=quality,
        ef_percent=heart.ef_percent,
        volumes_ml=(heart.edv_ml, heart.esv_ml),
    )


def patient_name(patient: int) -> str:
    return f"patient{patient:04d}"


# ---- a cohort on disk ----------------------------------------------------------------------------------------------


def split_by_number(patients: int) -> dict[str, list[str]]:
    """Patients 1..n in the ratio 7:1:2, in the order of their numbers, at least one in each subgroup."""
    if patients < 3:
        raise ValueError(f"patients is {patients}; expected at least 3: training, validation and testing need one each")
    validation, testing = max(1, round(0.1 * patients)), max(1, round(0.2 * patients))
    names = [patient_name(number) for number in range(1, patients + 1)]
    training = patients - validation - testing
    return {
        "training": names[:training],
        "validation": names[training : training + validation],
        "testing": names[training + validation :],
    }


def write_cohort(
    out: Path,
    *,
    patients: int,
    seed: int,
    frames: int = 16,
    size: int = 256,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes both views of every patient as a CAMUS tree, its split, `truth.csv` and `cohort.json`.

    A second call with the same arguments goes on where the first stopped; `progress(finished, patients)` is called once
    at the start and after every patient. With more than one process, patients are simulated in spawned processes.

    Raises:
        ValueError: the folder holds something else, or a cohort made with other arguments.
    """
    out = Path(out)
    split = split_by_number(patients)
    arguments = {"patients": patients, "seed": seed, "frames": frames, "size": size}
    if is_complete(out, arguments):
        if progress:
            progress(patients, patients)
        return
    out.mkdir(parents=True, exist_ok=True)
    _write_state(out, arguments, complete=False)
    camus.write_split(out, split)
    rows = _finished_rows(out)
    finished = {row["patient"] for row in rows}
    _write_truth(out, rows)
    if progress:
        progress(len(finished), patients)
    jobs = [
        (out, seed, number, frames, size) for number in range(1, patients + 1) if patient_name(number) not in finished
    ]
    for done, patient_rows in enumerate(_results(jobs, processes), start=len(finished) + 1):
        rows += patient_rows
        _append_truth(out, patient_rows)
        if progress:
            progress(done, patients)
    _write_truth(out, sorted(rows, key=lambda row: (row["patient"], row["view"])))
    _write_state(out, arguments, complete=True)


def is_complete(out: Path, arguments: dict[str, int]) -> bool:
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
    expected = {"simulator_version": SIMULATOR_VERSION, "arguments": arguments}
    found = {key: state.get(key) for key in expected}
    if found != expected:
        raise ValueError(
            f"{out}: found a cohort made with {found}; expected {expected}: choose another folder, "
            "use the arguments found, or delete the folder"
        )
    return bool(state.get("complete"))


def _results(jobs: list[tuple], processes: int) -> Iterator[list[dict[str, str]]]:
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


def _write_patient(job: tuple[Path, int, int, int, int]) -> list[dict[str, str]]:
    """Simulates and writes both views of one patient; returns their rows of truth.csv."""
    out, seed, patient, frames, size = job
    rows = []
    for view in VIEWS:
        clip = simulate_clip(seed, patient, view, frames=frames, size=size)
        camus.write_clip(clip, out)
        heart = heart_of(seed, patient)
        numbers = [f"{value:.6f}" for value in (heart.edv_ml, heart.esv_ml, heart.ef_percent)]
        rows.append(dict(zip(TRUTH_COLUMNS, (clip.patient_id, view, *numbers, str(clip.quality)), strict=True)))
    return rows


def _write_state(out: Path, arguments: dict[str, int], *, complete: bool) -> None:
    state = {"simulator_version": SIMULATOR_VERSION, "arguments": arguments, "complete": complete}
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


def _finished_rows(out: Path) -> list[dict[str, str]]:
    """Rows of the patients with both views written; a line cut short by an interruption counts as missing."""
    path = out / TRUTH_FILE
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["quality"] in QUALITIES]
    views: dict[str, set[str]] = {}
    for row in rows:
        views.setdefault(row["patient"], set()).add(row["view"])
    return [row for row in rows if views[row["patient"]] == set(VIEWS)]
