"""Which version of the code makes a result."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tomllib
from pathlib import Path

from echoforge_jax import __version__

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = "echoforge_jax"
ANSWER_S = 20.0


@dataclasses.dataclass(frozen=True)
class CodeVersion:
    """The version of this code.

    Attributes:
        git_commit: The commit of this project's own checkout that holds the code; None where the code is installed
            elsewhere, or where git does not say.
        git_changes: Whether tracked files differed from that commit; None without a commit.
    """

    git_commit: str | None
    git_changes: bool | None

    def __str__(self) -> str:
        changes = " with changes that were not committed" if self.git_changes else ""
        return f"echoforge_jax {__version__}" + (f", commit {self.git_commit[:12]}{changes}" if self.git_commit else "")

    @property
    def short(self) -> str:
        """The first digits of the commit, with "+changes" where it was changed; "unknown" without one."""
        return self.git_commit[:12] + ("+changes" if self.git_changes else "") if self.git_commit else "unknown"


def code_version() -> CodeVersion:
    """Asks git for the commit of this project's own checkout, and whether it was changed.

    A repository that merely surrounds the code, such as that of a user's study with an environment or a copy of the
    package inside, is not asked.
    """
    if not _is_own_checkout():
        return CodeVersion(None, None)
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return CodeVersion(commit or None, bool(changes) if commit and changes is not None else None)


def _is_own_checkout() -> bool:
    """Whether the folder above the package is the root of a repository of this project that tracks this very file."""
    try:
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, KeyError, TypeError, ValueError):
        return False
    file = Path(__file__).resolve().relative_to(CHECKOUT).as_posix()
    is_root = _git("rev-parse", "--show-prefix") == ""
    return project.replace("-", "_") == PROJECT and is_root and bool(_git("ls-files", "--", file))


def _git(*arguments: str) -> str | None:
    """Asks git about the checkout; None where it fails or is not installed.

    Variables such as GIT_DIR, which a hook of another repository sets, are left out.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(CHECKOUT), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
            timeout=ANSWER_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
