"""A flipped bit anywhere in a checkpoint is never trained on, a disk that fills up costs the newest one alone, and what
several devices hold in parts is saved whole."""

import gc
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.errors import CheckpointError
from echoforge_jax.training.checkpoint import Checkpoints, abstract_state, digest
from echoforge_jax.training.state import TrainState
from echoforge_jax.weights.inference_folder import load_inference, save_inference


def state_at(step: int) -> TrainState:
    rng = np.random.default_rng(step)
    params = {name: jnp.asarray(rng.standard_normal((64, 32)), jnp.float32) for name in "abc"}
    return TrainState(step=jnp.asarray(step), params=params, batch_stats={}, opt_state={}, frozen={}, ema={})


def test_the_digest_sees_every_word_and_no_mesh():
    state = state_at(1)
    flipped = jax.tree.map(jnp.copy, state)
    flipped.params["b"] = flipped.params["b"].at[3, 5].multiply(1 + 2**-23)
    assert digest(state, {}) == digest(jax.tree.map(jnp.copy, state), {}) != digest(flipped, {})
    assert digest(state, {}) != digest(state, {"epoch": 1})
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.NamedSharding(mesh, jax.P("data"))
    there = state.replace(params={name: jax.device_put(value, split) for name, value in state.params.items()})
    assert digest(there, {}) == digest(state, {})


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 100 kB: some 24 kB a state."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's own, of its stopped event loop
def test_a_disk_that_fills_up_during_a_save_leaves_the_one_before(small_disk: Path, monkeypatch):
    """The room was there when the save began."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10**12))
    full = pytest.raises(CheckpointError, match=r"disk is full.*last good checkpoint is step 1;")
    with full, Checkpoints(small_disk, keep=9) as checkpoints:
        checkpoints.save(state_at(1), {"epoch": 1})
        checkpoints.wait()
        disk = os.statvfs(small_disk)
        free = disk.f_bavail * disk.f_frsize
        (small_disk / "filler").write_bytes(bytes(free - 12288))
        checkpoints.save(state_at(2), {"epoch": 2})
        checkpoints.wait()
    (small_disk / "filler").unlink()
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with Checkpoints(small_disk, keep=9) as checkpoints:
        state, _ = checkpoints.restore(abstract_state(jax.eval_shape(lambda: state_at(1)), here))
        checkpoints.set_aside_after(1)
        assert checkpoints.latest_step() == 1
    gc.collect()
    jax.tree.map(np.testing.assert_array_equal, state, state_at(1))


def test_a_network_split_over_devices_is_exported_whole(tmp_path: Path):
    mesh = jax.make_mesh((2, 2), ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    split = jax.NamedSharding(mesh, jax.P("fsdp"))
    variables = {"params": {name: jax.device_put(v, split) for name, v in state_at(1).params.items()}}
    save_inference(tmp_path / "inference", variables, {"config": {}})
    found, _ = load_inference(tmp_path / "inference")
    jax.tree.map(np.testing.assert_array_equal, found, {"params": state_at(1).params})
    assert all(len(leaf.devices()) == 1 for leaf in jax.tree.leaves(found))


def flip_bits(root: Path) -> None:
    """In every file of the second of two checkpoints, at three places: what is restored is whole, or the one before."""
    with Checkpoints(root, keep=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(state_at(step), {"epoch": step})
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = abstract_state(jax.eval_shape(lambda: state_at(1)), here)
    noticed = 0
    for file in (root / "checkpoints" / "2").rglob("*"):
        if not file.is_file():
            continue
        content = file.read_bytes()
        for place in (len(content) // 4, len(content) // 2, 3 * len(content) // 4):
            damaged = bytearray(content)
            damaged[place] ^= 1
            file.write_bytes(damaged)
            with Checkpoints(root, keep=2) as checkpoints:
                found, meta = checkpoints.restore(target)
            step = int(found.step)
            jax.tree.map(np.testing.assert_array_equal, found, state_at(step))
            assert meta["epoch"] == step
            noticed += step == 1
        file.write_bytes(content)
    assert noticed >= 3
    with Checkpoints(root, keep=2) as checkpoints:
        assert int(checkpoints.restore(target)[0].step) == 2


def test_a_flipped_bit_is_noticed(tmp_path: Path):
    """In a process of its own: Orbax's failed reads leave coroutines behind that would be collected in another test."""
    program = f"from pathlib import Path; from {__name__} import flip_bits; flip_bits(Path({str(tmp_path)!r}))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "is damaged: its digest is" in done.stderr
