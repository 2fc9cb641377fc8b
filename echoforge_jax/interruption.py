"""What SIGTERM and Ctrl-C do to a command, from its first line on.

A command calls `install` before it imports JAX. From then on a signal ends it with a documented exit code:

- In a training's loop the state is saved after the current step (`stop_requests`), exit code 75.
- Anywhere else nothing is unsaved: SIGTERM ends the command with 75, Ctrl-C with 130.

Python runs signal handlers between its own instructions, so a long call into XLA would hold them up. A thread that a
signal wakes at once ends the process after `PATIENCE_S` seconds where it has not ended by itself and nothing is
unsaved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from echoforge_jax.errors import INTERRUPTED, KILLED_BY_USER

PATIENCE_S = 8.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """Raised by a signal outside of a training's loop; its code is the exit code of the process."""


@dataclasses.dataclass
class StopRequest:
    """Whether a training was asked to stop, and what it still has to do.

    A signal handler sets it, so it holds no lock: that of a `threading.Event` could block at a second signal.

    Attributes:
        received: Whether a request came.
        unsaved: Tells whether steps were done that no checkpoint holds.
        saving: Tells whether a checkpoint is being written.
    """

    received: bool = False
    unsaved: Callable[[], bool] = bool
    saving: Callable[[], bool] = bool


@dataclasses.dataclass
class _Process:
    """What is known of this process; there is one, since signals come to a process.

    Attributes:
        installed: Whether `install` was called.
        first_signal: Number of the first signal that came, 0 before it.
        unwinds: Whether a signal raises `Stopped`, so that files and processes are closed; before, while modules are
            imported, there is nothing to close.
        loop: The request that a training's loop answers; None outside of a loop.
        at_signal: Called once, by the watching thread, when the first signal comes.
        at_end: Called before the process is ended without its consent.
        patience_s: Seconds after which the process is ended.
    """

    installed: bool = False
    first_signal: int = 0
    unwinds: bool = False
    loop: StopRequest | None = None
    at_signal: list[Callable[[], None]] = dataclasses.field(default_factory=list)
    at_end: list[Callable[[], None]] = dataclasses.field(default_factory=list)
    patience_s: float = PATIENCE_S


_process = _Process()


def install() -> None:
    """Takes SIGTERM and Ctrl-C over for the whole command. To be called by the main thread, as early as possible."""
    if _process.installed:
        return
    _process.installed = True
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, _handle)
    os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_forget)
    threading.Thread(target=_watch, args=(woken,), name="signals", daemon=True).start()


def handle_again() -> None:
    """Takes SIGTERM over again after a library has put its own handler in place."""
    if _process.installed:
        signal.signal(signal.SIGTERM, _handle)


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Has a signal raise `Stopped` in the block."""
    _process.unwinds = True
    try:
        yield
    finally:
        _process.unwinds = False


def received() -> bool:
    """Tells whether this command was asked to stop."""
    return bool(_process.first_signal)


def at_signal(call: Callable[[], None]) -> None:
    """Has a function called, once and by another thread, when the first signal comes."""
    _process.at_signal.append(call)


def be_patient(seconds: float) -> None:
    """Sets after how many seconds a process that has not ended by itself is ended."""
    _process.patience_s = seconds


@contextlib.contextmanager
def at_end(call: Callable[[], None]) -> Iterator[None]:
    """Has a function called if this process is ended while the block runs (`end_now`)."""
    _process.at_end.append(call)
    try:
        yield
    finally:
        _process.at_end.remove(call)


@contextlib.contextmanager
def stop_requests(
    *, unsaved: Callable[[], bool] = bool, saving: Callable[[], bool] = bool, alone: bool = True
) -> Iterator[StopRequest]:
    """Lets a loop answer SIGTERM and Ctrl-C between its steps; a second Ctrl-C stops at once.

    Without `install` (a training that is called as a library) the signals are taken over for the block alone.

    Args:
        unsaved: tells whether steps were done that no checkpoint holds.
        saving: tells whether a checkpoint is being written.
        alone: whether this process is the only one of its run. One of several leaves the signals to JAX, by which all
            agree on a step, where nobody called `install`.
    """
    stop = StopRequest(received(), unsaved, saving)
    _process.loop = stop
    handlers = {} if _process.installed or not alone else {number: signal.signal(number, _handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        _process.loop = None
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if not _process.installed:
            _process.first_signal = 0


def end_now(message: str, code: int) -> None:
    """Ends this process at once, without its consent, once no checkpoint is being written.

    Args:
        message: what the person who watches is told.
        code: the exit code.
    """
    loop = _process.loop
    while loop is not None and loop.saving():
        time.sleep(0.05)
    tell(message)
    for child in multiprocessing.active_children():
        child.kill()
    for call in reversed(_process.at_end):
        with contextlib.suppress(Exception):
            call()
    os._exit(code)


def tell(message: str) -> None:
    """Writes a line for the person who watches, from any thread and inside a signal handler."""
    with contextlib.suppress(OSError):
        os.write(2, f"{message}\n".encode())


def _handle(number: int, _: FrameType | None) -> None:
    is_second, loop, name = bool(_process.first_signal), _process.loop, signal.Signals(number).name
    _process.first_signal = _process.first_signal or number
    if loop is not None:
        if not loop.received:
            tell(f"{name}: saving after this step (Ctrl-C again stops without saving)")
        elif number == signal.SIGINT and is_second:
            raise KeyboardInterrupt
        loop.received = True
    elif number == signal.SIGINT or not is_second:
        code = KILLED_BY_USER if number == signal.SIGINT else INTERRUPTED
        tell(f"{name}: stopped; the same command goes on")
        if not _process.unwinds:
            os._exit(code)
        raise Stopped(code)


def _watch(woken: int) -> None:
    """Waits for the first signal, and ends the process where it does not end by itself."""
    while os.read(woken, 1)[0] not in SIGNALS:
        pass
    began = time.monotonic()
    for call in _process.at_signal:
        with contextlib.suppress(Exception):
            call()
    while time.monotonic() - began < _process.patience_s or _is_needed(_process.loop):
        time.sleep(0.05)
    by_user = _process.first_signal == signal.SIGINT and _process.loop is None
    end_now("stopped; nothing was unsaved: the same command goes on", KILLED_BY_USER if by_user else INTERRUPTED)


def _is_needed(loop: StopRequest | None) -> bool:
    return loop is not None and (loop.unsaved() or loop.saving())


def _hold_back() -> None:
    """Holds signals back during a fork: a child that has not yet forgotten would wake its parent's thread."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _forget() -> None:
    """A forked child is not the command: signals do to it what they do to any process."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _let_through()
