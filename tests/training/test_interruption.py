"""SIGTERM and Ctrl-C at any moment: the process ends in time, with the documented code, and only once it may."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from echoforge_jax import errors

pytestmark = pytest.mark.fast
REPOSITORY = Path(__file__).parents[2]
START = """
    import hashlib, os, sys, threading, time
    from echoforge_jax import interruption
    interruption.install()
    interruption.be_patient(0.5)

    def long_call():
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes of C, in which Python handles no signal

    def ready():
        print("ready", flush=True)
"""


def signalled(program: str, *signals: signal.Signals) -> tuple[int, str, float]:
    """Runs a program, sends it signals once it is ready; returns its exit code, what it said, and the seconds since."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(START) + textwrap.dedent(program)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    began = time.monotonic()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.2)
    said = process.communicate(timeout=60)[0]
    return process.returncode, said, time.monotonic() - began


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, errors.INTERRUPTED), (signal.SIGINT, errors.KILLED_BY_USER)]
)
def test_while_modules_are_imported_the_process_ends_at_once(number: signal.Signals, code: int):
    ended, said, _ = signalled("ready()\ntime.sleep(60)", number)
    assert ended == code
    assert said == f"{number.name}: stopped; the same command goes on\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, errors.INTERRUPTED), (signal.SIGINT, errors.KILLED_BY_USER)]
)
def test_outside_of_a_loop_what_is_open_is_closed(number: signal.Signals, code: int):
    program = """
        try:
            with interruption.unwinding():
                ready()
                time.sleep(60)
        finally:
            print("closed", flush=True)
    """
    ended, said, _ = signalled(program, number)
    assert ended == code and said.endswith("closed\n")


def test_a_long_call_is_not_waited_for_where_nothing_is_unsaved():
    program = """
        with interruption.at_end(lambda: interruption.tell("lock released")):
            with interruption.stop_requests():
                ready()
                long_call()
    """
    ended, said, seconds = signalled(program, signal.SIGTERM)
    assert ended == errors.INTERRUPTED and seconds < 10
    assert "nothing was unsaved" in said and said.endswith("lock released\n")


def test_a_process_is_not_ended_while_steps_are_unsaved_or_a_checkpoint_is_written():
    program = """
        began, unsaved, saving = time.monotonic(), [True], [False]
        def work():
            time.sleep(1.5)
            unsaved[0], saving[0] = False, True
            time.sleep(1.5)
            print("saved", flush=True)
            saving[0] = False
        threading.Thread(target=work).start()
        with interruption.stop_requests(unsaved=lambda: unsaved[0], saving=lambda: saving[0]):
            ready()
            long_call()
    """
    ended, said, seconds = signalled(program, signal.SIGTERM)
    assert ended == errors.INTERRUPTED and seconds > 2.5
    assert "saved\n" in said


def test_a_loop_answers_between_its_steps_and_a_second_ctrl_c_stops_at_once():
    program = """
        try:
            with interruption.stop_requests(unsaved=lambda: True) as stop:
                ready()
                while True:
                    time.sleep(0.01)
                    if stop.received and "one" in sys.argv[1:]:
                        break
        except KeyboardInterrupt:
            print("at once", flush=True)
            os._exit(130)
    """
    ended, said, _ = signalled(program, signal.SIGINT, signal.SIGINT)
    assert ended == errors.KILLED_BY_USER and "saving after this step" in said and said.endswith("at once\n")


def test_children_are_no_commands_and_their_signals_are_not_the_parent_s():
    program = """
        child = os.fork()
        if child == 0:
            time.sleep(60)
        os.kill(child, 15)
        _, status = os.waitpid(child, 0)
        ready()
        time.sleep(1.0)
        print(os.WTERMSIG(status), interruption.received(), flush=True)
    """
    ended, said, _ = signalled(program)
    assert ended == errors.OK and said == "15 False\n"
