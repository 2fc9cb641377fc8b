"""The format of a store: one record and its features, shards of records, and the plan of a whole data set.

The bytes depend on the clips alone.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from data_pipelines.notes import Note
from data_pipelines.records import Clip, Skipped, UnreadableRecord

ENTRIES_PER_SHARD = 32
INDEX_KEYS = ("record_ids", "patient_ids", "has_labels", "half_cycle_frames")

_PIXELS = tfds.features.Tensor(shape=(None, None, None, 1), dtype=np.uint8, encoding="zlib")
_NUMBER = tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes")  # unencoded, TFDS rounds to float32
_PAIR = tfds.features.Tensor(shape=(2,), dtype=np.float64, encoding="bytes")
FEATURES = tfds.features.FeaturesDict(
    {
        "frames": _PIXELS,
        "masks": _PIXELS,
        "labelled": tfds.features.Tensor(shape=(None,), dtype=np.bool_),
        "ed_index": np.int64,
        "es_index": np.int64,
        "spacing_mm": _PAIR,
        "fps": _NUMBER,
        "patient_id": tfds.features.Text(),
        "view": tfds.features.Text(),
        "quality": tfds.features.Text(),
        "ef_percent": _NUMBER,
        "volumes_ml": _PAIR,
    }
)
_SPECS: Any = FEATURES.get_serialized_info()
_SERIALIZER = ExampleSerializer(_SPECS)


def encode_clip(clip: Clip) -> bytes:
    """Serialises a clip as a tf.train.Example.

    What is not known becomes -1 (an index), nan (a number) or "" (a text).
    """
    unknown = (math.nan, math.nan)
    example = {
        "frames": clip.frames[..., None],
        "masks": clip.label_map[..., None],
        "labelled": clip.has_reference,
        "ed_index": -1 if clip.ed_index is None else int(clip.ed_index),
        "es_index": -1 if clip.es_index is None else int(clip.es_index),
        "spacing_mm": np.array(clip.spacing_mm or unknown, np.float64),
        "fps": np.float64(math.nan if clip.fps is None else clip.fps),
        "patient_id": clip.patient_id,
        "view": clip.view,
        "quality": clip.quality or "",
        "ef_percent": np.float64(math.nan if clip.ef_percent is None else clip.ef_percent),
        "volumes_ml": np.array(clip.volumes_ml or unknown, np.float64),
    }
    message = _SERIALIZER.get_tf_example(FEATURES.encode_example(example))
    return message.SerializeToString(deterministic=True)  # TFDS's own call orders the fields at random


def decode_clip(record: bytes) -> Clip:
    """Restores a clip from its record; its arrays are read-only."""
    example: Any = FEATURES.deserialize_example_np(record)

    def number(key: str) -> float | None:
        return None if math.isnan(value := float(example[key])) else value

    def pair(key: str) -> tuple[float, float] | None:
        first, second = (float(value) for value in example[key])
        return None if math.isnan(first) else (first, second)

    def index(key: str) -> int | None:
        return None if (value := int(example[key])) < 0 else value

    return Clip(
        frames=example["frames"][..., 0],
        label_map=example["masks"][..., 0],
        has_reference=example["labelled"],
        ed_index=index("ed_index"),
        es_index=index("es_index"),
        spacing_mm=pair("spacing_mm"),
        fps=number("fps"),
        patient_id=example["patient_id"].decode(),
        view=example["view"].decode(),
        quality=example["quality"].decode() or None,
        ef_percent=number("ef_percent"),
        volumes_ml=pair("volumes_ml"),
    )


@dataclasses.dataclass(frozen=True)
class Encoded:
    """One record to write, with its line of the index.

    Attributes:
        record_id: patient and view, e.g. "patient0001_4CH".
        patient_id: e.g. "patient0001".
        has_labels: whether any frame has a reference mask.
        half_cycle_frames: frames from ED to ES, both included; 0 where they are not known.
        content: what `encode_clip` gives.
        notes: what the reader said; they are kept beside the shards, not in the record.
    """

    record_id: str
    patient_id: str
    has_labels: bool
    half_cycle_frames: int
    content: bytes = dataclasses.field(repr=False)
    notes: tuple[Note, ...] = ()


def encode_entry(read: Callable[[Any], Clip], entry: Any) -> Encoded | Skipped:
    """Reads one entry of a data set and serialises it; an unreadable one comes back with its reason.

    Args:
        read: reads an entry; raises UnreadableRecord where that fails.
        entry: what `read` takes.
    """
    try:
        clip = read(entry)
    except UnreadableRecord as fault:
        return Skipped(fault.record_id, fault.reason, fault.detail)
    half_cycle_frames = 0
    if clip.ed_index is not None and clip.es_index is not None:
        half_cycle_frames = abs(clip.es_index - clip.ed_index) + 1
    has_labels = bool(clip.has_reference.any())
    return Encoded(clip.record_id, clip.patient_id, has_labels, half_cycle_frames, encode_clip(clip), clip.notes)


@dataclasses.dataclass(frozen=True)
class Shard:
    """What a written shard holds; it has no file where every entry of it was skipped.

    Attributes:
        record_ids: its records, in order.
        patient_ids: the patient of every record.
        has_labels: whether any frame of the record has a reference mask.
        half_cycle_frames: frames from ED to ES of every record; 0 where they are not known.
        skipped: entries that could not be read.
        size_bytes: size of the file.
        notes: what the reader said, by record; records without a note are absent.
    """

    record_ids: list[str]
    patient_ids: list[str]
    has_labels: list[bool]
    half_cycle_frames: list[int]
    skipped: list[Skipped]
    size_bytes: int
    notes: dict[str, tuple[Note, ...]] = dataclasses.field(default_factory=dict)


def write_shard(path: Path, results: Iterable[Encoded | Skipped]) -> Shard:
    """Writes records as one ArrayRecord file, whole or not at all.

    Args:
        path: the file to write.
        results: what `encode_entry` gave for the entries of the shard, in order.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    kept, skipped, writer = [], [], None
    try:
        for result in results:
            if isinstance(result, Skipped):
                skipped.append(result)
                continue
            writer = writer or _call_writer(path, ArrayRecordWriter, str(temporary), "group_size:1")
            _call_writer(path, writer.write, result.content)
            kept.append(dataclasses.replace(result, content=b""))
        if writer is not None:
            _call_writer(path, writer.close)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return Shard(
        record_ids=[record.record_id for record in kept],
        patient_ids=[record.patient_id for record in kept],
        has_labels=[record.has_labels for record in kept],
        half_cycle_frames=[record.half_cycle_frames for record in kept],
        skipped=skipped,
        size_bytes=path.stat().st_size if kept else 0,
        notes={record.record_id: record.notes for record in kept if record.notes},
    )


