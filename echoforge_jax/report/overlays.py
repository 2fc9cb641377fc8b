"""Pictures of masks on frames: the reference green, the prediction red, both yellow.

Every picture has the proportions of the true pixel spacing. Single frames are PNG, clips are animated WebP.
"""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from scipy import ndimage

from echoforge_jax.evaluation.overlap import dice
from echoforge_jax.report.style import figure_bytes

REFERENCE, PREDICTION, BOTH = (0.0, 0.75, 0.25), (0.95, 0.15, 0.15), (1.0, 0.9, 0.1)
FILL, LINE = 0.28, 0.9  # opacity
FRAME_MS = 90  # how long an animation shows each frame


@dataclasses.dataclass(frozen=True)
class Overlay:
    """One frame with both masks.

    Attributes:
        image: grey levels, (h, w).
        prediction: predicted mask of the left ventricle, (h, w).
        reference: reference mask of the left ventricle, (h, w).
        spacing: (row, column) size of a pixel; only the ratio is used.
        caption: one line of plain text.
        remarks: what is wrong with the mask, where that is known.
    """

    image: UInt8[np.ndarray, "h w"]
    prediction: Bool[np.ndarray, "h w"]
    reference: Bool[np.ndarray, "h w"]
    spacing: tuple[float, float]
    caption: str
    remarks: tuple[str, ...] = ()

    @functools.cached_property
    def dice_percent(self) -> float:
        """Dice coefficient of the two masks, per cent."""
        return 100 * dice(self.prediction, self.reference)


def overlay_rgb(overlay: Overlay, height: int = 360) -> Float[np.ndarray, "h w 3"]:
    """Draws a frame in true proportions with both masks, as a light fill with full outlines.

    Args:
        overlay: the frame and its masks.
        height: rows of the picture.

    Returns:
        Red, green and blue, 0..1, (H, W, 3).
    """
    rows, columns = overlay.image.shape
    zoom = height / rows, height / rows * overlay.spacing[1] / overlay.spacing[0]
    size = max(1, round(rows * zoom[0])), max(1, round(columns * zoom[1]))
    rgb = np.repeat(_resize(overlay.image / 255.0, size, order=1)[:, :, None], 3, axis=2)
    masks = [_resize(mask.astype(np.float64), size, order=1) > 0.5 for mask in (overlay.prediction, overlay.reference)]
    edges = [mask & (ndimage.binary_erosion(mask, iterations=2) == 0) for mask in masks]
    for alpha, (prediction, reference) in ((FILL, masks), (LINE, edges)):
        for where, colour in (
            (prediction & ~reference, PREDICTION),
            (reference & ~prediction, REFERENCE),
            (prediction & reference, BOTH),
        ):
            rgb[where] = (1 - alpha) * rgb[where] + alpha * np.array(colour)
    return np.clip(rgb, 0, 1)


def overlay_png(overlay: Overlay, height: int = 360) -> bytes:
    """Draws a frame as PNG without caption or margin.

    Args:
        overlay: the frame and its masks.
        height: rows of the picture.
    """
    rgb = overlay_rgb(overlay, height)
    figure = Figure(figsize=(rgb.shape[1] / 100, rgb.shape[0] / 100), dpi=100)
    figure.figimage(rgb)
    return figure_bytes(figure, "png")


def overlay_grid(overlays: Sequence[Overlay], columns: int = 4) -> bytes:
    """Draws several frames as one PNG with captions and a legend.

    Args:
        overlays: the frames and their masks.
        columns: frames in a row.

    Raises:
        ValueError: there is no overlay, or columns is not positive.
    """
    if not overlays or columns < 1:
        raise ValueError(f"{len(overlays)} overlays in {columns} columns: expected at least one of each")
    columns = min(columns, len(overlays))
    rows = -(-len(overlays) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.7 * rows + 0.5), dpi=100, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, overlay in zip(axes.flat, overlays, strict=False):
        ax.imshow(overlay_rgb(overlay), interpolation="antialiased")
        ax.set_title(f"{overlay.caption}, Dice {overlay.dice_percent:.1f} %", fontsize=9, wrap=True)
    names = (("reference only", REFERENCE), ("prediction only", PREDICTION), ("both", BOTH))
    keys = [Patch(color=colour, label=name) for name, colour in names]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure_bytes(figure, "png")


def animation_webp(overlays: Sequence[Overlay], height: int = 240) -> bytes:
    """Draws the frames of one clip as an endless animated WebP that plays forwards and backwards.

    Args:
        overlays: the frames of the clip and their masks.
        height: rows of the picture.

    Raises:
        ValueError: there is no frame.
    """
    if not overlays:
        raise ValueError("there is no frame: leave the animation out")
    frames = [Image.fromarray(np.round(255 * overlay_rgb(overlay, height)).astype(np.uint8)) for overlay in overlays]
    forwards_and_backwards = frames + frames[-2:0:-1]
    stream = io.BytesIO()
    forwards_and_backwards[0].save(
        stream, "WEBP", save_all=True, append_images=forwards_and_backwards[1:], duration=FRAME_MS, loop=0, quality=70
    )
    return stream.getvalue()


def _resize(image: Float[np.ndarray, "h w"], size: tuple[int, int], order: int) -> Float[np.ndarray, "H W"]:
    zoom = size[0] / image.shape[0], size[1] / image.shape[1]
    return np.asarray(ndimage.zoom(image, zoom, order=order, mode="nearest", grid_mode=True))
