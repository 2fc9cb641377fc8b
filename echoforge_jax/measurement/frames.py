"""What the mask of every frame measures: area, long axis and volumes, in mm and ml, or in pixels without a spacing."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from echoforge_jax.evaluation.discs import Discs, MeasurementError, largest_component, measure_discs
from echoforge_jax.evaluation.ejection_fraction import ML_PER_MM3, single_plane_discs

PIXELS = (1.0, 1.0)  # the spacing where it is not known


@dataclasses.dataclass(frozen=True)
class FrameMeasurement:
    """One frame.

    Attributes:
        frame: index of the frame.
        time_s: time since the first frame, or None where the frame rate is not known.
        area: area of the largest part of the mask, mm2 (px2 where the spacing is not known); nan where it is empty.
        discs: the 20 discs, or None where the mask cannot be measured.
        confidence: how far the mask is to be trusted, 0..1, or None where nothing says so.
        flags: what is wrong with the frame: short fixed phrases.
    """

    frame: int
    time_s: float | None
    area: float
    discs: Discs | None
    confidence: float | None
    flags: tuple[str, ...]

    @property
    def long_axis(self) -> float:
        """Length of the long axis, mm (px where the spacing is not known); nan where it cannot be measured."""
        return self.discs.length if self.discs else np.nan

    @property
    def volume_discs(self) -> float:
        """Volume of 20 round discs, ml (thousands of cubic pixels); nan where it cannot be measured."""
        return single_plane_discs(self.discs) if self.discs else np.nan

    @property
    def volume_area_length(self) -> float:
        """Volume by area and length, ml (thousands of cubic pixels); nan where it cannot be measured."""
        return area_length(self.area, self.discs.length) if self.discs else np.nan


def area_length(area_mm2: float, length_mm: float) -> float:
    """Computes the volume of a body of revolution from one plane: V = 8 A^2 / (3 pi L).

    Source: Dodge et al., Am Heart J 60(5), 1960; Lang et al. 2015 (single-plane area-length).

    Args:
        area_mm2: area of the cavity.
        length_mm: its long axis.

    Returns:
        The volume in ml; from pixels it is in thousands of cubic pixels.
    """
    return 8 * area_mm2**2 / (3 * np.pi * length_mm) * ML_PER_MM3


def measure_frames(
    masks: Bool[np.ndarray, "t h w"],
    *,
    spacing_mm: tuple[float, float] | None = None,
    fps: float | None = None,
    confidence: Float[np.ndarray, " t"] | None = None,
) -> tuple[FrameMeasurement, ...]:
    """Measures the left ventricle in every frame of a cine.

    Args:
        masks: the left ventricle, (t, h, w).
        spacing_mm: (row, column) size of a pixel, or None where it is not known.
        fps: frames per second, or None where it is not known.
        confidence: how far each mask is to be trusted, 0..1.

    Returns:
        One record for each frame; a mask that cannot be measured has a flag with the reason.

    Raises:
        ValueError: the masks are not boolean, or the spacing is not positive and finite.
    """
    spacing = spacing_mm or PIXELS
    return tuple(
        _measure(mask, frame, spacing=spacing, fps=fps, confidence=None if confidence is None else confidence[frame])
        for frame, mask in enumerate(masks)
    )


def _measure(
    mask: Bool[np.ndarray, "h w"],
    frame: int,
    *,
    spacing: tuple[float, float],
    fps: float | None,
    confidence: float | None,
) -> FrameMeasurement:
    flags, area, discs = (), np.nan, None
    if mask.any():
        area = float(largest_component(mask).sum()) * spacing[0] * spacing[1]
    try:
        discs = measure_discs(mask, spacing)
    except MeasurementError as error:
        flags = (error.reason,)
    return FrameMeasurement(
        frame=frame,
        time_s=None if fps is None else frame / fps,
        area=area,
        discs=discs,
        confidence=None if confidence is None else float(confidence),
        flags=flags,
    )
