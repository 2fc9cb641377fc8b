"""A trained model as a function of a clip: grey frames in, foreground probabilities or native masks out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from data_pipelines.preprocessing import resize_frames, resize_probability, to_native
from echoforge_jax.config import Config, ModelConfig, read_config
from echoforge_jax.errors import CheckpointError, ConfigError
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.models.memory import Memory
from echoforge_jax.training.checkpoint import Checkpoints, abstract_state
from echoforge_jax.training.state import inference_variables, initial_state, make_optimizer
from echoforge_jax.weights.trained import initial_weights, load_trained

FRAMES_MULTIPLE = 4  # clips are padded in time to a multiple of this, so that few shapes are compiled


class Predictor:
    """A network with its variables. No reference mask is among its inputs.

    Attributes:
        size: network size in pixels; frames of any size are resized to it and masks back.
        threshold: of the masks.
        others: further networks whose probabilities of whole clips are averaged with this one's, at its size.

    Args of the constructor:
        scales: test-time augmentation: whole clips are also seen enlarged by these factors, probabilities averaged
            where they overlap. Streaming sees each frame once.
        threshold: a pixel is foreground from this probability on.
    """

    def __init__(
        self,
        model: ModelConfig,
        size: int,
        variables: dict[str, Any],
        scales: Sequence[float] = (1.0,),
        threshold: float = 0.5,
    ):
        self.network, self.size, self.threshold = EchoForge(model), size, threshold
        self.others: tuple[Predictor, ...] = ()
        self.variables = variables

        def probabilities(variables: dict[str, Any], image: Float[Array, "b t h w"]) -> Float[Array, "b t h w"]:
            total, seen = jnp.zeros_like(image), jnp.zeros_like(image)
            for scale in scales:
                found = jax.nn.sigmoid(self.network.apply(variables, enlarge(image, scale))[0].logits)
                total += enlarge(found, 1 / scale)
                seen += enlarge(jnp.ones_like(found), 1 / scale)
            return total / jnp.maximum(seen, 1e-6)

        def stream(
            variables: dict[str, Any], memory: Memory, image: Float[Array, "b h w"]
        ) -> tuple[Any, Float[Array, "b h w"]]:
            outputs, new_memory = self.network.apply(variables, image[:, None], memory)
            return new_memory, jax.nn.sigmoid(outputs.logits[:, 0])

        self._probabilities = jax.jit(probabilities)
        self._stream = jax.jit(stream)

    @classmethod
    def load(cls, path: Path) -> tuple[Predictor, Config, dict[str, Any]]:
        """From a trained network (`load_trained`): the predictor, the configuration it was trained with, its card."""
        variables, config, card = load_trained(path)
        return cls.of(config, variables), config, card

    @classmethod
    def of(cls, config: Config, variables: dict[str, Any]) -> Predictor:
        """The predictor that a configuration describes."""
        evaluation = config.evaluation
        return cls(config.model, config.data.size, variables, evaluation.scales, evaluation.threshold)

    @classmethod
    def load_last(cls, workdir: Path) -> tuple[Predictor, Config, int]:
        """From the last checkpoint of a training, finished or not: the predictor, its configuration, the step.

        Raises:
            CheckpointError: the folder holds no run, or no checkpoint yet.
        """
        if not (workdir / "config.json").is_file():
            raise CheckpointError(f"{workdir} holds no run (config.json is missing)")
        config = read_config(json.loads((workdir / "config.json").read_text(encoding="utf-8"))["config"])
        config, start = initial_weights(config)
        shaped = dataclasses.replace(config, model=dataclasses.replace(config.model, pretrained=""))  # shapes alone
        optimizer, _ = make_optimizer(config.optimizer, 1)
        shapes = jax.eval_shape(lambda key: initial_state(shaped, optimizer, key, start), jax.random.key(0))
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        with Checkpoints(workdir, config.training.keep_checkpoints) as checkpoints:
            if checkpoints.latest_step() is None:
                raise CheckpointError(f"{workdir} holds no checkpoint yet")
            state, _ = checkpoints.restore(abstract_state(shapes, here))
        variables = inference_variables(state)
        return cls.of(config, variables), config, int(state.step)

    def forward(self, image: Float[Array, "b t h w"]) -> Float[Array, "b t h w"]:
        """Foreground probabilities of frames at network size, grey levels 0..1; stays on the device."""
        return self._probabilities(self.variables, image)

    def probabilities(self, clips: list[UInt8[np.ndarray, "t h w"]]) -> list[Float[np.ndarray, "t s s"]]:
        """Foreground probabilities at network size of clips of any length and size, in one batch.

        Shorter clips are padded after their end, which no earlier frame can see.
        """
        longest = max(len(clip) for clip in clips)
        frames = -(-longest // FRAMES_MULTIPLE) * FRAMES_MULTIPLE if longest > 2 else longest
        image = np.zeros((len(clips), frames, self.size, self.size), np.float32)
        for row, clip in enumerate(clips):
            image[row, : len(clip)] = resize_frames(clip, self.size).astype(np.float32) / np.float32(255)
        found = np.asarray(self.forward(jnp.asarray(image)))
        own = [found[row, : len(clip)] for row, clip in enumerate(clips)]
        theirs = [other.probabilities(clips) for other in self.others]
        side = (self.size, self.size)
        return [np.mean([p, *(resize_probability(t[row], side) for t in theirs)], 0) for row, p in enumerate(own)]

    def masks(
        self, clips: Iterable[UInt8[np.ndarray, "t h w"]], batch_clips: int = 4
    ) -> Iterator[UInt8[np.ndarray, "t h w"]]:
        """LV masks 0/1 of each clip at its own size, in order; `batch_clips` at a time, the last batch filled up."""
        for clip, probability in self.each(clips, batch_clips):
            yield to_native(probability, clip.shape[1:], self.threshold)

    def each(
        self, clips: Iterable[UInt8[np.ndarray, "t h w"]], batch_clips: int = 4
    ) -> Iterator[tuple[UInt8[np.ndarray, "t h w"], Float[np.ndarray, "t s s"]]]:
        """Each clip, in order, with its probabilities at network size; the last batch is filled up."""
        batch: list[np.ndarray] = []
        for clip in clips:
            batch.append(clip)
            if len(batch) == batch_clips:
                yield from zip(batch, self.probabilities(batch), strict=True)
                batch = []
        if batch:
            filled = batch + batch[-1:] * (batch_clips - len(batch))
            yield from zip(batch, self.probabilities(filled)[: len(batch)], strict=True)

    def start_stream(self, batch: int = 1) -> Memory:
        """The memory before the first frame of a stream."""
        return self.network.initial_memory(batch)

    def stream_frame(
        self, memory: Memory, frame: UInt8[np.ndarray, "b h w"]
    ) -> tuple[Memory, Float[np.ndarray, "b s s"]]:
        """One frame and the memory -> the new memory and the frame's probabilities, as in the whole clip."""
        image = resize_frames(frame, self.size).astype(np.float32) / np.float32(255)
        memory, probability = self._stream(self.variables, memory, jnp.asarray(image))
        return memory, np.asarray(probability)


