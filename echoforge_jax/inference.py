"""Trained networks as functions of a clip: grey frames in, foreground probabilities and masks out.

No reference mask is ever an input. Axes: b clips, t frames, h w pixels of a clip, s the side of the network's input.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from data_pipelines.errors import DataError
from data_pipelines.grey_levels import LABELS_END
from data_pipelines.preprocessing import resize_frames, resize_probability, to_native, to_unit_range
from data_pipelines.records import Clip
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.models.memory import Memory
from echoforge_jax.weights.trained import Trained

Frames = UInt8[np.ndarray, "t h w"]
FRAMES_MULTIPLE = 4  # clips are padded in time to a multiple of this, so that few shapes are compiled


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """What a network says of one clip.

    Attributes:
        probability: Foreground probability at network size, (t, s, s).
        native_shape: Rows and columns of the clip.
        threshold: A pixel belongs to the left ventricle from this probability on.
    """

    probability: Float[np.ndarray, "t s s"]
    native_shape: tuple[int, int]
    threshold: float

    @property
    def masks(self) -> UInt8[np.ndarray, "t h w"]:
        """Masks 0/1 of the left-ventricular cavity at the clip's own size."""
        return to_native(self.probability, self.native_shape, self.threshold)

    @property
    def network_masks(self) -> UInt8[np.ndarray, "t s s"]:
        """Masks 0/1 at network size."""
        return (self.probability >= self.threshold).astype(np.uint8)


class Segmenter(abc.ABC):
    """What one network and an average of several have in common.

    Attributes:
        size: s; frames of any size are resized to s x s, and masks back.
        threshold: A pixel belongs to the left ventricle from this probability on.
        num_networks: Networks whose probabilities are averaged.
    """

    size: int
    threshold: float
    num_networks: int = 1

    @abc.abstractmethod
    def probabilities(self, clips: Sequence[np.ndarray]) -> list[Float[np.ndarray, "t s s"]]:
        """Returns foreground probabilities at network size of clips of any length and size, made in one batch.

        A clip is grey levels 0..255, (t, h, w) uint8.
        """

    def segment(self, clip: Clip | np.ndarray) -> Segmentation:
        """Segments the left ventricle on every frame of a clip.

        >>> import numpy as np
        >>> import echoforge_jax as ef
        >>> predictor = ef.load("camus-small")
        >>> predictor.segment(np.zeros((2, 120, 160), np.uint8)).masks.shape
        (2, 120, 160)

        Args:
            clip: a `Clip`, or grey levels 0..255, (t, h, w) uint8. Row 0 is nearest to the probe.

        Raises:
            DataError: the frames are not grey levels of that form.
        """
        return next(self.predict_clips([clip.frames if isinstance(clip, Clip) else clip], batch_clips=1))

    def predict_clips(self, clips: Iterable[np.ndarray], *, batch_clips: int = 4) -> Iterator[Segmentation]:
        """Segments clips one after the other, in order; the last batch is filled up.

        Args:
            clips: grey levels 0..255, each (t, h, w) uint8.
            batch_clips: clips that are predicted together.

        Raises:
            DataError: the frames are not grey levels of that form.
        """
        batch: list[np.ndarray] = []
        for clip in clips:
            _check_clip(clip)
            batch.append(clip)
            if len(batch) == batch_clips:
                yield from self._segment_batch(batch, batch_clips)
                batch = []
        if batch:
            yield from self._segment_batch(batch, batch_clips)

    def _segment_batch(self, clips: Sequence[Frames], batch_clips: int) -> Iterator[Segmentation]:
        filled = [*clips, *[clips[-1]] * (batch_clips - len(clips))]
        for clip, probability in zip(clips, self.probabilities(filled), strict=False):
            yield Segmentation(probability, clip.shape[1:], self.threshold)


