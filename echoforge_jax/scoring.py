"""From a trained network and a split, or from two trees of masks, to a folder of results.

Masks are resized back and scored at the clip's own size; the same clips are also scored at the network's size, under a
name of its own (`network_resolution`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipelines.doctor.advice import advise
from data_pipelines.errors import DataError
from data_pipelines.formats.camus import masks
from data_pipelines.notes import Note
from data_pipelines.notes_by_record import merge_notes
from data_pipelines.preprocessing import at_network_size
from data_pipelines.records import Clip, Skipped, summarise_skipped
from data_pipelines.sampling import ed_to_es
from data_pipelines.source import EmptySplit, LoadedSplit, has_records, load_split
from echoforge_jax.config import Config
from echoforge_jax.console import progress_bar, say
from echoforge_jax.distributed import processes
from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.protocols import FULL, PROTOCOLS, SEMI, Protocol
from echoforge_jax.evaluation.rows import FrameScore
from echoforge_jax.evaluation.scores import Case, score_clips, score_ejection_fraction, score_steadiness
from echoforge_jax.evaluation.summary import ProtocolScores, overlap_and_distance, summarise
from echoforge_jax.inference import Segmenter
from echoforge_jax.report.card import is_simulated, is_simulated_tree, method_card, version_and_date
from echoforge_jax.report.content import Evaluation
from echoforge_jax.report.folder import check_results_folder, compare_with_folders, read_frames, write_results
from echoforge_jax.report.selection import Pictures
from echoforge_jax.training.data import source_of
from echoforge_jax.training.run_log import read_metrics


class PredictedMasks(NamedTuple):
    """The predicted masks 0/1 of one clip.

    Attributes:
        native: at the clip's own size, (t, h, w).
        at_network_size: at the network's size, (t, s, s).
    """

    native: UInt8[np.ndarray, "t h w"]
    at_network_size: UInt8[np.ndarray, "t s s"]


def choose_split(config: Config) -> str:
    """Chooses the split to score: the configured one, else the test split, else validation, else all records.

    A choice other than the test split is announced.

    Raises:
        ConfigError, DataError, FileNotFoundError: the data set cannot be read; says what else fits.
    """
    if config.evaluation.split is not None:
        return config.evaluation.split
    with _saying_what_fits(config):
        source = source_of(config.data)
        held = [split for split in ("test", "validation") if has_records(source, split)]
    if "test" in held:
        return "test"
    if held:
        say("the data hold no test split: the validation split is scored (it also chose the best epoch)")
        return "validation"
    say("the data hold neither a test nor a validation split: every record is scored, training patients included")
    return "all"


def evaluate(
    config: Config,
    predictor: Segmenter,
    *,
    split: str,
    protocols: Sequence[str],
    out: Path,
    against: Sequence[Path] = (),
) -> dict[str, Any]:
    """Scores a network on a split by each protocol and writes the results (`write_results`).

    Of several processes each predicts its share of the clips, and the main one scores.

    Args:
        config: the configuration: which data, and how to score.
        predictor: the network, or several whose probabilities are averaged.
        split: the name of the split.
        protocols: names of protocols, "semi" or "full".
        out: folder of the results.
        against: folders of earlier evaluations to compare with.

    Returns:
        The content of metrics.json; {} on processes other than the main one.

    Raises:
        EmptySplit: the split holds no usable clip.
        ConfigError: a folder of `against` holds no per_frame.csv.
    """
    _check_folders(out, against)
    loaded = _load(config, split)
    clips, skipped = loaded.clips, loaded.skipped
    chosen = [PROTOCOLS[name] for name in protocols]
    if FULL in chosen and all(len(clip) == 2 for clip in clips):
        say("these clips are ED and ES alone: protocol 'full' would repeat 'semi' and is left out")
        chosen = [protocol for protocol in chosen if protocol is not FULL] or [SEMI]
    scores: dict[str, ProtocolScores] = {}
    pictures = Pictures()
    for protocol in chosen:
        shown = [protocol.select(clip, config.data.frames) for clip in clips]
        predicted = _predict(
            predictor,
            shown,
            batch_clips=config.evaluation.batch_clips,
            title=f"{split} ({protocol.name})",
            exchange=out / "shares",
        )
        if predicted is None:
            continue
        cases = [Case(clip, masks.native) for clip, masks in zip(shown, predicted, strict=True)]
        own_size = score_cases(cases, protocol, split=split, seed=config.seed, processes=config.evaluation.processes)
        small_cases = [
            Case(at_network_size(clip, predictor.size), masks.at_network_size)
            for clip, masks in zip(shown, predicted, strict=True)
        ]
        small_frames = _score_frames(small_cases, protocol, config.evaluation.processes)
        at_size = {"size": predictor.size, **overlap_and_distance(small_frames, config.seed)}
        summary = own_size.summary | {"network_resolution": at_size}
        scores[protocol.name] = dataclasses.replace(own_size, summary=summary)
        pictures.add(cases, scores[protocol.name])
    if not processes.is_main():
        return {}
    card = method_card(
        config,
        split=split,
        clips=len(clips),
        skipped=summarise_skipped(skipped) or "none",
        networks=predictor.num_networks,
    )
    evaluation = Evaluation(
        split=split,
        protocols=scores,
        pictures=pictures,
        card=card,
        simulated=is_simulated(config),
        skipped=skipped,
        notes=loaded.notes,
        history=[line for line in read_metrics(out) if line["kind"] == "epoch"],
        comparisons=compare_with_folders(scores, against),
    )
    return write_results(out, evaluation)


def evaluate_masks(
    predictions: Path, references: Path, *, protocols: Sequence[str], out: Path, against: Sequence[Path] = ()
) -> dict[str, Any]:
    """Scores a tree of predicted masks against a tree of references, both with CAMUS file names, without a network.

    Args:
        predictions: tree of predicted masks.
        references: tree of reference masks.
        protocols: names of protocols, "semi" or "full".
        out: folder of the results.
        against: folders of earlier evaluations to compare with.

    Returns:
        The content of metrics.json.

    Raises:
        FileNotFoundError: a tree is missing or holds no mask.
        EmptySplit: no prediction fits a reference under any of the protocols.
        ConfigError: a folder of `against` holds no per_frame.csv.
    """
    _check_folders(out, against)
    scores: dict[str, ProtocolScores] = {}
    skipped: list[Skipped] = []
    notes: dict[str, tuple[Note, ...]] = {}
    pictures = Pictures()
    for name in protocols:
        protocol = PROTOCOLS[name]
        paired = masks.read_pairs(predictions, references, sequences=protocol.every_frame)
        skipped += paired.skipped
        notes = merge_notes(notes, paired.notes, *({pair.clip.record_id: pair.clip.notes} for pair in paired.pairs))
        if paired.pairs:
            cases = [Case(pair.clip, pair.prediction) for pair in paired.pairs]
            scores[name] = score_cases(cases, protocol, split="all", seed=0, processes=os.cpu_count() or 1)
            pictures.add(cases, scores[name])
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
        **version_and_date(),
    }
    evaluation = Evaluation(
        split="all",
        protocols=scores,
        pictures=pictures,
        card=card,
        simulated=is_simulated_tree(references),
        skipped=skipped,
        notes=notes,
        comparisons=compare_with_folders(scores, against),
    )
    return write_results(out, evaluation)


def _check_folders(out: Path, against: Sequence[Path]) -> None:
    """Refuses folders that cannot be written or compared with before anything is predicted."""
    check_results_folder(out)
    for folder in against:
        read_frames(folder)


def score_cases(
    cases: Sequence[Case], protocol: Protocol, *, split: str, seed: int, processes: int = 1
) -> ProtocolScores:
    """Computes every number of one protocol.

    Args:
        cases: clips and their predicted masks.
        protocol: the protocol by which their frames were chosen.
        split: the name of the split.
        seed: seed of the bootstrap.
        processes: processes that score frames.
    """
    frames = _score_frames(cases, protocol, processes)
    patients = score_ejection_fraction(cases)
    clips = [row for case in cases if protocol.every_frame and (row := score_steadiness(case))]
    summary = summarise(frames, patients, clips, protocol=protocol, split=split, seed=seed)
    return ProtocolScores(frames, patients, clips, summary)


def _score_frames(cases: Sequence[Case], protocol: Protocol, processes: int) -> list[FrameScore]:
    return score_clips(cases, [protocol.scored_frames(case.clip) for case in cases], processes=processes)


def _load(config: Config, split: str) -> LoadedSplit[Clip]:
    """Reads the half cycles of a split, and what had to be left out."""
    with progress_bar() as bar, _saying_what_fits(config):
        task = bar.add_task(f"reading {split}", total=None, note="clips")
        return load_split(
            source_of(config.data),
            split,
            ed_to_es,
            skip_unreadable=config.data.skip_unreadable,
            threads=config.data.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _predict(
    predictor: Segmenter, clips: Sequence[Clip], *, batch_clips: int, title: str, exchange: Path
) -> list[PredictedMasks] | None:
    """Predicts the masks of every clip; returns None on processes other than the main one."""
    order = processes.shard_for_process(sorted(range(len(clips)), key=lambda index: len(clips[index])))
    predicted: dict[int, tuple[np.ndarray, ...]] = {}
    with progress_bar() as bar:
        task = bar.add_task(f"predicting {title}", total=len(order), note="clips")
        segmentations = predictor.predict_clips((clips[index].frames for index in order), batch_clips=batch_clips)
        for index, segmentation in zip(order, segmentations, strict=True):
            predicted[index] = PredictedMasks(segmentation.masks, segmentation.network_masks)
            bar.advance(task)
    gathered = processes.gather_on_main(predicted, exchange)
    return None if gathered is None else [PredictedMasks(*gathered[index]) for index in range(len(clips))]


@contextlib.contextmanager
def _saying_what_fits(config: Config) -> Iterator[None]:
    """Adds to a fault of the data set which format or command fits what lies there."""
    try:
        yield
    except (DataError, FileNotFoundError, NotADirectoryError) as error:
        if advice := advise(Path(config.data.root or ""), config.data.format):
            raise ConfigError(f"{error}\n{advice}") from error
        raise
