"""From a configuration to clips in memory and to the batches of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from data_pipelines.batches import AnyClip, BatchError, TrainingBatches, allocate_rows, labelled_patients
from data_pipelines.propagation import PROPAGATION_METHODS, UNDECIDED, propagate
from data_pipelines.records import Clip, SampledClip, summarise_skipped
from data_pipelines.sampling import resize_cine, sample_clip
from data_pipelines.source import Source, load_split
from data_pipelines.store.lazy_clips import LazyClips, open_lazily
from echoforge_jax.config import Config, DataConfig, MixConfig
from echoforge_jax.console import progress_bar, say
from echoforge_jax.distributed import sharding
from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.overlap import dice

T = TypeVar("T")


def source_of(config: Config) -> Source:
    return Source(config.data.format, Path(config.data.root), config.data.split_scheme, config.data.views)


def load(config: Config, split: str) -> list[SampledClip]:
    """A split in memory, with a line that says what was read and one a reason for what was not."""
    data = config.data
    sample = lambda clip: sample_clip(clip, data.frames, data.size, data.training_labels)
    clips = _load(source_of(config), split, sample, data, f"reading {split}")
    labelled = sum(int(clip.may_train.sum()) for clip in clips)
    say(f"{split}: {len(clips)} clips of {data.frames} frames, {labelled} frames labelled")
    return clips


def _open(config: Config) -> LazyClips:
    data = config.data
    clips, skipped = open_lazily(source_of(config), "train", data.frames, data.size, data.training_labels)
    say(f"train: {len(clips)} clips of {data.frames} frames, read from the store when they are needed")
    if skipped:
        say(f"{len(skipped)} records skipped:\n  " + summarise_skipped(skipped).replace("\n", "\n  "))
    return clips


def training_batches(config: Config, mesh: Mesh) -> TrainingBatches:
    """The training split and what is mixed in, as the batches of this process.

    Raises:
        ConfigError: the batch cannot be shared out over devices and sources.
        EmptySplit, UnreadableRecord: as their docstrings say.
    """
    data, devices = config.data, sharding.batch_parts(mesh) * config.training.accumulate
    sharding.check_batch(mesh, data.batch_clips, config.training.accumulate)
    clips = load(config, "train") if data.in_memory else _open(config)
    labelled, unlabelled = withhold_labels(clips, data.labelled_fraction, data.labelled_seed)
    if unlabelled:
        say(f"{len(labelled)} clips keep their labels, {len(unlabelled)} clips are unlabelled")
    extras = [(_load_mix(mix, data), mix.share) for mix in data.mix]
    if config.semi.pseudo_labels == "none":
        extras = [(clips, share) for clips, share in extras if any(_is_labelled(clip) for clip in clips)]
        if unlabelled or len(extras) < len(data.mix):
            say("without pseudo-labels nothing is learnt from unlabelled clips: they are left out")
        unlabelled = []
    if config.semi.pseudo_labels in PROPAGATION_METHODS:  # of the labels that may be used, so after some were withheld
        carry = lambda clips: _propagated(clips, config.semi.pseudo_labels, data.workers)
        labelled, unlabelled = carry(labelled), carry(unlabelled)
        extras = [(carry(clips), share) for clips, share in extras]
    try:
        streams = allocate_rows(
            labelled,
            unlabelled,
            extras,
            batch_clips=data.batch_clips,
            devices=devices,
            labelled_rows=data.labelled_clips_per_batch,
        )
    except BatchError as error:
        raise ConfigError(str(error)) from error
    if len(streams) > 1:
        say("rows of a batch: " + ", ".join(f"{s.rows} of {len(s.clips)} clips" for s in streams))
    return TrainingBatches(
        streams,
        config.seed,
        data.augment,
        data.frames,
        devices,
        jax.process_index(),
        jax.process_count(),
        config.training.steps_per_epoch,
        config.model.surroundings,
    )


def _propagated(clips: Sequence[AnyClip], way: str, threads: int) -> Sequence[AnyClip]:
    """The clips with labels carried from ED and ES to the frames between, and no other (`data_pipelines.propagation`).
    Cines stay as they are."""
    sampled = [clip for clip in clips if isinstance(clip, SampledClip)]
    if not sampled:
        return clips
    found: list[SampledClip] = []
    with progress_bar() as bar, ThreadPoolExecutor(threads) as pool:
        task = bar.add_task(f"labels by {way}", total=len(sampled), note="clips")
        for clip in pool.map(lambda clip: propagate(clip, way), sampled):
            found.append(clip)
            bar.advance(task)
    scores, decided = [], []
    for old, new in zip(sampled, found, strict=True):
        for t in np.flatnonzero(old.has_reference & ~old.may_train & new.has_reference):
            known = new.cavity[t] != UNDECIDED
            decided.append(known.mean())
            scores.append(dice((new.cavity[t] == 1) & known, (old.cavity[t] == 1) & known))
    carried = sum(int((clip.has_reference & ~clip.may_train).sum()) for clip in found)
    against = (
        f"; {100 * np.mean(decided):.1f} % of the pixels decided, Dice there with {len(scores)} references "
        f"{100 * np.mean(scores):.2f} %"
        if scores
        else ""
    )
    say(f"labels carried to {carried} frames by {way}{against}")
    return found


def withhold_labels(
    clips: Sequence[SampledClip], fraction: float, seed: int
) -> tuple[Sequence[SampledClip], Sequence[SampledClip]]:
    """Clips with labels a training may use, and all others, whose labels (if any) it may not."""
    if isinstance(clips, LazyClips):
        patients = clips.stored.patient_ids
        drawn = labelled_patients([patients[place] for place in clips.places], fraction, seed)
        hidden = clips.only(lambda place: patients[place] not in drawn, use_labels=False)
        return clips.only(lambda place: patients[place] in drawn), hidden
    chosen = labelled_patients([clip.patient_id for clip in clips], fraction, seed)
    may_use = [clip if clip.patient_id in chosen else clip.without_labels() for clip in clips]
    return [c for c in may_use if _is_labelled(c)], [c for c in may_use if not _is_labelled(c)]


def _is_labelled(clip: AnyClip) -> bool:
    return isinstance(clip, SampledClip) and bool(clip.may_train.any())


def _load_mix(mix: MixConfig, data: DataConfig) -> Sequence[AnyClip]:
    source = Source(mix.format, Path(mix.root), mix.split_scheme)
    labels = "ed_es" if mix.labels == "none" else mix.labels

    def use(clip: Clip) -> AnyClip:
        if mix.format == "cine":
            return resize_cine(clip, data.frames, data.size)
        sampled = sample_clip(clip, data.frames, data.size, labels)
        return sampled.without_labels() if mix.labels == "none" else sampled

    clips = _load(source, mix.split, use, data, f"reading {mix.root}")
    say(f"mixed in: {len(clips)} clips of {mix.root}, labels used: {mix.labels}")
    return clips


def _load(source: Source, split: str, use: Callable[[Clip], T], data: DataConfig, title: str) -> list[T]:
    """`load_split` with a progress bar; what was skipped is counted by reason."""
    with progress_bar() as bar:
        task = bar.add_task(title, total=None, note="clips")
        clips, skipped = load_split(
            source,
            split,
            use,
            skip_unreadable=data.skip_unreadable,
            threads=data.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if skipped:
        say(f"{len(skipped)} records of {source.root} skipped:\n  " + summarise_skipped(skipped).replace("\n", "\n  "))
    return clips
