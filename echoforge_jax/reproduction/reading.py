"""Reads the JSON files of a study; what is wrong with one is said with its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echoforge_jax.errors import ConfigError


@contextmanager
def named(file: Path) -> Iterator[None]:
    """Turns what goes wrong with the content of a file into a message with its name.

    Raises:
        ConfigError: the content is not what this program writes.
    """
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # JSON and UTF-8 raise a ValueError
        raise ConfigError(
            f"{file} is garbled ({type(error).__name__}: {error}); restore it, or remove it to have it made again"
        ) from error


def read_json(file: Path) -> Any:
    """Reads a JSON file.

    Raises:
        ConfigError: it is no JSON.
        OSError: it cannot be read.
    """
    with named(file):
        return json.loads(file.read_text(encoding="utf-8"))
