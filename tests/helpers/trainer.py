"""Small batches and one compiled step for the tests of the training."""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from data_pipelines.batch import Batch
from echoforge_jax.config import Config, replace
from echoforge_jax.distributed import sharding
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.training import loop
from echoforge_jax.training.program import Program
from echoforge_jax.training.validation import Validator


def disc_batch(clips: int = 4, frames: int = 3, size: int = 32, seed: int = 0) -> Batch:
    """Clips of a dark disc that shrinks in a noisy bright field; first and last frame labelled."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] + 0.5
    masks = np.zeros((clips, frames, size, size), np.uint8)
    for clip in range(clips):
        centre = size * rng.uniform(0.4, 0.6, 2)
        for t in range(frames):
            radius = size * (0.3 - 0.1 * t / max(frames - 1, 1))
            masks[clip, t] = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    image = np.clip(0.6 - 0.4 * masks + 0.1 * rng.standard_normal(masks.shape), 0, 1).astype(np.float32)
    may_train = np.zeros((clips, frames), np.float32)
    may_train[:, [0, -1]] = 1
    return Batch(
        image=image,
        cavity=masks,
        may_train=may_train,
        has_reference=np.ones_like(may_train),
        valid=np.ones(clips, np.float32),
        view=(np.arange(clips) % 2).astype(np.int32),
        record=np.arange(clips, dtype=np.int32),
    )


@dataclasses.dataclass
class Trainer:
    """A program on some devices, one of its steps, and a way to start anew.

    Attributes:
        config: The configuration.
        num_devices: Devices of the mesh.
        with_pseudo_labels: Which step runs.
        axes: Of the mesh.
        initial: The initial state on the host; another trainer's may be put here.
    """

    config: Config
    num_devices: int
    with_pseudo_labels: bool
    axes: tuple = (("data", -1),)
    initial: object = None

    @functools.cached_property
    def program(self) -> Program:
        config = replace(self.config, {"training.split_from": 256})
        mesh = sharding.make_mesh(self.axes, jax.devices()[: self.num_devices])
        return Program.build(config, steps_per_epoch=20, mesh=mesh)

    @property
    def networks(self):
        return self.program.networks

    @property
    def step(self):
        return self.program.step(with_pseudo_labels=self.with_pseudo_labels)

    def start(self):
        """Returns the initial state in fresh buffers (the step donates them); it is made once."""
        if self.initial is None:
            self.initial = jax.tree.map(np.asarray, self.program.init())
        return jax.device_put(jax.tree.map(np.copy, self.initial), self.program.shardings)

    def run(self, state, batch: Batch, steps: int = 1):
        """Runs some steps on one batch; returns the state and the metrics of each step."""
        history = []
        for _ in range(steps):
            state, metrics = self.step(state, sharding.put_batch(batch, self.program.mesh))
            history.append({name: float(value) for name, value in metrics.items()})
        return state, history


def share_compiled_parts(patch: pytest.MonkeyPatch) -> None:
    """Lets trainings in this process use the compiled parts of an earlier one that differs in `max_steps` alone.

    Every training builds a program of its own otherwise, and traces and compiles it anew.
    """
    build, programs = Program.build, {}
    score, scores = Validator.__init__, {}

    def build_once(
        config: Config, *, mesh: Mesh | None = None, trained_variables: Any = None, **options: Any
    ) -> Program:
        if trained_variables is not None:
            return build(config, mesh=mesh, trained_variables=trained_variables, **options)
        options["convolutions"] = options.get("convolutions") or ConvImplementation.for_this_machine()
        key = replace(config, {"training.max_steps": None}), mesh, *options.items()
        if key not in programs:
            programs[key] = build(config, mesh=mesh, **options)
            for part in ("objective", "shapes", "shardings", "refresh", "_steps"):
                getattr(programs[key], part)
        shared = copy.copy(programs[key])
        object.__setattr__(shared, "config", config)
        return shared

    def validate_once(self: Validator, network: EchoForge, *arguments: Any, mesh: Mesh, **options: Any) -> None:
        score(self, network, *arguments, mesh=mesh, **options)
        self._score = scores.setdefault((network, mesh), self._score)

    patch.setattr(Program, "build", build_once)
    patch.setattr(Validator, "__init__", validate_once)
    patch.setattr(loop, "count_cost", functools.cache(loop.count_cost))
