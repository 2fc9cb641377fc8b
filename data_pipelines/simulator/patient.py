"""A simulated patient: a number in a seeded population. Everything random about the patient follows from it."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_pipelines.records import VIEWS
from data_pipelines.simulator.heart import Heart
from data_pipelines.simulator.population import POPULATIONS, sample_heart

# Streams of random numbers of one patient. Those of a view are one number further for each view.
HEART_STREAM, CLIP_STREAM, HALF_CYCLE_STREAM = 0, 1, 11
REVERSED_SHARE = 0.1  # of the half sequences of a CAMUS tree run from end-systole to end-diastole, as in the release


def patient_name(number: int) -> str:
    """Returns the name of a patient, for example "patient0001"."""
    return f"patient{number:04d}"


@dataclasses.dataclass(frozen=True)
class Patient:
    """One patient; equal patients have equal hearts and equal clips.

    Attributes:
        seed: seed of the population.
        number: number of the patient, which also names the patient.
        population: "camus" or "echonet", a key of `POPULATIONS`.

    Raises:
        ValueError: the population has another name.
    """

    seed: int
    number: int
    population: str = "camus"

    def __post_init__(self) -> None:
        if self.population not in POPULATIONS:
            raise ValueError(
                f"population is {self.population!r}; expected one of {', '.join(POPULATIONS)}: choose one of these"
            )

    @property
    def name(self) -> str:
        """Name of the patient, for example "patient0001"."""
        return patient_name(self.number)

    def heart(self) -> Heart:
        """Returns the heart that every view of this patient shows."""
        return sample_heart(self._random(HEART_STREAM), POPULATIONS[self.population])

    def clip_random(self, view: str) -> np.random.Generator:
        """Returns the generator from which everything about a view, except the heart, is drawn."""
        return self._random(CLIP_STREAM + VIEWS.index(view))

    def half_cycle(self, view: str) -> str:
        """Returns which half of the heart cycle a CAMUS tree holds of this view: "ejection" or "filling"."""
        draw = self._random(HALF_CYCLE_STREAM + VIEWS.index(view)).random()
        return "filling" if draw < REVERSED_SHARE else "ejection"

    def _random(self, stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, self.number, stream]))
