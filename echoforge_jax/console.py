"""What every command shares: its flags, its progress bar, and errors as one message with an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import rich.console
import rich.progress
from absl import flags, logging

from data_pipelines.errors import DataError
from echoforge_jax import compilation, interruption
from echoforge_jax.config.files import resolve_flag
from echoforge_jax.config.renamed import with_numeric_none
from echoforge_jax.distributed import processes
from echoforge_jax.errors import FAILED, INTERRUPTED, KILLED_BY_USER, OK, STORAGE, USAGE, ConfigError, EchoForgeError
from echoforge_jax.flags_help import HELP_FLAGS, help_text

PATH_FAULTS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError, PermissionError)
NAME_FAULTS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


@contextmanager
def errors_as_messages(compilation_cache: str | None = None) -> Iterator[None]:
    """Ends the process with a message and an exit code where a known fault is raised inside.

    The code is the error's own (`echoforge_jax.errors`, `data_pipelines.errors`); paths that do not exist or cannot be
    read or written count as faults of input (2), a full disk and every other fault of the file system as one of
    storage (74), and a second Ctrl-C ends with 130. Anything else is a bug: its trace is shown.

    Compiled programs are kept from here on (`compilation.keep_programs`).

    Args:
        compilation_cache: where; None takes the environment's folder or the default.
    """
    logging.set_verbosity(logging.ERROR)  # Orbax and JAX report every one of their own steps otherwise
    try:
        compilation.keep_programs(compilation_cache)
        compilation.silence_alarm()
        with interruption.unwinding():
            yield
    except interruption.Stopped as stopped:
        sys.stdout.flush()
        if processes.has_joined():
            processes.let_others_stop()
        os._exit(int(stopped.code or INTERRUPTED))  # an ordinary exit would wait for XLA's compilation, and can crash
    except (EchoForgeError, DataError) as error:
        _stop(error, error.exit_code)
    except PATH_FAULTS as error:
        _stop(error, USAGE)
    except OSError as error:
        _stop(error, USAGE if error.errno in NAME_FAULTS else STORAGE)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(KILLED_BY_USER)
    except Exception:
        if interruption.received():  # a signal to the whole group also ends the processes that work for this one
            interruption.end_now("stopped; the same command goes on", INTERRUPTED)
        if not processes.has_joined():
            raise
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(FAILED)


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses a command line for `app.run(flags_parser=...)`.

    The value of `--config` may be the name of a configuration that ships with the project. `--help` prints a short help
    and ends the process. A fault in a flag ends it with a message and exit code 2.
    """
    if any(argument in HELP_FLAGS for argument in arguments[1:]):
        print(help_text())
        sys.exit(OK)
    try:
        rest = flags.FLAGS(_with_config_paths([with_numeric_none(argument) for argument in arguments]))
    except flags.Error as error:
        text = re.sub(
            r"Error whilst parsing config file:.*\n(?:[\w.]*ConfigError|ValueError): ", "", str(error), flags=re.DOTALL
        )
        return _stop(ConfigError(f"{text.strip()} (--help lists the flags)"), USAGE)
    except ConfigError as error:
        return _stop(error, USAGE)
    except (AttributeError, KeyError) as error:  # what a locked ConfigDict raises
        text = " ".join(str(error.args[0]).replace("\\n", " ").split())
        return _stop(ConfigError(f"a --config.* flag names a field that does not exist: {text}"), USAGE)
    except (ValueError, TypeError, IndexError) as error:  # of a value that is no text of its type
        return _stop(ConfigError(f"a --config.* flag holds a value of another type: {error}"), USAGE)
    if len(rest) > 1:
        return _stop(
            ConfigError(f"{rest[1]} belongs to no flag; expected --FLAG=VALUE (--help lists the flags)"), USAGE
        )
    return rest


def _with_config_paths(arguments: list[str]) -> list[str]:
    """Replaces the names in `--config=NAME` and `--config NAME` by paths."""
    resolved = list(arguments)
    for i, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag not in ("--config", "-config"):
            continue
        if equals:
            resolved[i] = f"{flag}={resolve_flag(value)}"
        elif i + 1 < len(arguments):
            resolved[i + 1] = resolve_flag(arguments[i + 1])
    return resolved


def _stop(error: Exception, code: int) -> NoReturn:
    text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    print(f"error: {text}", file=sys.stderr, flush=True)
    if processes.has_joined():
        os._exit(code)  # the other processes must know at once: an ordinary exit would wait for them
    sys.exit(code)


def progress_bar() -> rich.progress.Progress:
    """A bar with done/total, a note, elapsed and left time; silent where there is no terminal, and in all processes but
    the main one."""
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[note]}"),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("left"),
        rich.progress.TimeRemainingColumn(),
        console=rich.console.Console(file=sys.stderr),
        disable=not sys.stderr.isatty() or not processes.is_main(),
    )


def say(message: str) -> None:
    """A line for the person who watches, from the main process."""
    if processes.is_main():
        print(message, file=sys.stderr, flush=True)
