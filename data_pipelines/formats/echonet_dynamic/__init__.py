"""EchoNet-Dynamic and the four-chamber view of EchoNet-Pediatric.

`files` finds the tables and videos, `listed` matches their names, `statements` checks what FileList.csv says, `tree`
lists the records, `clips` reads them with `video` and `tracings`.

Source of the format and of the rasterisation of the tracings: D. Ouyang et al., "Video-based AI for beat-to-beat
assessment of cardiac function", Nature 580, 2020, and its public code. The data set has one apical four-chamber video
of each patient with two traced frames, and no pixel spacing. EchoNet-Pediatric (C. Reddy et al., J Am Soc Echocardiogr,
2023) has a folder for each view, polygons as tracings, and ten folds instead of splits.
"""

from data_pipelines.formats.echonet_dynamic.clips import TracedVideo, half_cycle, read, read_traced, write_tree
from data_pipelines.formats.echonet_dynamic.files import NotApical, find_files, holds_tree
from data_pipelines.formats.echonet_dynamic.tree import SPLIT_VALUES, Entry, Leftovers, index, leftovers, patient_splits

__all__ = [
    "SPLIT_VALUES",
    "Entry",
    "Leftovers",
    "NotApical",
    "TracedVideo",
    "find_files",
    "half_cycle",
    "holds_tree",
    "index",
    "leftovers",
    "patient_splits",
    "read",
    "read_traced",
    "write_tree",
]
