"""Simulated clips that several tests look at: each is simulated once in a test session."""

import functools

from data_pipelines.records import Clip
from data_pipelines.simulator.clip import ClipSettings, simulate_clip
from data_pipelines.simulator.patient import Patient


@functools.cache
def simulated_clip(patient: Patient, view: str, settings: ClipSettings) -> Clip:
    """Returns what `simulate_clip` returns. Tests must not change its arrays, which are read-only."""
    clip = simulate_clip(patient, view, settings)
    for array in (clip.frames, clip.label_map, clip.has_reference):
        array.flags.writeable = False
    return clip
