"""From a trained model and a split, or from two trees of masks, to rows and summaries (`results.py` writes them).

"semi" scores ED and ES of clips sampled as in training (paper: CAMUS-Semi); "full" scores every annotated frame of
the whole half cycle (CAMUS-Full). Masks are resized back and scored at the clip's own resolution; the network's own
resolution is scored besides, under a name of its own.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.formats.camus import masks
from data_pipelines.preprocessing import at_network_size
from data_pipelines.records import Clip, summarise_skipped
from data_pipelines.sampling import ed_to_es, uniform_frames
from data_pipelines.source import EmptySplit, load_split
from echoforge_jax.config import Config
from echoforge_jax.console import progress_bar, say
from echoforge_jax.distributed import processes
from echoforge_jax.evaluation.evaluator import overlap_and_distance, score_clips, score_temporal, summarise
from echoforge_jax.evaluation.patients import score_ejection_fraction
from echoforge_jax.inference import Segmenter
from echoforge_jax.report.card import about, is_simulated, is_simulated_tree, method_card
from echoforge_jax.report.folder import Scores, write_results
from echoforge_jax.report.selection import Case, Pictures
from echoforge_jax.training.data import source_of
from echoforge_jax.training.run_log import read_metrics


def protocol_clip(clip: Clip, protocol: str, frames: int) -> Clip:
    """The frames that a protocol shows the model: `frames` from ED to ES ("semi"), or all of them ("full")."""
    half = ed_to_es(clip)
    if protocol == "full" or len(half) <= frames:
        return half
    chosen = uniform_frames(0, len(half) - 1, frames)
    return dataclasses.replace(
        half,
        frames=half.frames[chosen],
        label_map=half.label_map[chosen],
        has_reference=half.has_reference[chosen],
        es_index=frames - 1,
    )


def scored_frames(clip: Clip, protocol: str) -> list[int]:
    """Frame numbers that count: ED and ES, or every annotated frame."""
    wanted = range(len(clip)) if protocol == "full" else (0, len(clip) - 1)
    return [t for t in wanted if clip.has_reference[t]]


def choose_split(config: Config) -> str:
    """The split to score: as configured; "auto" is the test split, or where there is none validation, or where there is
    none either all records (said aloud)."""
    if config.evaluation.split is not None:
        return config.evaluation.split
    if _holds(config, "test"):
        return "test"
    if _holds(config, "validation"):
        say("the data hold no test split: the validation split is scored (it also chose the best epoch)")
        return "validation"
    say("the data hold neither a test nor a validation split: every record is scored, training patients included")
    return "all"


def _holds(config: Config, split: str) -> bool:
    try:
        return bool(source_of(config.data).index(split).entries)
    except ValueError:
        return False


def evaluate(
    config: Config, predictor: Segmenter, split: str, protocols: Sequence[str], out: Path, against: Sequence[Path] = ()
) -> dict[str, Any]:
    """Scores a split by each protocol and writes everything into `out` (see `write_results`). Of several processes each
    predicts its share of the clips, the main one scores.

    Returns:
        What metrics.json holds; {} on other processes than the main one.
    """
    with progress_bar() as bar:
        task = bar.add_task(f"reading {split}", total=None, note="clips")
        loaded = load_split(
            source_of(config.data),
            split,
            ed_to_es,
            skip_unreadable=config.data.skip_unreadable,
            threads=config.data.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    clips, skipped = loaded.clips, loaded.skipped
    if "full" in protocols and all(len(clip) == 2 for clip in clips):
        say("these clips are ED and ES alone: protocol 'full' would repeat 'semi' and is left out")
        protocols = [p for p in protocols if p != "full"] or ["semi"]
    scores, pictures = {}, Pictures()
    for protocol in protocols:
        shown = [protocol_clip(clip, protocol, config.data.frames) for clip in clips]
        masks = _predict(predictor, shown, config.evaluation.batch_clips, f"{split} ({protocol})", out / "shares")
        if masks is None:
            continue
        cases = [(clip, native) for clip, (native, _) in zip(shown, masks, strict=True)]
        of_protocol = score_cases(cases, protocol, split, config.seed, config.evaluation.processes)
        at_size = [(at_network_size(clip, predictor.size), m) for clip, (_, m) in zip(shown, masks, strict=True)]
        wanted = [scored_frames(clip, protocol) for clip, _ in at_size]
        rows = score_clips(at_size, wanted, config.evaluation.processes)
        of_protocol.summary["network_resolution"] = {"size": predictor.size, **overlap_and_distance(rows, config.seed)}
        scores[protocol] = of_protocol
        pictures.add(cases, of_protocol.frames, of_protocol.patients)
    if not processes.is_main():
        return {}
    return write_results(
        out,
        scores,
        pictures=pictures,
        split=split,
        skipped=skipped,
        simulated=is_simulated(config),
        against=against,
        card=method_card(config, split, len(clips), summarise_skipped(skipped) or "none", predictor.num_networks),
        history=[line for line in read_metrics(out) if line["kind"] == "epoch"],
    )


def _predict(
    predictor: Segmenter, clips: Sequence[Clip], batch_clips: int, title: str, exchange: Path
) -> list[tuple[np.ndarray, ...]] | None:
    """Masks of each clip at its own size and at the network's; None on other processes than the main one."""
    order = processes.shard_for_process(sorted(range(len(clips)), key=lambda i: len(clips[i])))
    found: dict[int, tuple[np.ndarray, ...]] = {}
    with progress_bar() as bar:
        task = bar.add_task(f"predicting {title}", total=len(order), note="clips")
        predicted = predictor.predict_clips((clips[i].frames for i in order), batch_clips=batch_clips)
        for i, segmentation in zip(order, predicted, strict=True):
            found[i] = segmentation.masks, segmentation.network_masks
            bar.advance(task)
    gathered = processes.gather_on_main(found, exchange)
    return None if gathered is None else [gathered[i] for i in range(len(clips))]


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
    scores, skipped, pictures = {}, [], Pictures()
    for protocol in protocols:
        paired = masks.read_pairs(predictions, references, sequences=protocol == "full")
        skipped += paired.skipped
        if paired.pairs:
            cases = [(pair.clip, pair.prediction) for pair in paired.pairs]
            scores[protocol] = score_cases(cases, protocol, "all", seed=0, processes=os.cpu_count() or 1)
            pictures.add(cases, scores[protocol].frames, scores[protocol].patients)
    if not scores:
        raise EmptySplit(
            f"no mask of {predictions} fits one of {references} ({', '.join(protocols)}): {summarise_skipped(skipped)}"
        )
    card = {
        "data set": "masks with CAMUS names",
        "predictions": predictions.name,
        "references": references.name,
        "skipped": summarise_skipped(skipped) or "none",
        "masks": "as given, at the references' own size; label 1",
        **about(),
    }
    simulated = is_simulated_tree(references)
    return write_results(
        out,
        scores,
        pictures=pictures,
        split="all",
        skipped=skipped,
        simulated=simulated,
        against=against,
        card=card,
        history=[],
    )


def score_cases(cases: Sequence[Case], protocol: str, split: str, seed: int, processes: int) -> Scores:
    """Every number of one protocol from clips and predicted masks of their size."""
    rows = score_clips(cases, [scored_frames(clip, protocol) for clip, _ in cases], processes)
    patients = score_ejection_fraction(cases)
    temporal = [row for clip, mask in cases if protocol == "full" and (row := score_temporal(clip, mask))]
    summary = summarise(rows, patients, temporal, protocol=protocol, split=split, seed=seed)
    return Scores(summary, rows, patients, temporal)
