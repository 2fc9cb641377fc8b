"""The error that all faults of input data share."""

from __future__ import annotations


class DataError(ValueError):
    """Data cannot be used as they are: the message says what was found, what was expected and what to do.

    Attributes:
        exit_code: what a command that ends with this error returns to the shell.
    """

    exit_code = 2
