"""What one evaluation found, as one record: it is written to disk and shown in the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.notes import Note
from data_pipelines.records import Skipped
from echoforge_jax.evaluation.summary import ProtocolScores
from echoforge_jax.report.selection import Pictures


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One evaluation of one split.

    Attributes:
        split: the name of the split, e.g. "test".
        protocols: name of a protocol -> its scores.
        pictures: frames, moving clips and volume curves to show.
        card: rows of the method card. The row "data set" ("CAMUS" or "EchoNet-Dynamic") chooses the published numbers
            that the report compares with.
        simulated: whether the data are simulated; the report then says so at the top and compares with nothing.
        skipped: records that were left out.
        notes: what the readers said of the records, by record.
        history: one mapping for each epoch of the training; keys may be missing.
        comparisons: name of a protocol -> `comparison.compare_rows`; empty where nothing is compared.
    """

    split: str
    protocols: Mapping[str, ProtocolScores]
    pictures: Pictures
    card: Mapping[str, str]
    simulated: bool
    skipped: Sequence[Skipped] = ()
    notes: Mapping[str, Sequence[Note]] = dataclasses.field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    comparisons: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]] = dataclasses.field(default_factory=dict)
