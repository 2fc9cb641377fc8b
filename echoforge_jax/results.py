"""What an evaluation leaves on disk: tables, summaries, comparisons with other runs, pictures, the report."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines.formats.camus_images import write_atomically
from data_pipelines.records import Skipped
from data_pipelines.simulator.cohort import STATE_FILE as COHORT_FILE
from echoforge_jax import __version__
from echoforge_jax.config import Config, ConfigError
from echoforge_jax.evaluation.comparison import compare_rows
from echoforge_jax.report.html import write_report
from echoforge_jax.report.overlays import overlay_grid
from echoforge_jax.report.selection import Pictures
from echoforge_jax.training.workdir import git_commit


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
        out / "report.html", title=f"EchoForge: {out.resolve().name}", summaries=summaries,
        frame_rows={protocol: s.frames for protocol, s in scores.items()},
        ef_rows={protocol: s.patients for protocol, s in scores.items()},
        history=history, pictures=pictures, card=card, simulated=simulated, comparisons=comparisons,
    )  # fmt: skip
    result = {
        "split": split, "simulated": simulated, "protocols": summaries, "comparisons": comparisons,
        "skipped": [dataclasses.asdict(s) for s in skipped], "card": card,
    }  # fmt: skip
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


def is_simulated(config: Config) -> bool:
    """Whether the data that are read come from the simulator: made for this run, or a tree that it wrote."""
    return config.data.simulate.patients > 0 or is_simulated_tree(Path(config.data.root))


def is_simulated_tree(root: Path) -> bool:
    """Whether the simulator wrote this tree."""
    return (root / COHORT_FILE).exists()


def method_card(config: Config, split: str, clips: int, skipped: str, networks: int = 1) -> dict[str, str]:
    """What a reader needs to know what was measured, as rows of the report's card. Of several networks whose
    probabilities are averaged it is the first one's."""
    data, model = config.data, config.model
    simulated = data.simulate.patients
    return {
        "data set": {"camus": "CAMUS", "echonet_dynamic": "EchoNet-Dynamic", "store": "prepared store"}[data.format],
        "data": f"simulated, {simulated} patients, seed {data.simulate.seed}" if simulated
        else "a simulated tree" if is_simulated(config) else data.format,
        "split": f"{split}, {clips} clips; skipped: {skipped}",
        "labels used in training": "ED and ES" if data.training_labels == "ed_es" else "every annotated frame",
        "network input": f"{data.frames} frames of {data.size}x{data.size}, ED to ES, grey levels 0..1",
        "masks": "probability resized to the clip's own size (bilinear), threshold "
        f"{config.evaluation.threshold:g}; LV endocardium",
        "test-time augmentation": ", ".join(f"{scale:g} x" for scale in config.evaluation.scales)
        if config.evaluation.scales != (1.0,) else "none",
        "networks": "one" if networks == 1 else f"{networks}, probabilities averaged; what follows is of the first",
        "encoder": f"ResNet-{model.encoder_depth}, width {model.encoder_width}, {model.encoder_stages} stages, "
        + ("pretrained" if model.pretrained else "from Kaiming initialisation"),
        "parts": ", ".join(
            name for name, on in (
                ("ARC", model.anchor_recalibration), ("TSF", model.temporal_fusion),
                ("CPR", config.semi.pseudo_labels == "reforging"),
                (f"pseudo-labels: {config.semi.pseudo_labels}", config.semi.pseudo_labels not in ("reforging", "none")),
                ("FlameRise", config.semi.flamerise and config.semi.pseudo_labels != "none"),
            ) if on
        ) or "baseline",
        "training": f"{config.training.epochs} epochs, batch {data.batch_clips} clips, seed {config.seed}",
        **about(),
    }  # fmt: skip


def about() -> dict[str, str]:
    commit = git_commit()
    return {
        "version": f"echoforge_jax {__version__}" + (f", commit {commit[:12]}" if commit else ""),
        "date": datetime.date.today().isoformat(),
    }


def _write_table(path: Path, rows_by_protocol: dict[str, list[dict]]) -> None:
    rows = [{"protocol": protocol, **row} for protocol, rows in rows_by_protocol.items() for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
