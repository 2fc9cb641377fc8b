"""An interval around an ejection fraction that holds: calibrated on patients whose reference is known (conformal).

Sources: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; Lei et al., J Am Stat Assoc
113(523), 2018 (split conformal prediction). If a new patient is like the calibration patients, the interval covers the
reference with at least the stated probability, whatever the distribution of errors. It says nothing of patients who
are unlike them (another scanner, another disease).
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

RESIDUALS_FILE = "ef_residuals.json"
COVERAGE = 0.9
Correction = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]


@dataclasses.dataclass(frozen=True)
class Interval:
    """What is added to a measured value to have both ends of its interval.

    Attributes:
        low: usually negative, in the unit of the residuals.
        high: usually positive.
        coverage: share of patients whose reference lies between both ends, at least.
        n_patients: number of patients it was calibrated on.
    """

    low: float
    high: float
    coverage: float
    n_patients: int

    def around(self, ef_percent: float) -> tuple[float, float]:
        """Returns both ends for an ejection fraction in per cent, within 0 and 100."""
        return max(ef_percent + self.low, 0.0), min(ef_percent + self.high, 100.0)


def conformal_interval(residuals: Float[np.ndarray, " n"], *, coverage: float) -> Interval:
    """Calibrates an interval on the residuals of patients that the network was not trained on.

    With n sorted residuals the ends are those of rank floor((n + 1) a / 2) and ceil((n + 1) (1 - a / 2)), where a is
    1 - coverage. Both tails have the same probability, so a bias of the measurement moves the interval.

    Args:
        residuals: reference minus measurement of every calibration patient, (n,), all finite.
        coverage: the wanted share, between 0 and 1.

    Raises:
        ValueError: coverage is not between 0 and 1, a residual is not finite, or there are too few for that coverage.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}; expected a share between 0 and 1")
    if not np.isfinite(residuals).all():
        raise ValueError("a residual is not finite: leave patients without a measurement out and count them")
    n, tail = len(residuals), (1 - coverage) / 2
    lowest = math.floor((n + 1) * tail + 1e-9)
    if lowest < 1:
        raise ValueError(
            f"{n} patients are too few for an interval of {coverage:.0%}; expected at least {math.ceil(1 / tail) - 1}"
        )
    ranked = np.sort(residuals)
    return Interval(float(ranked[lowest - 1]), float(ranked[n - lowest]), coverage, n)


def released_interval(network: str, method: str, *, coverage: float = COVERAGE) -> Interval | None:
    """Returns the interval of a released network, calibrated on CAMUS patients 351 to 400.

    None of these patients trained the network, but they chose its best epoch.

    Args:
        network: "camus-small" or "echoforge_camus_256".
        method: "biplane_discs", "biplane_discs_unscaled" or "single_plane_discs".
        coverage: the wanted share, between 0 and 1.

    Returns:
        The interval, or None where this network or method was not calibrated.

    Raises:
        ValueError: coverage is not between 0 and 1, or asks for more patients than there are.
    """
    residuals = _released_residuals().get(network, {}).get(method)
    return None if residuals is None else conformal_interval(np.array(residuals), coverage=coverage)


@functools.cache
def _released_residuals() -> dict[str, dict[str, list[float]]]:
    """Reads reference minus measurement of every calibration patient, by network and method, in EF points."""
    file = importlib.resources.files("echoforge_jax.measurement") / RESIDUALS_FILE
    return json.loads(file.read_text(encoding="utf-8"))


def fit_line(measured: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"]) -> Correction:
    """Fits reference = offset + slope * measured by least squares and returns it as a function of new measurements.

    Args:
        measured: ejection fractions of the network's masks, per cent.
        reference: ejection fractions of the reference masks, per cent.
    """
    slope, offset = np.polyfit(measured, reference, 1)

    def correct(new: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        return offset + slope * new

    return correct


def cross_fit(
    measured: Float[np.ndarray, " n"],
    reference: Float[np.ndarray, " n"],
    fit: Callable[..., Correction],
    *,
    folds: int,
    seed: int,
) -> Float[np.ndarray, " n"]:
    """Corrects every patient by what was fitted on the other folds.

    Args:
        measured: ejection fractions of the network's masks, per cent.
        reference: ejection fractions of the reference masks, per cent.
        fit: takes both of the other folds and returns a correction, e.g. `fit_line`.
        folds: number of folds, at least 2.
        seed: seed of the division into folds.
    """
    fold = np.random.default_rng(seed).permutation(len(measured)) % folds
    corrected = np.empty(len(measured))
    for one in range(folds):
        held = fold == one
        corrected[held] = fit(measured[~held], reference[~held])(measured[held])
    return corrected
