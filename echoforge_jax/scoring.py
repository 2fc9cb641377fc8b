"""From a trained model and a split, or from two trees of masks, to rows, summaries, tables on disk and the report.

"semi" scores ED and ES of clips sampled as in training (paper: CAMUS-Semi); "full" scores every annotated frame of
the whole half cycle (CAMUS-Full). Masks are resized back and scored at the clip's own resolution; the network's own
resolution is scored besides, under a name of its own.
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

from data_pipelines.clips import at_network_size, ed_to_es, to_native, uniform_frames
from data_pipelines.formats import camus_masks
from data_pipelines.loader import EmptySplit, load_split
from data_pipelines.records import Clip, Skipped, summarise_skipped
from data_pipelines.simulator.cohort import STATE_FILE as COHORT_FILE
from echoforge_jax import __version__
from echoforge_jax.config import Config, ConfigError
from echoforge_jax.evaluation.evaluator import score_clips, score_ejection_fraction, score_temporal, summarise
from echoforge_jax.evaluation.statistics import compare_paired, holm
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


Case = tuple[Clip, np.ndarray]
COMPARED = {"dice": 100.0, "hd95": 1.0, "assd": 1.0}  # columns of per_frame.csv and what they are multiplied by


@dataclasses.dataclass(frozen=True)
class Scores:
    """One protocol: its summary and the rows behind it."""

    summary: dict[str, Any]
    frames: list[dict]
    patients: list[dict]
    clips: list[dict]


def evaluate(
    config: Config, predictor: Predictor, split: str, protocols: Sequence[str], out: Path, against: Sequence[Path] = ()
) -> dict[str, Any]:
    """Scores a split by each protocol and writes everything into `out` (see `write_results`).

    Returns:
        What metrics.json holds.
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
    scores, overlays = {}, []
    for protocol in protocols:
        shown = [protocol_clip(clip, protocol, config.data.frames) for clip in clips]
        native: dict[int, Case] = {}
        small: dict[int, Case] = {}
        with progress_bar() as bar:
            task = bar.add_task(f"predicting {split} ({protocol})", total=len(shown), note="clips")
            order = sorted(range(len(shown)), key=lambda i: len(shown[i]))
            found = predictor.each((shown[i].frames for i in order), config.evaluation.batch_clips)
            for i, (_, probability) in zip(order, found, strict=True):
                clip = shown[i]
                native[i] = clip, to_native(probability, clip.frames.shape[1:])
                small[i] = at_network_size(clip, predictor.size), (probability >= 0.5).astype(np.uint8)
                bar.advance(task)
        cases = [native[i] for i in range(len(shown))]
        of_protocol = score_cases(cases, protocol, split, config.seed, config.evaluation.processes)
        at_size = [small[i] for i in range(len(shown))]
        of_protocol.summary["network_resolution"] = {
            "size": predictor.size,
            **_overlap_and_distance(at_size, protocol, split, config.seed, config.evaluation.processes),
        }
        scores[protocol] = of_protocol
        overlays = overlays or pick_overlays(cases, of_protocol.frames)
    return write_results(
        out, scores, overlays=overlays, split=split, skipped=skipped, simulated=is_simulated(config), against=against,
        card=method_card(config, split, len(clips), summarise_skipped(skipped) or "none"),
        history=[line for line in read_metrics(out) if line["kind"] == "epoch"],
    )  # fmt: skip


def evaluate_masks(
    predictions: Path, references: Path, protocols: Sequence[str], out: Path, against: Sequence[Path] = ()
) -> dict[str, Any]:
    """Scores a tree of predicted masks against a tree of references, both with CAMUS file names; no model is needed.

    Returns:
        What metrics.json holds.

    Raises:
        FileNotFoundError: a tree is missing or holds no mask.
        EmptySplit: no prediction fits a reference under any of the protocols.
    """
    scores, skipped, overlays = {}, [], []
    for protocol in protocols:
        pairs, left_out = camus_masks.read_pairs(predictions, references, sequences=protocol == "full")
        skipped += left_out
        if pairs:
            cases = [(pair.clip, pair.prediction) for pair in pairs]
            scores[protocol] = score_cases(cases, protocol, "all", seed=0, processes=os.cpu_count() or 1)
            overlays = overlays or pick_overlays(cases, scores[protocol].frames)
    if not scores:
        raise EmptySplit(
            f"no mask of {predictions} fits one of {references} ({', '.join(protocols)}): {summarise_skipped(skipped)}"
        )
    card = {
        "data set": "masks with CAMUS names", "predictions": predictions.name, "references": references.name,
        "skipped": summarise_skipped(skipped) or "none", "masks": "as given, at the references' own size; label 1",
        **_about(),
    }  # fmt: skip
    simulated = (references / COHORT_FILE).exists()
    return write_results(
        out, scores, overlays=overlays, split="all", skipped=skipped, simulated=simulated, against=against, card=card,
        history=[],
    )  # fmt: skip


def is_simulated(config: Config) -> bool:
    """Whether the data that are read come from the simulator: made for this run, or a tree that it wrote."""
    return config.data.simulate.patients > 0 or (Path(config.data.root) / COHORT_FILE).exists()


def score_cases(cases: Sequence[Case], protocol: str, split: str, seed: int, processes: int) -> Scores:
    """Every number of one protocol from clips and predicted masks of their size."""
    rows = score_clips(cases, [scored_frames(clip, protocol) for clip, _ in cases], processes)
    patients = score_ejection_fraction(cases)
    temporal = [row for clip, mask in cases if protocol == "full" and (row := score_temporal(clip, mask))]
    summary = summarise(rows, patients, temporal, protocol=protocol, split=split, seed=seed)
    return Scores(summary, rows, patients, temporal)


