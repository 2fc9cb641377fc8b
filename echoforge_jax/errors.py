"""Every error that ends a command with a message, and its exit code. Faults of input are `data_pipelines.errors`."""

from __future__ import annotations

OK = 0
FAILED = 1  # a bug: the command shows its trace
USAGE = 2  # configuration, command line or data
NON_FINITE = 3  # the loss is NaN or infinite
STORAGE = 74  # a file could not be written or read
INTERRUPTED = 75  # saved; the same command goes on
LAUNCH = 76  # the processes of a run did not come together, or one was lost
KILLED_BY_USER = 130  # a second Ctrl-C


class EchoForgeError(Exception):
    """A fault that the user can mend: the message says what was found, what was expected and what to do.

    Attributes:
        exit_code: what a command that ends with this error returns to the shell.
    """

    exit_code = USAGE


class ConfigError(EchoForgeError, ValueError):
    """A configuration or a command line that cannot work: names the field, its value and what was expected."""


class NonFiniteLoss(EchoForgeError, ArithmeticError):
    """The loss or its gradient is NaN or infinite; the last checkpoint is untouched."""

    exit_code = NON_FINITE


class CheckpointError(EchoForgeError, RuntimeError):
    """A checkpoint could not be written or read: says where, why, and what is still there."""

    exit_code = STORAGE


class LaunchError(EchoForgeError, RuntimeError):
    """The processes of a run did not come together as promised, or one was lost: says what was found, and why."""

    exit_code = LAUNCH
