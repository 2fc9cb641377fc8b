"""The numbers of the EchoForge paper, and when they may stand next to ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Published:
    """One row of Tables 1 and 2 of the EchoForge paper (CVPR 2026).

    The paper's "HD" is read as the pooled HD95 and its "ASD" as the symmetric distance, as in the same group's code.

    Attributes:
        data_set: name of the data set.
        protocol: name of the protocol.
        dice_percent: mean Dice, per cent.
        hd95: pooled 95th percentile of the border distances, in `unit`.
        assd: average symmetric surface distance, in `unit`.
        unit: "mm" or "px".
    """

    data_set: str
    protocol: str
    dice_percent: float
    hd95: float
    assd: float
    unit: str


@dataclasses.dataclass(frozen=True)
class ComparedNumber:
    """One number of ours next to the paper's.

    Attributes:
        label: name and unit.
        ours: our value, or None where it is undefined.
        paper: the paper's value.
    """

    label: str
    ours: float | None
    paper: float

    @property
    def difference(self) -> float | None:
        """Our value minus the paper's."""
        return None if self.ours is None else self.ours - self.paper


@dataclasses.dataclass(frozen=True)
class PaperComparison:
    """Our numbers next to the paper's, or the reason why they must not be compared.

    Attributes:
        reason: why nothing is compared, or None.
        numbers: the numbers; empty where nothing is compared.
        published: the paper's row, or None.
    """

    reason: str | None
    numbers: tuple[ComparedNumber, ...] = ()
    published: Published | None = None


PUBLISHED = (
    Published("CAMUS", "semi", 94.89, 3.12, 1.18, "mm"),
    Published("CAMUS", "full", 94.36, 3.26, 1.22, "mm"),
    Published("EchoNet-Dynamic", "semi", 93.63, 3.05, 1.02, "px"),
)


def compare_with_paper(summary: Mapping[str, Any], *, data_set: str, simulated: bool) -> PaperComparison:
    """Puts the numbers of one protocol next to the paper's.

    Args:
        summary: the protocol's summary (`summary.summarise`).
        data_set: name of the data set in the method card.
        simulated: whether the data are simulated.

    Returns:
        The numbers of the same data set, protocol and split, or the reason why there are none. Distances in pixels
        depend on the size of the picture and are left out.
    """
    protocol, split = summary["protocol"], summary["split"]
    if simulated:
        return PaperComparison("The data are simulated: these numbers cannot be compared with any published result.")
    same = [p for p in PUBLISHED if p.protocol == protocol and data_set.lower().startswith(p.data_set.lower())]
    if not same:
        return PaperComparison(
            f"The paper has no result for the data set {data_set!r} under the protocol {protocol!r}."
        )
    if split != "test":
        return PaperComparison(f"The split is {split!r}; the paper reports the test split, so nothing compares.")
    (published,) = same
    numbers = [ComparedNumber("Dice, %", summary["dice_percent"]["mean"], published.dice_percent)]
    if published.unit == "mm":
        distances = summary["distances"]["mm"]
        numbers.append(ComparedNumber("HD95, mm", distances["hd95"]["mean"], published.hd95))
        numbers.append(ComparedNumber("ASSD, mm", distances["assd"]["mean"], published.assd))
    return PaperComparison(None, tuple(numbers), published)