def _overlap_and_distance(
    cases: Sequence[Case], protocol: str, split: str, seed: int, processes: int
) -> dict[str, Any]:
    rows = score_clips(cases, [scored_frames(clip, protocol) for clip, _ in cases], processes)
    summary = summarise(rows, [], protocol=protocol, split=split, seed=seed)
    return {key: summary[key] for key in ("dice_percent", "iou_percent", "distances")}


def write_results(
    out: Path,
    scores: dict[str, Scores],
    *,
    overlays: list[Overlay],
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
    (out / "overlays.png").write_bytes(overlay_grid(overlays, 4))
    summaries = {protocol: s.summary for protocol, s in scores.items()}
    write_report(
        out / "report.html", title=f"EchoForge: {out.resolve().name}", summaries=summaries,
        frame_rows={protocol: s.frames for protocol, s in scores.items()},
        ef_rows={protocol: s.patients for protocol, s in scores.items()},
        history=history, overlays=overlays, card=card, simulated=simulated, comparisons=comparisons,
    )  # fmt: skip
    result = {
        "split": split, "simulated": simulated, "protocols": summaries, "comparisons": comparisons,
        "skipped": [dataclasses.asdict(s) for s in skipped], "card": card,
    }  # fmt: skip
    _write(out / "metrics.json", json.dumps(result, indent=1))
    return result


def compare_runs(scores: dict[str, Scores], against: Sequence[Path]) -> dict[str, dict[str, dict[str, Any]]]:
    """protocol -> measure -> other run -> `compare_paired` by patient, with Holm's correction over the other runs.

    A measure is "dice_percent", or a distance with its unit ("hd95_mm"); a difference is this run - the other.

    Raises:
        ConfigError: a folder holds no per_frame.csv.
    """
    others = {}
    for folder in against:
        if not (folder / "per_frame.csv").is_file():
            raise ConfigError(f"{folder} holds no per_frame.csv; expected a folder that evaluate wrote into")
        with (folder / "per_frame.csv").open(newline="", encoding="utf-8") as stream:
            others[str(folder)] = list(csv.DictReader(stream))
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for protocol, of_protocol in scores.items() if others else ():
        ours = _by_measure(of_protocol.frames)
        measures: dict[str, dict[str, Any]] = {measure: {} for measure in ours}
        for name, rows in others.items():
            theirs = _by_measure([row for row in rows if row["protocol"] == protocol])
            for measure in ours.keys() & theirs.keys():
                measures[measure][name] = compare_paired(ours[measure], theirs[measure], seed=0)
        for of_measure in measures.values():
            for test in ("p_signed_rank", "p_rank_sum"):
                adjusted = holm({name: found[test] for name, found in of_measure.items()})
                for name, found in of_measure.items():
                    found[f"{test}_holm"] = adjusted[name]
        result[protocol] = {measure: found for measure, found in measures.items() if found}
    return result


def _by_measure(rows: Sequence[dict]) -> dict[str, dict[str, list[float]]]:
    """measure -> patient -> values of that patient's frames, undefined ones left out."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for column, scale in COMPARED.items():
            value = scale * float(row[column])
            measure = "dice_percent" if column == "dice" else f"{column}_{row['unit']}"
            if np.isfinite(value):
                found.setdefault(measure, {}).setdefault(row["patient_id"], []).append(value)
    return found


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
        "data": f"simulated, {simulated} patients, seed {data.simulate.seed}" if simulated
        else "a simulated tree" if is_simulated(config) else data.format,
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
        **_about(),
    }  # fmt: skip


def _about() -> dict[str, str]:
    return {"version": f"echoforge_jax {__version__}", "date": datetime.date.today().isoformat()}


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
        if small := s.get("network_resolution"):
            lines.append(
                f"        at the network's {small['size']}x{small['size']}: mDice "
                f"{number(small['dice_percent']['mean'], '.2f')} %"
            )
        if steady := s["temporal"]:
            excess, rough, pieces = (
                number(steady[key]["mean"], form)
                for key, form in (
                    ("frame_to_frame_dice_excess", "+.4f"), ("area_roughness_ratio", ".2f"), ("frames_in_pieces", ".2f")
                )
            )  # fmt: skip
            lines.append(
                f"        frame-to-frame Dice minus the reference's {excess}, area roughness {rough} x its, "
                f"{pieces} frames in pieces a clip ({steady['n_clips']} clips)"
            )
        for method, ef in s["ejection_fraction"].items():
            if ef["agreement"]:
                a = ef["agreement"]
                lines.append(
                    f"        EF {method}: r {number(a['pearson_r'], '.3f')}, bias {number(a['bias'], '+.2f')} points, "
                    f"SD {number(a['sd'], '.2f')}, {a['n']} patients"
                )
        for measure, others in result["comparisons"].get(protocol, {}).items():
            for name, c in others.items():
                lines.append(
                    f"        {measure} against {name}: {c['difference']:+.3f} "
                    f"[{c['ci95'][0]:.3f}, {c['ci95'][1]:.3f}], "
                    f"signed-rank p {c['p_signed_rank']:.3g} (Holm {c['p_signed_rank_holm']:.3g}), "
                    f"rank-sum p {c['p_rank_sum']:.3g} (Holm {c['p_rank_sum_holm']:.3g}), {c['n_patients']} patients"
                )
    return "\n".join(lines)


def _write_table(path: Path, rows_by_protocol: dict[str, list[dict]]) -> None:
    rows = [{"protocol": protocol, **row} for protocol, rows in rows_by_protocol.items() for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)
