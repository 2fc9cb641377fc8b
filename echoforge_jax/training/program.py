"""A training, assembled once: networks, optimizer, schedules, initial state, shardings and compiled steps.

The loop, the plan for a TPU slice, benchmarks, restored checkpoints and tests all use this one assembly.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from data_pipelines.batch import Batch, batch_layout
from echoforge_jax.config import Config
from echoforge_jax.distributed import sharding
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.training import flamerise
from echoforge_jax.training.flamerise import FlameRise
from echoforge_jax.training.optimizer import Optimizer, make_optimizer
from echoforge_jax.training.state import Networks, TrainState, initial_state, make_networks, refresh_frozen
from echoforge_jax.training.step import Step, make_step
from echoforge_jax.training.terms import Objective


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """The compiled parts of a training and what they are made of. Build one with `Program.build`.

    Attributes:
        config: The configuration.
        mesh: The device mesh.
        steps_per_epoch: Steps of an epoch.
        networks: The modules.
        optimizer: The optimizer and its learning rate.
        schedules: Weight and threshold of the pseudo-labels by step.
        trained_variables: Variables of a trained network to start from, or None.
    """

    config: Config
    mesh: Mesh
    steps_per_epoch: int
    networks: Networks
    optimizer: Optimizer
    schedules: FlameRise
    trained_variables: dict[str, Any] | None = None

    @classmethod
    def build(
        cls,
        config: Config,
        *,
        steps_per_epoch: int = 1,
        mesh: Mesh | None = None,
        convolutions: ConvImplementation | None = None,
        trained_variables: dict[str, Any] | None = None,
    ) -> Program:
        """Assembles the program of a configuration; nothing is compiled yet.

        Args:
            config: the configuration.
            steps_per_epoch: steps of an epoch; together with `config.training.epochs` they set the schedules.
            mesh: the device mesh; None makes that of the configuration from all devices.
            convolutions: the forms in which convolutions are compiled; None takes the fastest for this machine.
            trained_variables: variables of a trained network of the same configuration to start from.

        Raises:
            ConfigError: the mesh does not fit the devices.
        """
        epochs = config.training.epochs
        return cls(
            config=config,
            mesh=sharding.make_mesh(config.training.mesh) if mesh is None else mesh,
            steps_per_epoch=steps_per_epoch,
            networks=make_networks(config, convolutions or ConvImplementation.for_this_machine()),
            optimizer=make_optimizer(config.optimizer, epochs * steps_per_epoch),
            schedules=flamerise.by_step(config.flamerise, epochs=epochs, steps_per_epoch=steps_per_epoch),
            trained_variables=trained_variables,
        )

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.config.training.epochs * self.steps_per_epoch

    @property
    def num_devices(self) -> int:
        """Devices that share the batch axis."""
        return sharding.batch_parts(self.mesh)

    @functools.cached_property
    def objective(self) -> Objective:
        """The loss."""
        return Objective(self.config, self.networks, self.schedules, self.num_devices)

    @functools.cached_property
    def shapes(self) -> TrainState:
        """Shapes and types of the state."""
        return jax.eval_shape(self._initial_state, jax.random.key(0))

    @functools.cached_property
    def shardings(self) -> TrainState:
        """Where each array of the state lives."""
        return sharding.state_shardings(self.mesh, self.shapes, self.config.training.split_from)

    def init(self) -> TrainState:
        """Makes the initial state where it belongs."""
        return jax.jit(self._initial_state, out_shardings=self.shardings)(jax.random.key(self.config.seed))

    def step(self, *, with_pseudo_labels: bool) -> Step:
        """Returns the step; it is compiled at its first call, and kept.

        Args:
            with_pseudo_labels: see `make_step`.
        """
        return self._steps(with_pseudo_labels)

    @functools.cached_property
    def refresh(self) -> Any:
        """The compiled renewal of CPR's frozen copy at an epoch's end: state -> state."""
        from_average = self.config.pseudo_labels.teacher == "average"
        refresh = functools.partial(refresh_frozen, from_average=from_average)
        return jax.jit(refresh, out_shardings=self.shardings, donate_argnums=0)

    def batch_shapes(self) -> Batch:
        """Returns shapes and types of a global batch without carried labels."""
        data = self.config.data
        layout = batch_layout(data.batch_clips, data.frames, data.size)
        return Batch(**{name: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)) for name, (shape, dtype) in layout.items()})

    @functools.cached_property
    def _steps(self) -> Any:
        return functools.cache(
            lambda with_pseudo_labels: make_step(
                self.objective,
                self.optimizer,
                self.mesh,
                state_shardings=self.shardings,
                with_pseudo_labels=with_pseudo_labels,
            )
        )

    def _initial_state(self, key: jax.Array) -> TrainState:
        return initial_state(
            self.config, self.networks, self.optimizer.transformation, key, trained_variables=self.trained_variables
        )
