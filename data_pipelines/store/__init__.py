"""Prepared stores: clips as ArrayRecord (`shards`), the TFDS builders (`builders`), and opening them again."""

from data_pipelines.store.builders import (
    BUILDERS,
    SKIPPED,
    VERSION,
    Camus,
    ClipBuilder,
    EchonetDynamic,
    NotPrepared,
    SimulatedEcho,
    builder_dir,
)
from data_pipelines.store.stored_clips import StoredClips, open_store

__all__ = [
    "BUILDERS",
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
