"""Flags that take the path of a file or folder on this machine: `flags.DEFINE(PATH, "workdir", None, "...")`.

URLs are refused, with a message that names the way.
"""

from __future__ import annotations

from absl import flags

from data_pipelines.local_path import local_path


class _PathParser(flags.ArgumentParser):
    def parse(self, argument: str) -> str:
        return local_path(argument)

    def flag_type(self) -> str:
        return "path"


PATH = _PathParser()
