"""A trained model as a function of a clip: grey frames in, foreground probabilities or native masks out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from data_pipelines.clips import resize_frames, to_native
from echoforge_jax.config import Config, ModelConfig, read_config
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.models.memory import Memory
from echoforge_jax.models.pretrained import with_preprocessing
from echoforge_jax.training.checkpoint import CheckpointError, Checkpoints, abstract_state, load_inference
from echoforge_jax.training.state import inference_variables, initial_state, make_optimiser

FRAMES_MULTIPLE = 4  # clips are padded in time to a multiple of this, so that few shapes are compiled


class Predictor:
    """A network with its variables. No reference mask is among its inputs.

    Attributes:
        size: network size in pixels; frames of any size are resized to it and masks back.
    """

    def __init__(self, model: ModelConfig, size: int, variables: dict[str, Any]):
        self.network, self.size = EchoForge(model), size
        self.variables = variables

        def probabilities(variables: dict[str, Any], image: Float[Array, "b t h w"]) -> Float[Array, "b t h w"]:
            return jax.nn.sigmoid(self.network.apply(variables, image)[0].logits)

        def stream(
            variables: dict[str, Any], memory: Memory, image: Float[Array, "b h w"]
        ) -> tuple[Any, Float[Array, "b h w"]]:
            outputs, new_memory = self.network.apply(variables, image[:, None], memory)
            return new_memory, jax.nn.sigmoid(outputs.logits[:, 0])

        self._probabilities = jax.jit(probabilities)
        self._stream = jax.jit(stream)

    @classmethod
    def load(cls, folder: Path) -> tuple[Predictor, Config, dict[str, Any]]:
        """From an inference checkpoint: the predictor, the configuration it was trained with, and its card."""
        variables, card = load_inference(folder)
        config = read_config(card["config"])
        return cls(config.model, config.data.size, variables), config, card

    @classmethod
    def load_last(cls, workdir: Path) -> tuple[Predictor, Config, int]:
        """From the last checkpoint of a training, finished or not: the predictor, its configuration, the step.

        Raises:
            CheckpointError: the folder holds no run, or no checkpoint yet.
        """
        if not (workdir / "config.json").is_file():
            raise CheckpointError(f"{workdir} holds no run (config.json is missing)")
        config = read_config(json.loads((workdir / "config.json").read_text(encoding="utf-8"))["config"])
        model = with_preprocessing(config.model)
        shaped = dataclasses.replace(config, model=dataclasses.replace(model, pretrained=""))  # shapes need no weights
        optimiser, _ = make_optimiser(config.optimiser, 1)
        shapes = jax.eval_shape(lambda key: initial_state(shaped, optimiser, key), jax.random.key(0))
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        with Checkpoints(workdir, config.training.keep_checkpoints) as checkpoints:
            if checkpoints.latest_step() is None:
                raise CheckpointError(f"{workdir} holds no checkpoint yet")
            state, _ = checkpoints.restore(abstract_state(shapes, here))
        config = dataclasses.replace(config, model=model)
        return cls(model, config.data.size, inference_variables(state)), config, int(state.step)

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
        return [found[row, : len(clip)] for row, clip in enumerate(clips)]

    def masks(
        self, clips: Iterable[UInt8[np.ndarray, "t h w"]], batch_clips: int = 4
    ) -> Iterator[UInt8[np.ndarray, "t h w"]]:
        """LV masks 0/1 of each clip at its own size, in order; `batch_clips` at a time, the last batch filled up."""
        for clip, probability in self.each(clips, batch_clips):
            yield to_native(probability, clip.shape[1:])

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
