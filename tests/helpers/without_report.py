"""Starts `python -m MODULE` without drawing the report: `python -m tests.helpers.without_report MODULE ...`.

The report takes a third of the time of a small run, and has tests of its own.
"""

import runpy
import sys

import echoforge_jax.report.folder


def _draw_nothing(*_: object, **__: object) -> None:
    pass


if __name__ == "__main__":
    echoforge_jax.report.folder.write_report = _draw_nothing
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
