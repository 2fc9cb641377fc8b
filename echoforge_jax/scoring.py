"""From a trained model and a split to rows, summaries, tables on disk and the report.

"semi" scores ED and ES of clips sampled as in training (paper: CAMUS-Semi); "full" scores every annotated frame of
the whole half cycle (CAMUS-Full). Masks are resized back and scored at the clip's own resolution.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.clips import ed_to_es, uniform_frames
from data_pipelines.loader import load_split
from data_pipelines.records import Clip, summarise_skipped
from echoforge_jax import __version__
from echoforge_jax.config import Config
from echoforge_jax.evaluation.evaluator import score_clip, score_ejection_fraction, summarise
from echoforge_jax.inference import Predictor
from echoforge_jax.report.figures import Overlay, overlay_grid
from echoforge_jax.report.html import write_report
from echoforge_jax.training.data import source_of
from echoforge_jax.training.log import progress_bar, read_metrics, say


def protocol_clip(clip: Clip, protocol: str, frames: int) -> Clip:
    """The frames that a protocol shows the model: `frames` from ED to ES ("semi"), or all of them ("full")."""
    half = ed_to_es(clip)
    if protocol == "full" or len(half) <= frames:
        return half
    chosen = uniform_frames(0, len(half) - 1, frames)
    return dataclasses.replace(
        half, frames=half.frames[chosen], masks=half.masks[chosen], labelled=half.labelled[chosen], es_index=frames - 1
    )


def scored_frames(clip: Clip, protocol: str) -> list[int]:
    """Frame numbers that count: ED and ES, or every annotated frame."""
    wanted = range(len(clip)) if protocol == "full" else (0, len(clip) - 1)
    return [t for t in wanted if clip.labelled[t]]


def choose_split(config: Config) -> str:
    """The split to score: as configured; "auto" is the test split, or validation (said aloud) where there is none."""
    if config.evaluation.split != "auto":
        return config.evaluation.split
    try:
        entries, _ = source_of(config).index("test")
    except ValueError:
        entries = []
    if not entries:
        say("the data hold no test split: the validation split is scored (it also chose the best epoch)")
    return "test" if entries else "validation"


def evaluate(
    config: Config, predictor: Predictor, split: str, protocols: Sequence[str], workdir: Path
) -> dict[str, Any]:
    """Scores a split by each protocol; writes metrics.json, per_frame.csv, per_patient.csv, overlays.png, report.html.

    Returns:
        The summaries by protocol, as in metrics.json.
    """
    with progress_bar() as bar:
        task = bar.add_task(f"reading {split}", total=None, note="clips")
        clips, skipped = load_split(
            source_of(config), split, ed_to_es,
            skip_unreadable=config.data.skip_unreadable, threads=config.data.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if "full" in protocols and all(len(clip) == 2 for clip in clips):
        say("these clips are ED and ES alone: protocol 'full' would repeat 'semi' and is left out")
        protocols = [p for p in protocols if p != "full"] or ["semi"]
    summaries, frame_rows, ef_rows, overlays = {}, {}, {}, []
    for protocol in protocols:
        shown = [protocol_clip(clip, protocol, config.data.frames) for clip in clips]
        cases: list[tuple[Clip, np.ndarray]] = []
        with progress_bar() as bar:
            task = bar.add_task(f"scoring {split} ({protocol})", total=len(shown), note="clips")
            order = sorted(range(len(shown)), key=lambda i: len(shown[i]))
            masks = predictor.masks((shown[i].frames for i in order), config.evaluation.batch_clips)
            predicted = {}
            for i, mask in zip(order, masks, strict=True):
                predicted[i] = mask
                bar.advance(task)
            cases = [(clip, predicted[i]) for i, clip in enumerate(shown)]
        rows = [row for clip, mask in cases for row in score_clip(clip, mask, scored_frames(clip, protocol))]
        frame_rows[protocol], ef_rows[protocol] = rows, score_ejection_fraction(cases)
        summaries[protocol] = summarise(rows, ef_rows[protocol], protocol=protocol, split=split, seed=config.seed)
        if protocol == protocols[0]:
            overlays = pick_overlays(cases, rows)
    workdir.mkdir(parents=True, exist_ok=True)
    _write_tables(workdir, frame_rows, ef_rows)
    (workdir / "overlays.png").write_bytes(overlay_grid(overlays, 4))
    skipped_text = summarise_skipped(skipped) or "none"
    card = method_card(config, split, len(clips), skipped_text)
    write_report(
        workdir / "report.html", title=f"EchoForge: {workdir.name}", summaries=summaries, frame_rows=frame_rows,
        ef_rows=ef_rows, history=[line for line in read_metrics(workdir) if line["kind"] == "epoch"], overlays=overlays,
        card=card, simulated=config.data.simulate.patients > 0,
    )  # fmt: skip
    result = {
        "split": split, "simulated": config.data.simulate.patients > 0, "protocols": summaries,
        "skipped": [dataclasses.asdict(s) for s in skipped], "card": card,
    }  # fmt: skip
    _write(workdir / "metrics.json", json.dumps(result, indent=1))
    return result


def pick_overlays(cases: Sequence[tuple[Clip, np.ndarray]], rows: Sequence[dict], count: int = 4) -> list[Overlay]:
    """The worst, the middle and the best frames by Dice, `count` of each."""
    by_id = {(clip.patient_id, clip.view): (clip, mask) for clip, mask in cases}
    ranked = sorted(rows, key=lambda row: row["dice"])
    middle = max(len(ranked) // 2 - count // 2, 0)
    groups = {"worst": ranked[:count], "median": ranked[middle : middle + count], "best": ranked[::-1][:count]}
    overlays = []
    for name, chosen in groups.items():
        for row in chosen:
            clip, mask = by_id[row["patient_id"], row["view"]]
            t = row["frame"]
            overlays.append(
                Overlay(
                    image=clip.frames[t], prediction=mask[t] > 0, reference=clip.masks[t] == 1,
                    spacing=clip.spacing_mm or (1.0, 1.0),
                    caption=f"{name}: {row['patient_id']} {row['view']} {row['phase']}, Dice {100 * row['dice']:.1f} %",
                )
            )  # fmt: skip
    return overlays


def method_card(config: Config, split: str, clips: int, skipped: str) -> dict[str, str]:
    """What a reader needs to know what was measured, as rows of the report's card."""
    data, model = config.data, config.model
    simulated = data.simulate.patients
    return {
        "data set": {"camus": "CAMUS", "echonet_dynamic": "EchoNet-Dynamic", "store": "prepared store"}[data.format],
        "data": f"simulated, {simulated} patients, seed {data.simulate.seed}" if simulated else f"{data.format}",
        "split": f"{split}, {clips} clips; skipped: {skipped}",
        "labels used in training": "ED and ES" if data.training_labels == "ed_es" else "every annotated frame",
        "network input": f"{data.frames} frames of {data.size}x{data.size}, ED to ES, grey levels 0..1",
        "masks": "probability resized to the clip's own size (bilinear), threshold 0.5; LV endocardium",
        "encoder": f"ResNet-{model.encoder_depth}, width {model.encoder_width}, {model.encoder_stages} stages, "
        + ("pretrained" if model.pretrained else "from Kaiming initialisation"),
        "parts": ", ".join(
            name for name, on in (
                ("ARC", model.anchor_recalibration), ("TSF", model.temporal_fusion),
                ("CPR", config.semi.pseudo_labels == "reforging"),
                ("FlameRise", config.semi.flamerise and config.semi.pseudo_labels != "none"),
            ) if on
        ) or "baseline",
        "training": f"{config.training.epochs} epochs, batch {data.batch_clips} clips, seed {config.seed}",
        "version": f"echoforge_jax {__version__}",
        "date": datetime.date.today().isoformat(),
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The short table a training ends with."""
    lines = [f"split {result['split']}{', SIMULATED data' if result['simulated'] else ''}"]
    number = lambda value, form: "n/a" if value is None else format(value, form)
    for protocol, s in result["protocols"].items():
        dice = s["dice_percent"]
        low, high = dice["ci95"] or (None, None)
        lines.append(
            f"  {protocol:5} mDice {number(dice['mean'], '.2f')} % [{number(low, '.2f')}, {number(high, '.2f')}] "
            f"({dice['n_frames']} frames, {s['n_patients']} patients)"
        )
        for phase, scores in s["by_phase"].items():
            lines.append(f"        {phase:8} {number(scores['dice_percent']['mean'], '.2f')} %")
        for view, scores in s["by_view"].items():
            lines.append(f"        {view:8} {number(scores['dice_percent']['mean'], '.2f')} %")
        for unit, distances in s["distances"].items():
            if distances["hd"]["n"] or distances["hd"]["n_undefined"]:
                parts = [
                    f"{label} {number(distances[key]['mean'], '.2f')} {unit}"
                    for key, label in (("hd", "HD"), ("hd95", "HD95 (pooled)"), ("assd", "ASSD"))
                ]
                lines.append(f"        {', '.join(parts)}; {distances['hd']['n_undefined']} undefined")
        for method, ef in s["ejection_fraction"].items():
            if ef["agreement"]:
                a = ef["agreement"]
                lines.append(
                    f"        EF {method}: r {number(a['pearson_r'], '.3f')}, bias {number(a['bias'], '+.2f')} points, "
                    f"SD {number(a['sd'], '.2f')}, {a['n']} patients"
                )
    return "\n".join(lines)


def _write_tables(workdir: Path, frame_rows: dict[str, list[dict]], ef_rows: dict[str, list[dict]]) -> None:
    for name, rows_by_protocol in (("per_frame.csv", frame_rows), ("per_patient.csv", ef_rows)):
        rows = [{"protocol": protocol, **row} for protocol, rows in rows_by_protocol.items() for row in rows]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        _write(workdir / name, text.getvalue())


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)
