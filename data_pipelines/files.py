"""Writes files and folders so that a stop or a full disk leaves nothing half written."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(path: Path) -> Path:
    """Makes a folder and its parents where they are missing, and returns it.

    Raises:
        OSError: the folder cannot be made; the message says what to do.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror}: the folder cannot be made, write elsewhere", str(path)
        ) from error
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: under another name first, then it is renamed.

    Args:
        path: the file to write; one of that name is replaced.
        content: what it will hold.

    Raises:
        OSError: the file cannot be written (PermissionError in a read-only folder); the message says what to do.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        advice = f"{error.strerror}: is the folder writable, and is there room?"
        raise OSError(error.errno, advice, str(path)) from error
