"""Every error that ends a command with a message, and its exit code. Faults of input are `data_pipelines.errors`."""

from __future__ import annotations

OK = 0
FAILED = 1  # a bug: the command shows its trace
USAGE = 2  # configuration, command line or data
NON_FINITE = 3  # the loss is NaN or infinite
STORAGE = 74  # a file could not be written or read
INTERRUPTED = 75  # nothing is unsaved; the same command goes on
LAUNCH = 76  # the processes of a run did not come together, or one was lost
FOLDER_LOST = 77  # another command took the run's folder over; nothing was written since
KILLED_BY_USER = 130  # Ctrl-C where nothing was unsaved, or a second one


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


class FolderInUse(ConfigError):
    """Another command works in the folder: says which one, since when, and how to take the folder over."""


class FolderLost(EchoForgeError, RuntimeError):
    """Another command has taken the folder over, so this one ends without writing."""

    exit_code = FOLDER_LOST


class EndedWithMain(EchoForgeError, RuntimeError):
    """The main process of a run ended with a message of its own, and this one ends with the same exit code.

    Attributes:
        exit_code: that of the main process.
    """

    def __init__(self, exit_code: int):
        super().__init__("process 0 ended with this code; its message says why")
        self.exit_code = exit_code
