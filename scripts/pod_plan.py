"""Plans what a training step would cost on a TPU slice, from the TPU compiler alone: no TPU is needed.

    pip install -e .[tpu]
    python scripts/pod_plan.py --topology=v5e:4x4,v5e:16x16 --config=configs/echonet_dynamic.py \
        [--clips_per_chip=4] [--variant=float32|bfloat16|...] [--model=config|small] [--config.model.dtype=bfloat16]

The real step, pseudo-labels included, is compiled for each topology with `jax.experimental.topologies`. The result says
for one chip: memory, FLOPs, bytes, the compiler's time estimate, and the collectives. From a time (`pod_cost.py` says
which) follow clips per second, hours for 50 epochs of EchoNet-Dynamic, and the efficiency of weak scaling. None of this
is measured: the compiler counts the body of a loop (TSF's scan over frames) once, and input, host and the network
between slices are left out. A whole ResNet-50 step takes many minutes to compile on a CPU; each plan is kept as JSON
under --out and never compiled twice.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"  # the TPU is the compiler's alone
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")

import jax
from absl import app, flags
from jax.experimental import topologies
from ml_collections import config_flags
from pod_cost import PlannedStep, count_collectives, program_key, table_row

from echoforge_jax.config import Config, read_config, replace
from echoforge_jax.config.files import find_config
from echoforge_jax.console import errors_as_messages, parse_flags, say
from echoforge_jax.distributed import sharding
from echoforge_jax.errors import ConfigError
from echoforge_jax.models.cost import count_cost
from echoforge_jax.provenance import code_version
from echoforge_jax.training.program import Program

SMALL = {
    "model.encoder_depth": 18,
    "model.encoder_width": 16,
    "model.channels": 16,
    "model.heads": 2,
    "model.decoder_layers": 1,
    "data.size": 32,
    "data.frames": 3,
}

_CONFIG = config_flags.DEFINE_config_file("config", str(find_config("echonet_dynamic")), "Names the training to plan.")
_TOPOLOGIES = flags.DEFINE_list(
    "topology", "v5e:4x4", "Names the TPU slices, separated by commas, e.g. v5e:4x4,v5e:16x16,v6e:16x16,v5p:8x8x8."
)
_CLIPS = flags.DEFINE_integer("clips_per_chip", 4, "Sets how many clips of a batch each chip gets.")
_MODEL = flags.DEFINE_enum(
    "model", "config", ["config", "small"], "Chooses the configuration's network, or one that compiles in a minute."
)
_VARIANT = flags.DEFINE_string("variant", "as configured", "Names the plan in the table.")
_OUT = flags.DEFINE_string("out", "docs/results/pods", "Names the folder of the plans.")


def configured(config: Config, chips: int) -> Config:
    """Returns the configuration that is planned, as the flags say.

    Args:
        config: the configuration of the training.
        chips: chips of the slice; each gets --clips_per_chip clips of the batch.
    """
    small = SMALL if _MODEL.value == "small" else {}
    return replace(config, {**small, "model.pretrained": None, "data.batch_clips": _CLIPS.value * chips})


def compile_step(config: Config, devices: list[Any]) -> Any:
    """Compiles the step, with pseudo-labels where the configuration has them.

    Args:
        config: the configuration, with a batch for all devices.
        devices: the devices, which need not exist (`jax.experimental.topologies`).

    Raises:
        ConfigError: the mesh or the batch does not fit the devices.
    """
    mesh = sharding.make_mesh(config.training.mesh, devices)
    sharding.check_batch(mesh, config.data.batch_clips, config.training.accumulate)
    program = Program.build(config, mesh=mesh, steps_per_epoch=100)
    step: Any = program.step(with_pseudo_labels=config.pseudo_labels.strategy is not None)
    return step.lower(program.shapes, program.batch_shapes()).compile()


def plan(config: Config, topology: str) -> PlannedStep:
    """Compiles the step for one topology and reads what the compiler says of it.

    Args:
        config: the configuration of the training.
        topology: the slice, e.g. "v5e:4x4".
    """
    devices = list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    config = configured(config, len(devices))
    began = time.monotonic()
    with ticking(f"{topology}, {_VARIANT.value}: compiling"):
        compiled = compile_step(config, devices)
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    return PlannedStep(
        topology=topology,
        variant=_VARIANT.value,
        chips=len(devices),
        clips_per_chip=_CLIPS.value,
        frames=config.data.frames,
        size=config.data.size,
        dtype=config.model.dtype,
        accumulate=config.training.accumulate,
        rematerialise=config.model.rematerialise,
        mesh=config.training.mesh,
        parameters=count_cost(config.model, config.data.frames, config.data.size).parameters,
        argument_bytes=memory.argument_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        flops=cost["flops"],
        bytes_accessed=cost["bytes accessed"],
        seconds=cost["optimal_seconds"],
        collectives=count_collectives(compiled.as_text()),
        compile_minutes=(time.monotonic() - began) / 60,
        jax=jax.__version__,
        libtpu=importlib.metadata.version("libtpu"),
        commit=code_version().short,
    )


@contextmanager
def ticking(what: str) -> Iterator[None]:
    """Says every half minute that the work inside is still going on."""
    done, began = threading.Event(), time.monotonic()

    def tick() -> None:
        while not done.wait(30):
            say(f"{what}, {(time.monotonic() - began) / 60:.1f} min")

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main(_: list[str]) -> None:
    """Plans every topology and prints the table of all plans."""
    with errors_as_messages():
        try:
            library = importlib.metadata.version("libtpu")
        except importlib.metadata.PackageNotFoundError as error:
            raise ConfigError("libtpu is not installed: pip install -e .[tpu] (no TPU is needed)") from error
        config, out = read_config(_CONFIG.value), Path(_OUT.value)
        out.mkdir(parents=True, exist_ok=True)
        for topology in _TOPOLOGIES.value:
            name = re.sub(r"\W+", "_", f"{topology} {_VARIANT.value}")
            key = program_key(configured(config, 1), _CLIPS.value, jax_version=jax.__version__, libtpu_version=library)
            file = out / f"{name}_{key}.json"
            if file.exists():
                say(f"{file} is there already")
                continue
            planned = plan(config, topology)
            planned.write(file)
            say(f"{file}: compiled in {planned.compile_minutes:.1f} min")
        plans = [PlannedStep.read(file) for file in sorted(out.glob("*.json"))]
        plans.sort(key=lambda plan: (plan.topology.partition(":")[0], plan.chips, plan.variant))
        rows = [table_row(plan, plans) for plan in plans]
        for cells in (list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)):
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
