"""Headless Chromium through its debugging pipe: JSON messages ended by a NUL byte on file descriptors 3 and 4."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

REQUIRED_BY = ("CI", "ECHOFORGE_REQUIRE_BROWSER")
"""Environment variables; where one is set, a machine without a browser fails the tests."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # root has no user namespace to make one in
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
MOVE_PIPES = """
import os, sys
pipes = [os.dup(int(fd)) for fd in sys.argv[1:3]]
os.dup2(os.dup2(pipes[0], 63), 3), os.dup2(os.dup2(pipes[1], 62), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
LIMIT_S = 60


def find() -> str | None:
    """Returns the path of this machine's browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def find_or_skip() -> str:
    """Returns the path of this machine's browser; without one, skips the test, or fails it where one is required."""
    program = find()
    if program is None:
        required = any(os.environ.get(name, "") not in ("", "0", "false") for name in REQUIRED_BY)
        (pytest.fail if required else pytest.skip)(
            f"found none of {', '.join(NAMES)} on PATH, so the report's script is not run: apt-get install chromium"
        )
    return program


class Browser:
    """One page of a browser; `events` keeps everything it reported."""

    def __init__(self, program: str, profile: Path):
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        arguments = [str(theirs_in), str(theirs_out), program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with open(f"{profile}.log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", MOVE_PIPES, *arguments],
                pass_fds=(theirs_in, theirs_out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self.events: list[dict[str, Any]] = []
        self._buffer, self._count, self._session = b"", 0, None

    def __enter__(self) -> Browser:
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        return self._wait(lambda found: found.get("id") == self._count)["result"]

    def open(self, page: Path) -> None:
        """Opens a file and waits until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        if not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._wait(lambda found: found.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, promises awaited."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def _wait(self, wanted: Any) -> dict[str, Any]:
        end = time.monotonic() + LIMIT_S
        while True:
            while b"\0" in self._buffer:
                text, _, self._buffer = self._buffer.partition(b"\0")
                message = json.loads(text)
                if "method" in message:
                    self.events.append(message)
                if wanted(message):
                    return message
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the browser was silent for {LIMIT_S} s")
            chunk = os.read(self._in, 1 << 16)
            if not chunk:
                raise ConnectionError("the browser is gone")
            self._buffer += chunk
