"""The two file trees in which a simulated data set can be written: that of CAMUS and that of EchoNet-Dynamic."""

from __future__ import annotations

import abc
import csv
import dataclasses
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_pipelines.files import write_atomically
from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.records import VIEWS, Clip
from data_pipelines.simulator.patient import Patient

PARTS = "parts"  # folder with one EchoNet tree for each patient, until all are joined

Split = Mapping[str, Sequence[str]]  # names of the patients of "train", "validation" and "test"


@dataclasses.dataclass(frozen=True)
class Tree(abc.ABC):
    """How a data set lies on disk.

    Attributes:
        name: name of the tree, and of the population that it holds.
        views: views of every patient.
        default_frames: frames of a clip where nothing else is asked for.
        default_size: height and width in pixels where nothing else is asked for.
    """

    name: str
    views: tuple[str, ...]
    default_frames: int
    default_size: int

    @abc.abstractmethod
    def cycle(self, patient: Patient, view: str) -> str:
        """Returns the part of the heart cycle that a clip shows, as `ClipSettings.cycle` names it.

        Args:
            patient: whose heart is shown.
            view: "2CH" or "4CH".
        """

    @abc.abstractmethod
    def write(self, clip: Clip, out: Path) -> None:
        """Writes one clip.

        Args:
            clip: the clip.
            out: folder of the data set.
        """

    @abc.abstractmethod
    def begin(self, out: Path, split: Split) -> None:
        """Writes what has to be there before the first clip.

        Args:
            out: folder of the data set.
            split: patients of every split.
        """

    @abc.abstractmethod
    def finish(self, out: Path, split: Split) -> None:
        """Completes the tree when all clips are there; after an interruption it can be called again.

        Args:
            out: folder of the data set.
            split: patients of every split.
        """


class _CamusTree(Tree):
    """Both views of every patient; a half cycle each, which in one clip of ten runs backwards."""

    def cycle(self, patient: Patient, view: str) -> str:
        """Draws one half of the cycle."""
        return patient.half_cycle(view)

    def write(self, clip: Clip, out: Path) -> None:
        """Writes NIfTI files into the folder of the patient."""
        camus.write_clip(clip, out)

    def begin(self, out: Path, split: Split) -> None:
        """Writes the folder database_split."""
        camus.write_split(out, split)

    def finish(self, out: Path, split: Split) -> None:
        """Does nothing, because every clip has its own files."""


class _EchonetTree(Tree):
    """Videos of the four-chamber view at 50 frames per second that begin at any instant of the heart cycle."""

    def cycle(self, patient: Patient, view: str) -> str:
        """Returns "beats"."""
        return "beats"

    def write(self, clip: Clip, out: Path) -> None:
        """Writes a tree with one video, to be joined with the others later."""
        echonet_dynamic.write_tree([clip], out / PARTS / clip.patient_id, {clip.patient_id: "TRAIN"})

    def begin(self, out: Path, split: Split) -> None:
        """Does nothing, because the split is a column of FileList.csv, which is written last."""

    def finish(self, out: Path, split: Split) -> None:
        """Joins the trees of all patients to one."""
        subset_of = {name: echonet_dynamic.SPLIT_VALUES[part] for part, names in split.items() for name in names}
        (out / "Videos").mkdir(exist_ok=True)
        for file_name in ("VolumeTracings.csv", "FileList.csv"):
            rows: list[list[str]] = []
            for name in sorted(subset_of):
                with (out / PARTS / name / file_name).open(newline="") as file:
                    header, *lines = csv.reader(file)
                if file_name == "FileList.csv":
                    lines = [[*line[:-1], subset_of[name]] for line in lines]
                rows += lines if rows else [header, *lines]
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows(rows)
            write_atomically(out / file_name, text.getvalue().encode())
        for name in sorted(subset_of):
            if (video := out / PARTS / name / "Videos" / f"{name}.avi").exists():
                os.replace(video, out / "Videos" / video.name)
        shutil.rmtree(out / PARTS)


TREES: dict[str, Tree] = {
    tree.name: tree
    for tree in (
        _CamusTree(name="camus", views=VIEWS, default_frames=16, default_size=256),
        _EchonetTree(name="echonet", views=("4CH",), default_frames=150, default_size=112),
    )
}
