"""Flags that take the path of a file or folder on this machine. URLs are refused, with a message that names the way."""

from __future__ import annotations

import sys
from typing import Any

from absl import flags

from data_pipelines.local_path import local_path


class _PathParser(flags.ArgumentParser):
    def parse(self, argument: str) -> str:
        return local_path(argument)

    def flag_type(self) -> str:
        return "path"


def define_path(name: str, help_text: str) -> Any:
    """Defines a flag whose value is a path, as text; None where it is not given.

    Args:
        name: of the flag.
        help_text: what it is, in a sentence.
    """
    module = sys._getframe(1).f_globals["__name__"]
    return flags.DEFINE(
        _PathParser(), name, None, help_text, module_name=sys.argv[0] if module == "__main__" else module
    )
