"""EchoNet-Dynamic: the tables (`tree`), records (`clips`), videos (`video`) and outlines (`tracings`).

Source of the format and of the rasterisation of the tracings: D. Ouyang et al., "Video-based AI for beat-to-beat
assessment of cardiac function", Nature 580, 2020, and its public code. The data set has one apical four-chamber video
of each patient with two traced frames, and no pixel spacing.
"""

from data_pipelines.formats.echonet_dynamic.clips import read, write_tree
from data_pipelines.formats.echonet_dynamic.tree import SPLIT_VALUES, Entry, index, patient_splits

__all__ = ["SPLIT_VALUES", "Entry", "index", "patient_splits", "read", "write_tree"]
