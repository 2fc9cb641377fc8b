"""data_pipelines.files."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(path: Path) -> Path:
    """The folder, made with its parents where it is missing; an OSError that says what to do where that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror}: the folder cannot be made, write elsewhere", str(path)
        ) from error
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes the file whole or not at all: under another name first, then renamed.

    Raises:
        OSError: with what to do in its message (PermissionError in a read-only folder).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        advice = f"{error.strerror}: is the folder writable, and is there room?"
        raise OSError(error.errno, advice, str(path)) from error
