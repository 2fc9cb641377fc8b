"""FlameRise (eq. 7-8) against the paper's piecewise formulas."""

import jax
import pytest

from echoforge_jax.config import FlameRiseConfig
from echoforge_jax.training import flamerise

STEPS = 7  # an epoch
CASES = [  # epochs, burn_in, ramp_end -> E0, E1
    (50, 0.1, 0.6, 5, 30),
    (10, 0.1, 0.6, 1, 6),
    (20, 0.0, 1.0, 0, 20),
    (10, 0.3, 0.4, 3, 4),
    (10, 0.5, 0.5, 5, 5),
]


def schedules_of(config: FlameRiseConfig, epochs: int = 50) -> flamerise.FlameRise:
    return flamerise.by_step(config, epochs=epochs, steps_per_epoch=STEPS)


@pytest.fixture(autouse=True)
def _standard_promotion():
    """As the step calls them: optax mixes Python floats and integer counts."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def weight_oracle(e: float, first: int, last: int, maximum: float) -> float:
    """Eq. 7."""
    if e <= first:
        return 0.0
    return maximum * (e - first) / (last - first) if e <= last else maximum


def threshold_oracle(e: float, first: int, last: int, start: float, end: float) -> float:
    """Eq. 8."""
    if e <= first:
        return start
    return start - (start - end) * (e - first) / (last - first) if e <= last else end


@pytest.mark.parametrize(("epochs", "burn_in", "ramp_end", "first", "last"), CASES)
def test_eq_7_and_8_at_every_epoch(epochs: int, burn_in: float, ramp_end: float, first: int, last: int):
    """Every epoch from 1, E0, E0+1, E1 and E1+1 among them, at the first and the last step of each."""
    semi = FlameRiseConfig(burn_in=burn_in, ramp_end=ramp_end, lambda_max=0.8, tau_start=0.9, tau_end=0.6)
    schedules = schedules_of(semi, epochs)
    seen = set()
    for e in range(1, epochs + 2):
        for step in ((e - 1) * STEPS, e * STEPS - 1):
            assert float(schedules.pseudo_weight(step)) == pytest.approx(weight_oracle(e, first, last, 0.8), abs=1e-6)
            expected = threshold_oracle(e, first, last, 0.9, 0.6)
            assert float(schedules.threshold(step)) == pytest.approx(expected, abs=1e-6)
        seen.add(e)
    assert {first + 1, last, last + 1} <= seen


def test_the_papers_run_at_its_corners():
    """50 epochs with the defaults: E0 = 5, E1 = 30; written out."""
    schedules = schedules_of(FlameRiseConfig())
    first_step = {e: (e - 1) * STEPS for e in (1, 5, 6, 30, 31, 50)}
    weight = {e: float(schedules.pseudo_weight(s)) for e, s in first_step.items()}
    assert weight == pytest.approx({1: 0.0, 5: 0.0, 6: 0.04, 30: 1.0, 31: 1.0, 50: 1.0}, abs=1e-6)
    threshold = {e: float(schedules.threshold(s)) for e, s in first_step.items()}
    assert threshold == pytest.approx({1: 0.95, 5: 0.95, 6: 0.942, 30: 0.75, 31: 0.75, 50: 0.75}, abs=1e-6)
    assert weight[5] == 0.0  # exactly: the step without pseudo-labels runs until then


def test_without_flamerise_both_are_constant_from_the_first_epoch():
    schedules = flamerise.by_step(
        FlameRiseConfig(enabled=False, lambda_max=0.7, tau_end=0.8), epochs=50, steps_per_epoch=STEPS
    )
    for step in (0, 1, 10 * STEPS, 50 * STEPS):
        assert float(schedules.pseudo_weight(step)) == pytest.approx(0.7)
        assert float(schedules.threshold(step)) == pytest.approx(0.8)


def test_per_step_follows_the_fraction_of_the_epoch():
    """With e = step / steps an epoch; between whole epochs it differs from the stairs."""
    semi = FlameRiseConfig(per_step=True)
    schedules, stairs = (schedules_of(semi), schedules_of(FlameRiseConfig()))
    for step in range(50 * STEPS):
        e = step / STEPS
        assert float(schedules.pseudo_weight(step)) == pytest.approx(weight_oracle(e, 5, 30, 1.0), abs=1e-5)
        assert float(schedules.threshold(step)) == pytest.approx(threshold_oracle(e, 5, 30, 0.95, 0.75), abs=1e-5)
    inside = [10 * STEPS, 10 * STEPS + 3]
    assert float(schedules.pseudo_weight(inside[0])) < float(schedules.pseudo_weight(inside[1]))
    assert float(stairs.pseudo_weight(inside[0])) == float(stairs.pseudo_weight(inside[1]))


def test_schedules_run_inside_a_compiled_step():
    """The step's counter is a traced int32."""
    schedules = schedules_of(FlameRiseConfig())
    both = jax.jit(lambda step: (schedules.pseudo_weight(step), schedules.threshold(step)))
    weight, threshold = both(jax.numpy.asarray(5 * STEPS, "int32"))
    assert float(weight) == pytest.approx(0.04) and float(threshold) == pytest.approx(0.942)
