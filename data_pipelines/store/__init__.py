"""Prepared stores: clips as ArrayRecord files that open fast and are read record by record.

`shards` holds the format of a record and of a shard, `builder` and `data_sets` the TFDS builders, `preparation` the
preparation that can be interrupted, `stored_clips` what opens a store. `data_pipelines.lazy_clips` trains from one.
"""

from data_pipelines.store.builder import NOTES, PREPARATION, SKIPPED, VERSION, ClipBuilder, NotPrepared, builder_dir
from data_pipelines.store.data_sets import BUILDERS, Camus, EchonetDynamic, SimulatedEcho
from data_pipelines.store.stored_clips import StoredClips, open_store

__all__ = [
    "BUILDERS",
    "NOTES",
    "PREPARATION",
    "SKIPPED",
    "VERSION",
    "Camus",
    "ClipBuilder",
    "EchonetDynamic",
    "NotPrepared",
    "SimulatedEcho",
    "StoredClips",
    "builder_dir",
    "open_store",
]
