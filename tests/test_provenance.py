"""The recorded commit is that of this project's own checkout, or none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from echoforge_jax import provenance
from echoforge_jax.provenance import CodeVersion, code_version

pytestmark = pytest.mark.fast
PYPROJECT = '[project]\nname = "echoforge-jax"\n'


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of this project with one commit, from which the package is imported."""
    root = tmp_path / "checkout"
    (root / "echoforge_jax").mkdir(parents=True)
    (root / "pyproject.toml").write_text(PYPROJECT)
    shutil.copy(provenance.__file__, root / "echoforge_jax" / "provenance.py")
    git(tmp_path, "init", "-q", str(root))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    monkeypatch.setattr(provenance, "CHECKOUT", root)
    monkeypatch.setattr(provenance, "__file__", str(root / "echoforge_jax" / "provenance.py"))
    return root


def test_the_commit_is_recorded_and_whether_tracked_files_changed(checkout: Path):
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "notes.txt").write_text("not tracked")
    assert code_version() == CodeVersion(head, False)
    assert f"commit {head[:12]}" in str(code_version()) and code_version().short == head[:12]
    (checkout / "pyproject.toml").write_text(PYPROJECT + "# changed\n")
    assert code_version() == CodeVersion(head, True)
    assert "with changes that were not committed" in str(code_version())
    assert code_version().short == head[:12] + "+changes"


def test_a_repository_that_merely_surrounds_the_code_is_not_asked(checkout: Path, tmp_path: Path, monkeypatch):
    nobody = CodeVersion(None, None)
    study = tmp_path / "study"  # with an environment inside: site-packages has no pyproject.toml
    packages = study / ".venv" / "lib" / "site-packages"
    shutil.copytree(checkout / "echoforge_jax", packages / "echoforge_jax")
    git(tmp_path, "init", "-q", str(study))
    git(study, "add", "-A")
    git(study, "commit", "-qm", "a study")
    monkeypatch.setattr(provenance, "CHECKOUT", packages)
    monkeypatch.setattr(provenance, "__file__", str(packages / "echoforge_jax" / "provenance.py"))
    assert code_version() == nobody
    (packages / "pyproject.toml").write_text(PYPROJECT)  # an unpacked source archive below the root
    assert code_version() == nobody
    shutil.copytree(checkout / "echoforge_jax", study / "echoforge_jax")  # copied into the root, tracked or not
    monkeypatch.setattr(provenance, "CHECKOUT", study)
    monkeypatch.setattr(provenance, "__file__", str(study / "echoforge_jax" / "provenance.py"))
    assert code_version() == nobody
    (study / "pyproject.toml").write_text('[project]\nname = "study"\n')
    git(study, "add", "-A")
    assert code_version() == nobody
    (study / "pyproject.toml").write_text(PYPROJECT)
    git(study, "rm", "-rq", "--cached", "echoforge_jax")
    assert code_version() == nobody


def test_variables_of_a_hook_and_a_missing_git_change_nothing(checkout: Path, tmp_path: Path, monkeypatch):
    head = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere" / ".git"))
    assert code_version().git_commit == head
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version() == CodeVersion(None, None) and code_version().short == "unknown"