def _call_writer(path: Path, call: Callable[..., Any], *arguments: Any) -> Any:
    """Calls ArrayRecord, which reports a full disk, as everything else, by a RuntimeError."""
    try:
        return call(*arguments)
    except RuntimeError as error:
        raise OSError(f"{path} cannot be written: {error}") from error


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """The entries that one shard is made of.

    Attributes:
        split: the split that it belongs to.
        entries: what to read, in order.
    """

    split: str
    entries: list[Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a preparation makes.

    Attributes:
        origin: tells this data from other data: the arguments of a simulation, or a fingerprint of the source's files.
        entries: what to read, by split, in the order of the record ids.
        skipped: records that the source names and does not have, by split.
        missing: why a split cannot be made, for each split that the source does not have.
        notes: what is known before a record is read, by split and record; it is no part of the origin.
    """

    origin: dict[str, Any]
    entries: dict[str, list[Any]]
    skipped: dict[str, list[Skipped]]
    missing: dict[str, str]
    notes: dict[str, Mapping[str, tuple[Note, ...]]] = dataclasses.field(default_factory=dict)

    def shards(self) -> dict[str, ShardJob]:
        """Cuts the entries into shards, by the name of the shard."""
        return {
            f"{split}-{first // ENTRIES_PER_SHARD:05d}": ShardJob(split, entries[first : first + ENTRIES_PER_SHARD])
            for split, entries in self.entries.items()
            for first in range(0, len(entries), ENTRIES_PER_SHARD)
        }
