"""What the plans read from a step compiled for many chips."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from echoforge_jax.config import Config, read_config
from echoforge_jax.config.files import load_config_file
from scripts.pod_cost import Collectives, PlannedStep, count_collectives, program_key, table_row

PROGRAM = """
%async_gather (p: f32[8,4]) -> f32[32,4] {
  ROOT %all-gather.9 = f32[32,4]{1,0:T(8,128)} all-gather(%p), dimensions={0}
}

ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %all-reduce.1 = (f32[64,32]{1,0}, bf16[10]{0}) all-reduce(%a, %b), to_apply=%add
  %all-reduce-start.2 = f32[100]{0} all-reduce-start(%c), to_apply=%add
  %all-reduce-done.2 = f32[100]{0} all-reduce-done(%all-reduce-start.2)
  %collective-permute-start.1 = (f32[8]{0}, f32[8]{0}, u32[], u32[]) collective-permute-start(%d)
  %s = ((f32[8,4]{1,0}), f32[32,4]{1,0}, u32[]) async-start(%a), calls=%async_gather
  %f = f32[8]{0} fusion(%all-reduce.1), kind=kLoop
}
"""


def planned_step(topology: str, chips: int, **changes) -> PlannedStep:
    plan = PlannedStep(
        topology=topology,
        chips=chips,
        variant="as configured",
        mesh=[["data", -1]],
        dtype="float32",
        accumulate=1,
        rematerialise=[],
        clips_per_chip=4,
        size=128,
        frames=10,
        parameters=7,
        argument_bytes=2**30,
        temporary_bytes=4 * 2**30,
        flops=197e9,
        bytes_accessed=8.19e9,
        seconds=-1.0,
        collectives={"all-reduce": Collectives(10, 0, 10**8)},
        compile_minutes=1.0,
        jax="0.10.2",
        libtpu="0.0.42.1",
    )
    return dataclasses.replace(plan, **changes)


def test_collectives_are_counted_with_their_bytes():
    assert count_collectives(PROGRAM) == {
        "all-gather": Collectives(1, 1, 32 * 4 * 4),
        "all-reduce": Collectives(2, 1, 64 * 32 * 4 + 10 * 2 + 400),
        "collective-permute": Collectives(1, 1, 32),
    }
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.P("data"))
    total = jax.jit(lambda x: x.sum(0), in_shardings=rows, out_shardings=jax.NamedSharding(mesh, jax.P()))
    program = total.lower(jax.ShapeDtypeStruct((8, 50), jnp.float32)).compile().as_text()
    assert count_collectives(program) == {"all-reduce": Collectives(1, 0, 200)}


def test_the_roofline_pays_for_bytes_and_for_hops():
    """10 ms for 8.19 GB; 2 x 100 MB over 200 GB/s is 1 ms; ten reductions of 2 x 4 hops at 1 us are 0.08 ms."""
    small = planned_step("v5e:4x4", 16)
    assert small.estimated_seconds == pytest.approx(11.08e-3)
    assert planned_step("v5e:16x16", 256).estimated_seconds == pytest.approx(11.32e-3)
    assert planned_step("v5e:4x4", 16, seconds=0.5).estimated_seconds == 0.5
    gathered = {"all-gather": Collectives(1, 0, 10**8)}
    assert planned_step("v5e:4x4", 16, collectives=gathered).estimated_seconds == pytest.approx(10.504e-3)
    assert table_row(small, [small])["ms a step"] == "11.1 (roofline)"


def test_weak_scaling_compares_the_same_step_alone():
    small, other, large = (
        planned_step("v5e:4x4", 16),
        planned_step("v5e:4x4", 16, dtype="bfloat16"),
        planned_step("v5e:16x16", 256),
    )
    lines = [table_row(plan, (small, other, large)) for plan in (small, other, large)]
    assert [line["weak scaling"] for line in lines] == ["-", "-", "97.9 % of 16 chips"]
    assert lines[0]["memory GiB"] == "5.00 of 16 (fits)" and lines[0]["about most clips a chip"] == "15"


def test_a_compiled_step_is_known_by_what_shapes_it():
    def key(config, clips=4):
        return program_key(config, clips, jax_version="0.10.2", libtpu_version="0.0.42.1")

    moved = dataclasses.replace(Config(), data=dataclasses.replace(Config().data, root="elsewhere", workers=7), seed=3)
    assert key(Config()) == key(moved)
    halved = dataclasses.replace(Config(), model=dataclasses.replace(Config().model, dtype="bfloat16"))
    split = dataclasses.replace(Config(), training=dataclasses.replace(Config().training, mesh=(("fsdp", 4),)))
    assert len({key(Config()), key(Config(), 8), key(halved), key(split)}) == 4


def test_committed_plans_are_found_again():
    """The documented command compiles nothing anew while jax and libtpu are those of the results."""
    files = list((Path(__file__).parents[2] / "docs" / "results" / "pods").glob("*.json"))
    assert files
    for file in files:
        plan, config = PlannedStep.read(file), read_config(load_config_file("echonet_dynamic"))
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, dtype=plan.dtype))
        key = program_key(config, plan.clips_per_chip, jax_version=plan.jax, libtpu_version=plan.libtpu)
        assert file.stem.endswith(key), f"{file.name}: its step is now {key}"


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed (pip install .[tpu])")
def test_a_small_step_is_compiled_for_a_slice(tmp_path: Path):
    command = [sys.executable, "scripts/pod_plan.py", "--topology=v5e:2x2", "--model=small", f"--out={tmp_path}"]
    root, alone = Path(__file__).parents[2], {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(command, cwd=root, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.json")
    plan = PlannedStep.read(file)
    assert plan.chips == 4 and plan.flops > 0 and plan.collectives["all-reduce"].bytes > 0
    assert set(plan.collectives) == {"all-reduce"} and "v5e:2x2 (4 chips)" in done.stdout
