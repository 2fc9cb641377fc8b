"""From a configuration to the clips in memory and to the batches of a training."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from data_pipelines.batches import AnyClip, BatchError, TrainingBatches, allocate_rows, labelled_patients
from data_pipelines.lazy_clips import LazyClips, open_lazily
from data_pipelines.notes_by_record import summarise_notes
from data_pipelines.propagation import propagate
from data_pipelines.records import Clip, SampledClip, summarise_skipped
from data_pipelines.sampling import resize_cine, sample_clip
from data_pipelines.source import LoadedSplit, Source, StoreSource, load_split, open_source
from echoforge_jax.config import Config, DataConfig, MixConfig
from echoforge_jax.console import progress_bar, say
from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.overlap import dice

T = TypeVar("T")
Clips = Sequence[AnyClip]


class DividedClips(NamedTuple):
    """The training clips of a semi-supervised study.

    Attributes:
        labelled: Clips with labels that the training may use.
        unlabelled: All others; labels that they may have are hidden.
    """

    labelled: Sequence[SampledClip]
    unlabelled: Sequence[SampledClip]


def source_of(data: DataConfig) -> Source:
    """Returns the data set that a configuration names."""
    scheme = data.split_scheme or "auto"
    return open_source(data.format, Path(data.root or ""), split_scheme=scheme, views=data.views)


def load(data: DataConfig, split: str) -> Sequence[SampledClip]:
    """Reads a split into memory, and says what was read and, by reason, what was left out.

    Args:
        data: the data set and the shape of its clips.
        split: "train", "validation" or "test".

    Raises:
        EmptySplit: no record of the split can be used.
        UnreadableRecord: a record cannot be read and `data.skip_unreadable` is False.
    """

    def sample(clip: Clip) -> SampledClip:
        return sample_clip(clip, data.frames, data.size, training_labels=data.training_labels)

    clips = _load(source_of(data), split, sample, data, f"reading {split}")
    labelled = sum(int(clip.may_train.sum()) for clip in clips)
    say(f"{split}: {len(clips)} clips of {data.frames} frames, {labelled} frames labelled")
    return clips


def training_batches(config: Config, *, num_devices: int) -> TrainingBatches:
    """Prepares the batches of this process from the training split and the data sets that are mixed in.

    Args:
        config: the configuration.
        num_devices: devices that share the batch axis.

    Raises:
        ConfigError: the devices and data sets cannot share the batch.
        EmptySplit: no training clip can be used.
        UnreadableRecord: a record cannot be read and `config.data.skip_unreadable` is False.
    """
    data, strategy = config.data, config.pseudo_labels.rules
    clips = load(data, "train") if data.in_memory else _open(data)
    labelled, unlabelled = withhold_labels(clips, fraction=data.labelled_fraction, seed=data.labelled_seed)
    if unlabelled:
        say(f"{len(labelled)} clips keep their labels, {len(unlabelled)} clips are unlabelled")
    extras: list[tuple[Clips, float]] = [(_load_mix(mix, data), mix.share) for mix in data.mix]
    if not strategy.makes_pseudo_labels:
        extras = [(clips, share) for clips, share in extras if any(_is_labelled(clip) for clip in clips)]
        if unlabelled or len(extras) < len(data.mix):
            say("without pseudo-labels nothing is learnt from unlabelled clips: they are left out")
        unlabelled = []
    if strategy.carries_labels:  # only labels that the training may use, so after some were withheld

        def carry(clips: Clips) -> Clips:
            return _with_carried_labels(clips, str(strategy.name), data.workers)

        labelled, unlabelled = carry(labelled), carry(unlabelled)
        extras = [(carry(clips), share) for clips, share in extras]
    parts = num_devices * config.training.accumulate
    try:
        streams = allocate_rows(
            labelled,
            unlabelled,
            extras,
            batch_clips=data.batch_clips,
            devices=parts,
            labelled_rows=data.labelled_clips_per_batch or 0,
        )
    except BatchError as error:
        raise ConfigError(str(error)) from error
    if len(streams) > 1:
        say("rows of a batch: " + ", ".join(f"{s.rows} of {len(s.clips)} clips" for s in streams))
    return TrainingBatches(
        streams,
        config.seed,
        data.augment,
        frames=data.frames,
        devices=parts,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        fixed_steps=config.training.steps_per_epoch or 0,
    )


def withhold_labels(clips: Sequence[SampledClip], *, fraction: float, seed: int) -> DividedClips:
    """Divides the clips into those whose labels the training may use, and all others.

    Args:
        clips: the training clips, in memory or read when needed.
        fraction: share of the patients whose labels are used.
        seed: draws those patients.
    """
    if isinstance(clips, LazyClips):
        patients = clips.stored.patient_ids
        drawn = labelled_patients([patients[position] for position in clips.positions], fraction, seed=seed)
        hidden = clips.select(lambda position: patients[position] not in drawn, use_labels=False)
        return DividedClips(clips.select(lambda position: patients[position] in drawn), hidden)
    drawn = labelled_patients([clip.patient_id for clip in clips], fraction, seed=seed)
    usable = [clip if clip.patient_id in drawn else clip.without_labels() for clip in clips]
    return DividedClips([c for c in usable if _is_labelled(c)], [c for c in usable if not _is_labelled(c)])


def _open(data: DataConfig) -> Sequence[SampledClip]:
    store = StoreSource(Path(data.root or ""), data.views)
    loaded = open_lazily(store, "train", frames=data.frames, size=data.size, training_labels=data.training_labels)
    say(f"train: {len(loaded.clips)} clips of {data.frames} frames, read from the store when they are needed")
    _say_what_was_found(loaded, store.root)
    return loaded.clips


def _with_carried_labels(clips: Clips, method: str, threads: int) -> Clips:
    """Carries the labels of end-diastole and end-systole to the frames between them; cines stay as they are."""
    sampled = [clip for clip in clips if isinstance(clip, SampledClip)]
    if not sampled:
        return clips
    carried: list[SampledClip] = []
    with progress_bar() as bar, ThreadPoolExecutor(threads) as pool:
        task = bar.add_task(f"labels by {method}", total=len(sampled), note="clips")
        for clip in pool.map(lambda clip: propagate(clip, method), sampled):
            carried.append(clip)
            bar.advance(task)
    frames = sum(int((clip.has_reference & ~clip.may_train).sum()) for clip in carried)
    say(f"labels carried to {frames} frames by {method}{_agreement_with_references(sampled, carried)}")
    return carried


def _agreement_with_references(before: Sequence[SampledClip], carried: Sequence[SampledClip]) -> str:
    """Says how far carried labels agree with the references of frames that the training may not use."""
    scores, decided = [], []
    for old, new in zip(before, carried, strict=True):
        for t in np.flatnonzero(old.has_reference & ~old.may_train & new.has_reference):
            known = np.ones(new.cavity[t].shape, bool) if new.decided is None else new.decided[t]
            decided.append(known.mean())
            scores.append(dice((new.cavity[t] == 1) & known, (old.cavity[t] == 1) & known))
    if not scores:
        return ""
    return (
        f"; {100 * np.mean(decided):.1f} % of the pixels decided, Dice there with {len(scores)} references "
        f"{100 * np.mean(scores):.2f} %"
    )


def _is_labelled(clip: AnyClip) -> bool:
    return isinstance(clip, SampledClip) and bool(clip.may_train.any())


def _load_mix(mix: MixConfig, data: DataConfig) -> Clips:
    source = open_source(mix.format, Path(mix.root), split_scheme=mix.split_scheme or "auto")

    def use(clip: Clip) -> AnyClip:
        if mix.format == "cine":
            return resize_cine(clip, data.frames, data.size)
        sampled = sample_clip(clip, data.frames, data.size, training_labels=mix.labels or "ed_es")
        return sampled if mix.labels else sampled.without_labels()

    clips = _load(source, mix.split, use, data, f"reading {mix.root}")
    say(f"mixed in: {len(clips)} clips of {mix.root}, labels used: {mix.labels or 'none'}")
    return clips


def _load(source: Source, split: str, use: Callable[[Clip], T], data: DataConfig, title: str) -> Sequence[T]:
    """Reads a split with a progress bar, and says what was found."""
    with progress_bar() as bar:
        task = bar.add_task(title, total=None, note="clips")
        loaded = load_split(
            source,
            split,
            use,
            skip_unreadable=data.skip_unreadable,
            threads=data.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _say_what_was_found(loaded, source.root)
    return loaded.clips


def _say_what_was_found(loaded: LoadedSplit[Any], root: Path) -> None:
    """Says by reason what was left out, and what the readers noted: warnings by code, infos counted."""
    if loaded.skipped:
        say(f"{len(loaded.skipped)} records of {root} skipped:\n{_indented(summarise_skipped(loaded.skipped))}")
    if loaded.notes:
        say(f"notes on {len(loaded.notes)} records of {root}:\n{_indented(summarise_notes(loaded.notes))}")


def _indented(lines: str) -> str:
    return textwrap.indent(lines, "  ")
