"""Commands of the package run as `python -m` runs them, but in this process: no import and no compilation anew."""

import contextlib
import io
import runpy
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

from absl import flags


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code.
        out: what it printed for programs, on the standard output.
        err: what it said to the person who watches, on the standard error.
    """

    code: int
    out: str
    err: str


def run_command(module: str, *arguments: str) -> Ended:
    """Runs `python -m MODULE ARGUMENTS` in this process and returns how it ended.

    Args:
        module: dotted name of the module to start.
        arguments: the flags of its command line.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    with _own_flags(), warnings.catch_warnings(), mock.patch.object(sys, "argv", [module, *arguments]):
        warnings.filterwarnings("ignore", ".*found in sys.modules after import of package", RuntimeWarning)
        warnings.filterwarnings("ignore", "the load_module", DeprecationWarning)  # ml_collections reads files so
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as stopped:
                code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _own_flags() -> Iterator[None]:
    """Puts the flags of commands aside that were imported in this process: two commands may define the same name."""
    values = flags.FLAGS
    modules = {name: str(values.find_module_defining_flag(name)) for name in values}
    aside = {name: values[name] for name, module in modules.items() if _of_a_command(module)}
    for name in aside:
        delattr(values, name)
    kept, imported = set(values), set(sys.modules)
    try:
        yield
    finally:
        for name in set(values) - kept:
            if values.find_module_defining_flag(name) not in sys.modules.keys() - imported:  # not of what it imported
                delattr(values, name)
        for name, flag in aside.items():
            values[name] = flag
            values.register_flag_by_module(modules[name], flag)
        values.unparse_flags()


def _of_a_command(module: str) -> bool:
    package, _, rest = module.partition(".")
    return package in ("echoforge_jax", "data_pipelines") and not rest.startswith(("distributed", "compilation_flags"))
