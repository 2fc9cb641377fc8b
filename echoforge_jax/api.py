"""What a user of the library calls first: load a network, read a clip, measure an ejection fraction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipelines.local_path import local_path
from data_pipelines.records import Clip
from echoforge_jax.config import replace
from echoforge_jax.evaluation.discs import measure_discs
from echoforge_jax.evaluation.ejection_fraction import biplane_discs, ef_percent, single_plane_discs
from echoforge_jax.inference import Predictor
from echoforge_jax.networks import find_network
from echoforge_jax.weights.trained import Trained

UNKNOWN_SPACING = (1.0, 1.0)


def load(
    path_or_name: str | Path, *, scales: Sequence[float] | None = None, threshold: float | None = None
) -> Predictor:
    """Loads a trained network. A network that ships with the package says once under which licence its weights are.

    >>> import echoforge_jax as ef
    >>> ef.load("camus-small").size
    256

    Args:
        path_or_name: "camus-small", which ships with the package, or the path of a .safetensors file, an inference
            folder or the folder of a run.
        scales: factors of test-time augmentation; None takes the network's own.
        threshold: a pixel belongs to the left ventricle from this probability on; None takes the network's own.

    Raises:
        ConfigError: there is no such network, or the file is of another kind.
        CheckpointError: the folder holds no trained network.
    """
    trained = Trained.load(find_network(path_or_name))
    changes = {
        name: value
        for name, value in (("evaluation.scales", scales and tuple(scales)), ("evaluation.threshold", threshold))
        if value is not None
    }
    return Predictor(trained.with_config(replace(trained.config, changes)) if changes else trained)


def read_clip(path: str | Path) -> Clip:
    """Reads a recording: DICOM, AVI or MP4, NIfTI, or a folder of PNG pictures.

    The clip is cropped to the ultrasound sector. What the file does not say is None (pixel spacing, frame rate) or ""
    (the view).

    >>> import echoforge_jax as ef
    >>> ef.read_clip("missing.mp4")
    Traceback (most recent call last):
    ...
    data_pipelines.records.UnreadableRecord: missing: ...

    Args:
        path: of the file or folder.

    Raises:
        UnreadableRecord: the file cannot be read: says why.
    """
    from data_pipelines.formats import cine  # pydicom and OpenCV are heavy

    return cine.read(Path(local_path(str(path))))


def ejection_fraction(
    end_diastole: UInt8[np.ndarray, "h w"],
    end_systole: UInt8[np.ndarray, "h w"],
    *,
    spacing_mm: tuple[float, float] | None = None,
    two_chamber: tuple[UInt8[np.ndarray, "h2 w2"], UInt8[np.ndarray, "h2 w2"]] | None = None,
    two_chamber_spacing_mm: tuple[float, float] | None = None,
) -> float:
    """Measures the ejection fraction in per cent by the method of discs (Lang et al. 2015).

    >>> import numpy as np
    >>> import echoforge_jax as ef
    >>> rows, columns = np.mgrid[:100, :100] - 50
    >>> large = ((rows / 45) ** 2 + (columns / 20) ** 2 < 1).astype(np.uint8)
    >>> small = ((rows / 40) ** 2 + (columns / 14) ** 2 < 1).astype(np.uint8)
    >>> 50 < ef.ejection_fraction(large, small) < 62
    True

    Args:
        end_diastole: mask 0/1 of the left ventricle in the four-chamber view at end-diastole.
        end_systole: the same at end-systole.
        spacing_mm: (row, column) spacing of the pixels in mm; None takes square pixels, whose size falls out of the
            fraction.
        two_chamber: masks of the two-chamber view at end-diastole and end-systole: the biplane method is used then.
        two_chamber_spacing_mm: spacing of the two-chamber view.

    Raises:
        MeasurementError: a mask is empty, or has no long axis.
        ValueError: two views are given and the spacing of one of them is not known: the method needs their true sizes.
    """
    spacing = spacing_mm or UNKNOWN_SPACING
    four = [measure_discs(mask == 1, spacing) for mask in (end_diastole, end_systole)]
    if two_chamber is None:
        return ef_percent(*(single_plane_discs(discs) for discs in four))
    if spacing_mm is None or two_chamber_spacing_mm is None:
        raise ValueError("the biplane method of discs needs spacing_mm and two_chamber_spacing_mm")
    two = [measure_discs(mask == 1, two_chamber_spacing_mm) for mask in two_chamber]
    return ef_percent(*(biplane_discs(one, other) for one, other in zip(four, two, strict=True)))
