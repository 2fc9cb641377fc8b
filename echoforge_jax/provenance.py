"""Which version of the code makes a result."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

from echoforge_jax import __version__

CHECKOUT = Path(__file__).resolve().parents[1]


def git_commit() -> str | None:
    """Returns the commit of the checkout that holds this code; None where the package is installed elsewhere."""
    if not (CHECKOUT / ".git").exists():  # an installed package may lie inside another project's repository
        return None
    command = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def version_card() -> dict[str, str]:
    """Returns version and date as rows of a report's method card."""
    commit = git_commit()
    return {
        "version": f"echoforge_jax {__version__}" + (f", commit {commit[:12]}" if commit else ""),
        "date": datetime.date.today().isoformat(),
    }
