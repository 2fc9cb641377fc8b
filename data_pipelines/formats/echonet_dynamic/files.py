"""Finds the files of an EchoNet tree, in any case of their names: the two tables, the videos, and what is neither.

EchoNet-Dynamic is one folder with FileList.csv, VolumeTracings.csv and Videos/. EchoNet-Pediatric has such a folder for
each view: A4C and PSAX. A4C is read; the parasternal short axis is no apical view.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

from data_pipelines.errors import DataError

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".m4v", ".webm", ".wmv", ".mpg", ".mpeg")
NOT_APICAL = ("psax", "plax")
SIMULATED = ("cohort.json", "truth.csv")  # what the simulator writes beside its trees


class NotApical(DataError):
    """The folder holds videos of a view that is not apical."""


@dataclasses.dataclass(frozen=True)
class TreeFiles:
    """The files of one tree.

    Attributes:
        folder: the folder of the tables.
        file_list: FileList.csv.
        tracings: VolumeTracings.csv.
        videos: the folder of the videos.
        is_pediatric: whether the folder is A4C of EchoNet-Pediatric.
        other_views: folders beside A4C that hold other views and are not read.
        unread: files and folders that belong to neither table nor videos, by path below `folder`.
    """

    folder: Path
    file_list: Path
    tracings: Path
    videos: Path
    is_pediatric: bool
    other_views: tuple[str, ...]
    unread: tuple[str, ...]


def find_files(root: Path) -> TreeFiles:
    """Finds the files of a tree.

    Args:
        root: the folder with FileList.csv, VolumeTracings.csv and Videos/; or the folder with A4C/.

    Raises:
        FileNotFoundError: one of the three is missing.
        NotApical: the folder is one of the parasternal views.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder: EchoNet-Dynamic is two CSV files and Videos/")
    views = _views(root)
    folder = views.get("a4c", root)
    if root.absolute().name.lower() in NOT_APICAL or (views and "a4c" not in views):
        raise NotApical(
            f"{root} holds {', '.join(path.name for path in views.values()) or root.name} of EchoNet-Pediatric, which "
            "is no apical view: give the folder with A4C"
        )
    file_list, tracings = _named(folder, "FileList.csv"), _named(folder, "VolumeTracings.csv")
    videos = _named(folder, "Videos", "Video")
    for name, path in (("FileList.csv", file_list), ("VolumeTracings.csv", tracings), ("Videos", videos)):
        if path is None:
            there = sorted(os.listdir(folder))
            raise FileNotFoundError(
                f"{folder / name} is missing: EchoNet-Dynamic is two CSV files and Videos/; there are {there[:5]}"
            )
    assert file_list is not None and tracings is not None and videos is not None
    known = {file_list.name, tracings.name, videos.name, *SIMULATED}
    unread = sorted(name for name in os.listdir(folder) if name not in known and _is_data(name))
    return TreeFiles(
        folder,
        file_list,
        tracings,
        videos,
        is_pediatric=folder.absolute().name.lower() == "a4c",
        other_views=tuple(path.name for name, path in views.items() if name != "a4c"),
        unread=tuple(unread),
    )


def holds_tree(folder: Path) -> bool:
    """Says whether a folder looks like an EchoNet tree: it, or a folder of a view in it, has one of the tables."""
    return any(_named(folder, name) for name in ("FileList.csv", "VolumeTracings.csv")) or bool(_views(folder))


def stem(name: str) -> str:
    """Returns the name of a video without its folders and its suffix."""
    return key(name).rpartition("/")[2]


@functools.lru_cache(maxsize=4096)  # a table of tracings names every video 42 times
def key(name: str) -> str:
    """Returns the path of a video below Videos/, without its suffix, with / between folders."""
    path = name.strip().replace("\\", "/")
    path = re.sub(r"^(.*/)?videos?/", "", path, flags=re.IGNORECASE)
    path = path.removeprefix("./")
    suffix = next((suffix for suffix in VIDEO_SUFFIXES if path.lower().endswith(suffix)), "")
    return path[: len(path) - len(suffix)]


@dataclasses.dataclass(frozen=True)
class Videos:
    """The videos of a tree.

    Attributes:
        by_key: the files by their path below the folder without the suffix; several where only the suffix differs.
        others: files below it that are no videos, by path below the folder.
    """

    by_key: Mapping[str, list[Path]]
    others: tuple[str, ...]


def list_videos(folder: Path) -> Videos:
    """Lists the videos in a folder and all below it; hidden files are passed over.

    Args:
        folder: Videos/ of a tree.
    """
    by_key: dict[str, list[Path]] = {}
    others: list[str] = []
    for where, folders, names in os.walk(folder):
        visible = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in visible if not name.lower().endswith(VIDEO_SUFFIXES)]
        for name in sorted([*names, *(set(visible) - set(folders))]):
            place = (Path(where) / name).relative_to(folder)
            if name.startswith("."):
                continue
            if name.lower().endswith(VIDEO_SUFFIXES):
                by_key.setdefault(key(place.as_posix()), []).append(folder / place)
            else:
                others.append(place.as_posix())
    return Videos(by_key, tuple(sorted(others)))


def _views(root: Path) -> Mapping[str, Path]:
    """Returns the folders of views of EchoNet-Pediatric below a folder, by name in lower case."""
    if not root.is_dir():
        return {}
    folders = {name.lower(): root / name for name in sorted(os.listdir(root)) if (root / name).is_dir()}
    wanted = ("a4c", *NOT_APICAL)
    return {name: folders[name] for name in wanted if name in folders and _named(folders[name], "FileList.csv")}


def _named(folder: Path, *names: str) -> Path | None:
    """Returns the path of the first of these names that is there, the exact one first, then in any case."""
    there = sorted(os.listdir(folder))
    for name in names:
        for found in (name, *there):
            if found in there and found.lower() == name.lower():
                return folder / found
    return None


def _is_data(name: str) -> bool:
    """Says whether a file or folder may hold data: it is neither hidden nor a text on the data set."""
    lower = name.lower()
    return not lower.startswith((".", "readme", "license", "licence")) and not lower.endswith((".txt", ".md", ".pdf"))