class Predictor(Segmenter):
    """One network with its variables.

    Args:
        trained: the network. Its configuration names the size of its input, the threshold, and the scales of test-time
            augmentation (`config.evaluation.scales`): clips are also seen enlarged by these factors, and the
            probabilities are averaged where they overlap. A stream sees each frame once.

    Attributes:
        trained: The network.
    """

    def __init__(self, trained: Trained):
        self.trained = trained
        self.network = EchoForge(trained.config.model)
        self.size, self.threshold = trained.config.data.size, trained.config.evaluation.threshold
        scales = trained.config.evaluation.scales

        def probabilities(variables: dict[str, Any], image: Float[Array, "b t h w"]) -> Float[Array, "b t h w"]:
            total, seen = jnp.zeros_like(image), jnp.zeros_like(image)
            for scale in scales:
                outputs, _ = self.network.apply(variables, enlarge(image, scale))
                total += enlarge(jax.nn.sigmoid(outputs.logits), 1 / scale)
                seen += enlarge(jnp.ones_like(outputs.logits), 1 / scale)
            return total / jnp.maximum(seen, 1e-6)

        def stream(
            variables: dict[str, Any], memory: Memory, image: Float[Array, "b h w"]
        ) -> tuple[Any, Float[Array, "b h w"]]:
            outputs, new_memory = self.network.apply(variables, image[:, None], memory)
            return new_memory, jax.nn.sigmoid(outputs.logits[:, 0])

        self._probabilities = jax.jit(probabilities)
        self._stream = jax.jit(stream)

    @classmethod
    def load(cls, path: Path) -> Predictor:
        """Reads a trained network from a .safetensors file, an inference folder or the folder of a run.

        Raises:
            CheckpointError: a folder without a trained network.
            ConfigError: a file that is none, or one of another kind.
        """
        return cls(Trained.load(path))

    @property
    def variables(self) -> dict[str, Any]:
        """The network's variables, {"params": ..., "batch_stats": ...}."""
        return self.trained.variables

    def forward(self, image: Float[Array, "b t h w"]) -> Float[Array, "b t h w"]:
        """Returns foreground probabilities of frames at network size with grey levels 0..1; stays on the device."""
        return self._probabilities(self.variables, image)

    def probabilities(self, clips: Sequence[np.ndarray]) -> list[Float[np.ndarray, "t s s"]]:
        """Returns foreground probabilities at network size of clips of any length and size, made in one batch.

        Shorter clips are padded after their end, which no earlier frame can see.

        Raises:
            DataError: the frames are not grey levels 0..255, (t, h, w) uint8.
        """
        for clip in clips:
            _check_clip(clip)
        longest = max(len(clip) for clip in clips)
        frames = -(-longest // FRAMES_MULTIPLE) * FRAMES_MULTIPLE if longest > 2 else longest
        image = np.zeros((len(clips), frames, self.size, self.size), np.float32)
        for row, clip in enumerate(clips):
            image[row, : len(clip)] = _to_network(clip, self.size)
        probabilities = np.asarray(self.forward(jnp.asarray(image)))
        return [probabilities[row, : len(clip)] for row, clip in enumerate(clips)]

    def start_stream(self, batch: int = 1) -> Memory:
        """Returns the memory before the first frame of so many parallel streams."""
        return self.network.initial_memory(batch)

    def stream_frame(self, memory: Memory, frame: np.ndarray) -> tuple[Memory, Float[np.ndarray, "b s s"]]:
        """Predicts one frame of a stream, with the same result as in the whole clip.

        Args:
            memory: what the frames before it left (`start_stream` before the first one).
            frame: grey levels 0..255 of each parallel stream, (b, h, w) uint8.

        Returns:
            The memory after the frame, and its foreground probability at network size.

        Raises:
            DataError: the frame is not uint8 of three axes.
        """
        _check_form(frame, "(streams, rows, columns)")
        image = jnp.asarray(_to_network(frame, self.size))
        memory, probability = self._stream(self.variables, memory, image)
        return memory, np.asarray(probability)


class Ensemble(Segmenter):
    """Several networks whose probabilities are averaged, at the size and with the threshold of the first one.

    Args:
        predictors: the networks.
    """

    def __init__(self, predictors: Sequence[Predictor]):
        self.predictors = tuple(predictors)
        self.size, self.threshold = self.predictors[0].size, self.predictors[0].threshold
        self.num_networks = len(self.predictors)

    def probabilities(self, clips: Sequence[np.ndarray]) -> list[Float[np.ndarray, "t s s"]]:
        """Returns the mean of the networks' foreground probabilities, resized to the first one's size."""
        shape = (self.size, self.size)
        by_network = [predictor.probabilities(clips) for predictor in self.predictors]
        return [
            np.mean([first, *(resize_probability(other, shape) for other in others)], axis=0)
            for first, *others in zip(*by_network, strict=True)
        ]


def enlarge(frames: Float[Array, "b t h w"], scale: float) -> Float[Array, "b t h w"]:
    """Enlarges frames about their centre at the same size (bilinear); what comes in from outside is 0.

    Args:
        frames: maps of any kind.
        scale: factor; below 1 it makes them smaller.
    """
    if scale == 1.0:
        return frames
    sides = jnp.asarray(frames.shape[2:], jnp.float32)
    shift = (1.0 - scale) * sides / 2.0
    factors = jnp.full(2, scale, jnp.float32)
    return jax.image.scale_and_translate(frames, frames.shape, (2, 3), factors, shift, "linear", antialias=False)


def _to_network(frames: Frames, size: int) -> Float[np.ndarray, "t s s"]:
    return to_unit_range(resize_frames(frames, size))


def _check_clip(frames: np.ndarray) -> None:
    """Refuses anything but grey levels 0..255 of a clip, (t, h, w) uint8."""
    _check_form(frames, "(frames, rows, columns)")
    if 0 < frames.max() <= LABELS_END:
        raise DataError(
            f"the brightest pixel of the clip is {frames.max()} of 255; expected grey levels 0..255: these are labels, "
            "or fractions 0..1 that were rounded. Multiply fractions by 255 before they become uint8"
        )


def _check_form(frames: np.ndarray, axes: str) -> None:
    """Refuses arrays that are not uint8 of three axes.

    Args:
        frames: the frames.
        axes: names of the three axes, for the message.
    """
    if frames.dtype == np.uint8 and frames.ndim == 3 and 0 not in frames.shape:
        return
    found = f"the frames are {frames.dtype} of shape {frames.shape}"
    advice = "export them again"
    if frames.ndim == 4 and frames.shape[-1] in (3, 4):
        advice = "these are colours: give their luminance"
    elif frames.ndim == 2:
        advice = "this is one frame: give frames[None]"
    elif frames.dtype != np.uint8:
        advice = "data_pipelines.grey_levels.to_grey_levels scales fractions 0..1 and other ranges"
    raise DataError(f"{found}; expected grey levels 0..255 as uint8 of shape {axes}: {advice}")
