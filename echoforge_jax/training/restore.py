"""The network of a training in progress, from its last checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax

from echoforge_jax.config import replace, stored_form
from echoforge_jax.distributed import sharding
from echoforge_jax.errors import CheckpointError, ConfigError
from echoforge_jax.training.checkpoint import Checkpoints, abstract_state
from echoforge_jax.training.program import Program
from echoforge_jax.training.run_folder import read_run_config
from echoforge_jax.training.state import inference_variables
from echoforge_jax.weights.trained import Trained, initial_weights


class LastNetwork(NamedTuple):
    """The network that a training holds at its last checkpoint.

    Attributes:
        trained: The network.
        step: Optimizer steps done.
    """

    trained: Trained
    step: int


def load_last(workdir: Path) -> LastNetwork:
    """Reads the network of a training, finished or not, from its last checkpoint.

    Raises:
        ConfigError: the folder holds no run.
        CheckpointError: it holds no checkpoint yet, or none that can be read.
    """
    try:
        run_config = read_run_config(workdir)
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"config.json of {workdir} is garbled ({type(error).__name__}: {error})") from error
    config = initial_weights(run_config).config
    all_devices = sharding.make_mesh((("data", -1),))  # shapes do not depend on the mesh of the training
    shapes = Program.build(replace(config, {"model.pretrained": None}), mesh=all_devices).shapes
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with Checkpoints(workdir, config.training.keep_checkpoints) as checkpoints:
        if checkpoints.latest_step() is None:
            raise CheckpointError(f"{workdir} holds no checkpoint yet")
        state = checkpoints.restore(abstract_state(shapes, here)).state
    step = int(state.step)
    return LastNetwork(Trained(inference_variables(state), config, {"config": stored_form(config), "step": step}), step)
