"""The command `echoforge`: one subcommand for each task. It starts the modules that `python -m` starts, and is quick
to answer because it imports a module only when its subcommand is given."""

from __future__ import annotations

import dataclasses
import difflib
import runpy
import sys

from echoforge_jax import __version__, interruption
from echoforge_jax.completion import SHELLS, completion_script


@dataclasses.dataclass(frozen=True)
class Subcommand:
    """One task of the command line.

    Attributes:
        name: what follows `echoforge`.
        module: what `python -m` would start.
        group: heading in the help.
        summary: what it does, in one sentence.
    """

    name: str
    module: str
    group: str
    summary: str


SUBCOMMANDS = (
    Subcommand("train", "echoforge_jax.train", "Networks", "Trains a network, scores it and writes a report."),
    Subcommand("evaluate", "echoforge_jax.evaluate", "Networks", "Scores a trained network, or masks of any system."),
    Subcommand("export", "echoforge_jax.export", "Networks", "Writes a trained network as one file or a program."),
    Subcommand(
        "reproduce", "echoforge_jax.reproduction.command", "Networks", "Makes the tables and figures of the paper."
    ),
    Subcommand("doctor", "data_pipelines.doctor", "Data", "Checks a data set and lists what is missing or suspicious."),
    Subcommand("prepare", "data_pipelines.prepare", "Data", "Writes a large data set as a store of ArrayRecord files."),
    Subcommand("simulate", "data_pipelines.simulator", "Data", "Writes a simulated data set with known volumes."),
)
_COMPLETION = Subcommand("completion", "", "Other", f"Prints a completion script for {', '.join(SHELLS)}.")


def help_text() -> str:
    """Lists the subcommands, one sentence each, in groups."""
    lines = ["EchoForge segments the left ventricle in echocardiography clips.", ""]
    lines += ["usage: echoforge SUBCOMMAND [--flag=value ...]", "       echoforge SUBCOMMAND --help"]
    everything = (*SUBCOMMANDS, _COMPLETION)
    for group in dict.fromkeys(subcommand.group for subcommand in everything):
        lines += ["", f"{group}:"]
        lines += [f"  {each.name:<12}{each.summary}" for each in everything if each.group == group]
    lines += ["", "A first look:  echoforge train --config=quickstart", "Version:       echoforge --version"]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Runs one subcommand and returns the exit code; 2 for a fault in the command line.

    Args:
        arguments: what follows the name of the program; None for those of this process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    modules = {subcommand.name: subcommand.module for subcommand in SUBCOMMANDS}
    if name in modules:
        if modules[name].startswith("echoforge_jax."):
            interruption.install()  # the modules of data_pipelines end in their own ways
        sys.argv = [f"echoforge {name}", *rest]
        runpy.run_module(modules[name], run_name="__main__", alter_sys=True)
        return 0
    if name in ("", "help", "--help", "-h"):
        print(help_text())
        return 0 if name else 2
    if name in ("version", "--version"):
        print(f"echoforge_jax {__version__}")
        return 0
    if name == _COMPLETION.name:
        return _print_completion(rest)
    close = difflib.get_close_matches(name, [*modules, _COMPLETION.name], n=1)
    suggestion = f"did you mean {close[0]}? " if close else ""
    print(f"error: {name} is no subcommand of echoforge; {suggestion}echoforge --help lists them", file=sys.stderr)
    return 2


def _print_completion(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        print(f"usage: echoforge completion {'|'.join(SHELLS)}", file=sys.stderr)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    print(completion_script(arguments[0], {each.name: each.summary for each in SUBCOMMANDS}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
