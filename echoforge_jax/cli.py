"""What the entry points share: exit codes, quiet logs, and errors as one message without a traceback."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import jax
from absl import app, logging

from data_pipelines.formats.splits import SplitError
from data_pipelines.loader import EmptySplit
from data_pipelines.records import UnreadableRecord
from echoforge_jax.cluster import LAUNCH, LaunchError
from echoforge_jax.config import ConfigError
from echoforge_jax.training.checkpoint import CheckpointError
from echoforge_jax.training.loop import NonFiniteLoss

OK, FAILED, USAGE, NON_FINITE, STORAGE, INTERRUPTED, KILLED_BY_USER = 0, 1, 2, 3, 74, 75, 130


@contextmanager
def exit_with() -> Iterator[None]:
    """Known faults end the process with a message and a code of their own; anything else is a bug and shows its trace.

    2: configuration, data or paths. 3: non-finite loss. 74: a checkpoint or file could not be written or read.
    76: the processes of a cluster run did not come together, or one was lost.
    130: a second Ctrl-C.
    """
    logging.set_verbosity(logging.ERROR)  # Orbax and JAX tell their every step otherwise
    try:
        yield
    except (
        ConfigError, EmptySplit, SplitError, UnreadableRecord, FileNotFoundError, NotADirectoryError, PermissionError,
    ) as error:  # fmt: skip
        _stop(error, USAGE)
    except NonFiniteLoss as error:
        _stop(error, NON_FINITE)
    except CheckpointError as error:
        _stop(error, STORAGE)
    except LaunchError as error:
        _stop(error, LAUNCH)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        _stop(error, STORAGE)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(KILLED_BY_USER)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(FAILED)


def parse_flags(arguments: list[str]) -> list[str]:
    """For `app.run(flags_parser=...)`: absl's own parsing, with a misspelt --config field as a message too."""
    try:
        return app.parse_flags_with_usage(arguments)
    except (AttributeError, KeyError) as error:  # what a locked ConfigDict raises
        text = " ".join(str(error.args[0]).replace("\\n", " ").split())
        return _stop(ConfigError(f"a --config.* flag names a field that does not exist: {text}"), USAGE)


def _stop(error: Exception, code: int) -> NoReturn:
    print(f"error: {error}", file=sys.stderr, flush=True)
    if jax.distributed.is_initialized():
        os._exit(code)  # the others shall know at once: an ordinary exit would wait for them
    sys.exit(code)
