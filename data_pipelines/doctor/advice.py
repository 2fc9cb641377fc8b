"""What to give instead, where a data set is not of the format that was asked for."""

from __future__ import annotations

from pathlib import Path

from data_pipelines.doctor.layouts import recognise

FORMATS = {"CAMUS": "camus", "EchoNet": "echonet_dynamic", "prepared store": "store"}  # by how a layout begins
NAMES = {"camus": "a CAMUS tree", "echonet_dynamic": "an EchoNet tree", "store": "a prepared store"}


def advise(path: Path, format_name: str) -> str:
    """Says what lies at a path that could not be read as data with references.

    Args:
        path: the folder or file that was given.
        format_name: "camus", "echonet_dynamic" or "store": how it was read.

    Returns:
        What fits, as a sentence; "" where the path does hold that format, or does not exist.
    """
    if not path.exists():
        return ""
    doctor = f"look at it with `python -m data_pipelines.doctor {path}`"
    try:
        tree = recognise(path)
    except (ValueError, OSError) as error:
        return f"it holds no data set that is known ({error}); {doctor}"
    found = next((name for start, name in FORMATS.items() if tree.layout.startswith(start)), None)
    if found is None:
        return f"it holds cines without references, which cannot be scored; {doctor}"
    folder = tree.root or path
    if (found, folder) == (format_name, path):
        return ""
    return f"it looks like {NAMES[found]}: give --data={folder} --format={found}"
