"""The clock knows who waited for whom; a trace is written of the steps that were asked for."""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.errors import ConfigError
from echoforge_jax.training.clock import Clock
from echoforge_jax.training.profiling import Profile, parse_step_range
from echoforge_jax.training.run_log import RunLog, read_metrics


def slow_step(x: np.ndarray) -> np.ndarray:
    time.sleep(0.2)
    return x


def drive(make_batch, step) -> dict[str, float]:
    clock = Clock()
    for batch in clock.batches(make_batch() for _ in range(6)):
        clock.dispatched(step(batch))
    found = clock.values(batch_clips=4)
    clock.close()
    return found


def test_the_share_of_waiting_tells_slow_data_from_a_slow_device():
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    busy = jax.jit(lambda x: jax.pure_callback(slow_step, shape, x))
    instant = jax.jit(lambda x: x + 1)
    assert np.isfinite(float(busy(1.0)) + float(instant(1.0)))

    def late() -> float:
        time.sleep(0.2)
        return 1.0

    starved = drive(late, instant)
    assert starved["data_wait_share"] > 0.5 and starved["host_memory_gib"] > 0.05
    fed = drive(lambda: 1.0, busy)
    assert fed["data_wait_share"] < 0.3


def test_checkpoints_are_timed_apart():
    clock = Clock()
    with clock.saving():
        time.sleep(0.3)
    clock.dispatched(jnp.zeros(()))
    found = clock.values(batch_clips=2)
    assert found["checkpoint_s"] >= 0.3 > found["step_s"]
    clock.close()


def test_saving_is_no_waiting_for_data():
    clock = Clock()
    for _ in clock.batches(range(3)):
        clock.dispatched(jnp.zeros(()))
        with clock.saving():
            time.sleep(0.3)
    assert clock.values(batch_clips=2)["data_wait_share"] * clock.values(batch_clips=2)["step_s"] < 0.1
    clock.close()


def test_a_trace_of_the_steps_that_were_asked_for(tmp_path: Path):
    profile = Profile(parse_step_range("2:3"), tmp_path / "profile")
    written = []
    for step in range(1, 5):
        profile.before(step)
        profile.after(step, jax.jit(jnp.sin)(float(step)))
        written.append(len(list(tmp_path.rglob("*.xplane.pb"))))
    assert written == [0, 0, 1, 1]
    for text in ("3", "0:2", "5:4", "a:b"):
        with pytest.raises(ConfigError, match="FIRST:LAST"):
            parse_step_range(text)


def test_a_resumed_log_is_on_disk_before_anything_new(tmp_path: Path):
    first = RunLog(tmp_path, 0)
    for step in (1, 2):
        first.write("train", step, 1, {"loss": 1.0 / step})
    first.close()
    again = RunLog(tmp_path, 1)  # a kill now would find this on disk
    assert [line["step"] for line in read_metrics(tmp_path)] == [1]
    again.close()
