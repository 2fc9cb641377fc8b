"""One training that the tests of several processes and of interruptions compare theirs with."""

from pathlib import Path

import pytest

from echoforge_jax import errors
from tests.helpers.jobs import Job


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training by one process with all four devices, from its start to its report."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    job = Job(workdir, report=True)
    printed = job.wait()
    assert job.codes == [errors.OK], printed
    assert (workdir / "report.html").is_file()
    return workdir
