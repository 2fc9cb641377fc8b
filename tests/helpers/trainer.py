"""tests.helpers.trainer."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from data_pipelines.batch import Batch
from echoforge_jax.config import Config
from echoforge_jax.distributed import sharding
from echoforge_jax.training import flamerise
from echoforge_jax.training.state import initial_state, make_networks, make_optimizer
from echoforge_jax.training.step import make_step


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
    labelled = np.zeros((clips, frames), np.float32)
    labelled[:, [0, -1]] = 1
    return Batch(
        image=image,
        cavity=masks,
        may_train=labelled,
        has_reference=np.ones_like(labelled),
        valid=np.ones(clips, np.float32),
        view=(np.arange(clips) % 2).astype(np.int32),
        record=np.arange(clips, dtype=np.int32),
    )


@dataclasses.dataclass
class Trainer:
    """A compiled step, its mesh and a way to start anew."""

    config: Config
    devices: int
    with_pseudo_labels: bool
    axes: tuple = (("data", -1),)

    def __post_init__(self):
        self.mesh = sharding.make_mesh(self.axes, jax.devices()[: self.devices])
        self.optimizer, rate = make_optimizer(self.config.optimizer, 1000)
        self.networks = make_networks(self.config)
        schedules = flamerise.by_step(self.config.semi, self.config.training.epochs, 10)
        init = lambda key: initial_state(self.config, self.optimizer, key)
        self.initialise = jax.jit(init)
        shapes = jax.eval_shape(init, jax.random.key(0))
        self.shardings = sharding.state_shardings(self.mesh, shapes, split_from=256)
        self.step = make_step(
            self.config,
            self.networks,
            self.optimizer,
            rate,
            schedules,
            self.mesh,
            with_pseudo_labels=self.with_pseudo_labels,
            shardings=self.shardings,
        )
        self.initial = None

    def start(self):
        """The initial state in fresh buffers (the step donates them); initialised on one device once."""
        if self.initial is None:
            self.initial = jax.tree.map(np.asarray, self.initialise(jax.random.key(0)))
        return jax.device_put(jax.tree.map(np.copy, self.initial), self.shardings)

    def run(self, state, batch, steps: int = 1):
        history = []
        for _ in range(steps):
            state, metrics = self.step(state, sharding.put_batch(batch, self.mesh))
            history.append({name: float(value) for name, value in metrics.items()})
        return state, history
