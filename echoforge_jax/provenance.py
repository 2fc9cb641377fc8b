"""echoforge_jax.provenance."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """Of the code that runs, where it is a git checkout."""
    here = Path(__file__).parent
    found = subprocess.run(["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None
