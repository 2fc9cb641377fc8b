"""A flipped bit anywhere in a checkpoint is never trained on."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from echoforge_jax.training.checkpoint import Checkpoints, abstract_state, digest
from echoforge_jax.training.state import TrainState


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
