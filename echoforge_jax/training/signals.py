"""SIGTERM and Ctrl-C: a training saves after the current step and ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from echoforge_jax.console import say


class StopRequest:
    """Whether the training was asked to stop.

    A signal handler sets it, so it holds no lock: that of a `threading.Event` could block at a second signal.

    Attributes:
        received: Whether a request came.
    """

    def __init__(self) -> None:
        self.received = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Notes SIGTERM and Ctrl-C, which the loop reads between steps; a second Ctrl-C stops at once.

    One of several processes cannot stop alone: there SIGTERM is left to JAX, which lets all processes stop after the
    same step (`processes.asked_to_stop`), and Ctrl-C becomes a SIGTERM.
    """
    stop = StopRequest()
    if jax.process_count() > 1:
        before = signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        try:
            yield stop
        finally:
            signal.signal(signal.SIGINT, before)
        return

    def request(number: int, _: Any) -> None:
        if stop.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.received = True
        say(f"{signal.Signals(number).name}: saving after this step (Ctrl-C again stops without saving)")

    handlers = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
