"""Makes grey pictures of true shape from decoded frames: colours, range of levels, display matrix, shape of pixels."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from jaxtyping import Shaped, UInt8

from data_pipelines.notes import Note, note

FULL_RANGE = int(ColorRange.JPEG)
FOOT, HEAD = 8, 246  # luminance of 8 bits: video of limited range (16 to 235) goes beyond these by ringing alone
OUTSIDE_SHARE = 0.02  # share of such pixels from which the range is full whatever the tag says; real clips have 0.001
RAISED_SHARE = 0.2  # share of pixels at 16 from which black was raised before the file was written
NOT_GAMMA = {16: "PQ", 18: "HLG"}  # transfer curves of high dynamic range
SHAPE_LIMITS = (0.25, 4.0)  # width over height of a pixel
SQUARE = 0.005  # how far from 1 that ratio may be


@dataclasses.dataclass(frozen=True)
class PixelShape:
    """The shape of a pixel, as a file states it.

    Attributes:
        aspect: width over height; 1 where the pixels are square or the file says nothing that can be believed.
        notes: what was found.
    """

    aspect: float
    notes: tuple[Note, ...] = ()


def find_pixel_shape(container: Fraction | None, stream: Fraction | None) -> PixelShape:
    """Compares what the container and the stream say of the shape of a pixel; the container counts where both speak.

    Args:
        container: width over height of a pixel by the container; None or 0 where it does not say.
        stream: the same by the compressed stream.
    """
    aspect = container or stream
    if not aspect:
        return PixelShape(1.0)
    notes = []
    if container and stream and abs(container / stream - 1) > SQUARE:
        text = f"The container states pixels of {_ratio(container)}, the stream {_ratio(stream)} (width to height)."
        notes.append(note("pixel shape disputed", f"{text} The container's shape is taken."))
    if not SHAPE_LIMITS[0] <= aspect <= SHAPE_LIMITS[1]:
        text = f"Pixels of {_ratio(aspect)} (width to height) cannot be: they are taken as square."
        return PixelShape(1.0, (*notes, note("pixel shape disputed", text)))
    if abs(aspect - 1) <= SQUARE:
        return PixelShape(1.0, tuple(notes))
    text = f"Pixels are {_ratio(aspect)} (width to height)."
    return PixelShape(float(aspect), (*notes, note("pixels not square", text)))


def to_square(grey: Shaped[np.ndarray, "h w"], aspect: float) -> Shaped[np.ndarray, "h2 w2"]:
    """Stretches the picture along its coarser axis until its pixels are square. Nothing is lost.

    Args:
        grey: the picture, of 8 or 16 bits, int32 or float.
        aspect: width over height of a pixel.
    """
    if aspect == 1:
        return grey
    height, width = grey.shape
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    if grey.dtype == np.int32:  # OpenCV stretches no such samples
        return np.rint(cv2.resize(grey.astype(np.float64), size, interpolation=cv2.INTER_LINEAR)).astype(np.int32)
    return cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)


class GreyFrames:
    """Turns the frames of one video into grey pictures; the first frame decides how.

    The luminance is 0.299 R + 0.587 G + 0.114 B of the colours that the tags of the stream (matrix and range) give.

    Attributes:
        notes: how the levels were made, and what was found.
        aspect: width over height of a pixel of the turned picture; 1 if they are made square, or are so.
        brightest: the largest luminance so far as a part of its range; None where samples have 8 bits.
    """

    def __init__(self, first: av.VideoFrame, shape: PixelShape, *, square_pixels: bool):
        """Looks at the first frame.

        Args:
            first: the first frame.
            shape: the shape of its pixels.
            square_pixels: whether pictures are stretched until their pixels are square.
        """
        self._reformatter = VideoReformatter()
        self._matrix = _display_matrix(first)
        self._range = first.color_range or None
        self.brightest = 0.0 if _luminance(first) is not None and first.format.components[0].bits > 8 else None
        turned = self._matrix is not None and self._matrix[0, 0] == 0
        aspect = 1 / shape.aspect if turned else shape.aspect
        self._stretch = aspect if square_pixels else 1.0
        self.aspect = 1.0 if square_pixels else aspect
        notes = [note("grey levels", "Luminance of the colours."), *shape.notes]
        notes += self._look_at_range(first)
        if first.color_trc in NOT_GAMMA:
            text = (
                f"The levels follow the curve {NOT_GAMMA[first.color_trc]} of high dynamic range; they are taken plain."
            )
            notes.append(note("colour range doubtful", text))
        if self._matrix is not None:
            notes.append(note("picture turned", "Turned or mirrored as the display matrix of the file says."))
        if first.interlaced_frame:
            notes.append(note("interlaced", "The frames are stored as two fields of alternate rows."))
        self.notes = tuple(notes)

    def convert(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "h w"]:
        """Makes the grey picture of a frame.

        Raises:
            FFmpegError: the pixel format cannot be converted.
        """
        if self.brightest is not None and (luminance := _luminance(frame)) is not None:
            self.brightest = max(self.brightest, float(luminance.max()) / (2 ** frame.format.components[0].bits - 1))
        bgr = self._reformatter.reformat(
            frame, format="bgr24", interpolation=Interpolation.BICUBIC, src_color_range=self._range, threads=1
        )
        grey = cv2.cvtColor(bgr.to_ndarray(), cv2.COLOR_BGR2GRAY)
        if self._matrix is not None:
            grey = _turn(grey, self._matrix)
        return to_square(grey, self._stretch)

    def _look_at_range(self, first: av.VideoFrame) -> list[Note]:
        """Compares the range that the tags give with the luminance of the first frame."""
        if "alpha" in first.format.name or first.format.name in ("rgba", "bgra", "argb", "abgr", "ya8", "ya16le"):
            return [note("transparency", "The pictures have a transparency, which is left out.")]
        luminance = _luminance(first)
        if luminance is None:
            return []
        bits = first.format.components[0].bits
        if bits != 8 or not first.format.name.startswith("yuv"):
            return []
        is_full = first.color_range == FULL_RANGE or first.format.name.startswith("yuvj")
        if not is_full and ((luminance <= FOOT) | (luminance >= HEAD)).mean() > OUTSIDE_SHARE:
            self._range = FULL_RANGE
            said = "states limited range (16 to 235)" if first.color_range else "does not state the range"
            text = (
                f"The file {said}, and its luminance runs from {luminance.min()} to {luminance.max()}: taken as full."
            )
            return [note("colour range disputed", text)]
        if is_full and luminance.min() >= 14 and (abs(luminance.astype(np.int16) - 16) <= 1).mean() > RAISED_SHARE:
            text = (
                "The file states full range, and its black is 16: limited range may have been meant. Taken as stated."
            )
            return [note("colour range doubtful", text)]
        return []


def _luminance(frame: av.VideoFrame) -> np.ndarray | None:
    """Returns the samples of the first plane if they are luminance of one or two bytes, else None."""
    name, component = frame.format.name, frame.format.components[0]
    is_luminance = name.startswith("gray") or (name.startswith("yuv") and frame.format.is_planar)
    if not is_luminance or name.endswith("be"):
        return None
    plane = frame.planes[0]
    kind = np.uint8 if component.bits <= 8 else np.dtype("<u2")
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height]
    return rows.view(kind)[:, : frame.width]


def _display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """Reads how the picture is to be turned: a signed permutation (x, y) -> (x, y), or None for not at all."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    matrix = np.frombuffer(memoryview(data), np.int32).reshape(3, 3)[:2, :2] / 65536
    rounded = np.sign(np.where(abs(matrix) > 0.5 * abs(matrix).max(), matrix, 0)).astype(int)
    is_turn = round(abs(np.linalg.det(rounded))) == 1 and not np.array_equal(rounded, np.eye(2))
    return rounded if is_turn else None


def _turn(grey: UInt8[np.ndarray, "h w"], matrix: np.ndarray) -> UInt8[np.ndarray, "h2 w2"]:
    """Applies a signed permutation: x' = m00 x + m10 y, y' = m01 x + m11 y."""
    if matrix[0, 0]:
        flip_rows, flip_columns = matrix[1, 1] < 0, matrix[0, 0] < 0
    else:
        grey, flip_rows, flip_columns = grey.T, matrix[0, 1] < 0, matrix[1, 0] < 0
    if flip_rows:
        grey = grey[::-1]
    return np.ascontiguousarray(grey[:, ::-1] if flip_columns else grey)


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}:{value.denominator}"