def with_evaluation(config: Config, scales: Sequence[str] | None, threshold: float | None) -> Config:
    """The configuration with other test-time scales (texts) or another threshold; None leaves them.

    Raises:
        ConfigError: a text is no number, or a number is out of range.
    """
    evaluation = config.evaluation
    try:
        evaluation = dataclasses.replace(
            evaluation,
            scales=tuple(map(float, scales)) if scales else evaluation.scales,
            threshold=evaluation.threshold if threshold is None else threshold,
        )
    except ValueError as error:
        raise ConfigError(f"--scales={','.join(scales or ())}: {error}; expected numbers, e.g. 0.9,1,1.1") from error
    return read_config(dataclasses.asdict(dataclasses.replace(config, evaluation=evaluation)))


def enlarge(frames: Float[Array, "b t h w"], scale: float) -> Float[Array, "b t h w"]:
    """Frames seen enlarged about their centre, at the same size (bilinear); what comes in from outside is 0."""
    if scale == 1.0:
        return frames
    sides = jnp.asarray(frames.shape[2:], jnp.float32)
    return jax.image.scale_and_translate(
        frames,
        frames.shape,
        (2, 3),
        jnp.full(2, scale, jnp.float32),
        (1.0 - scale) * sides / 2.0,
        "linear",
        antialias=False,
    )
