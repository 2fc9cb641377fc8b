"""Studies for the tests of tables and figures."""

from pathlib import Path

import pytest

from echoforge_jax.reproduction.rows import CAMUS, TABLES
from echoforge_jax.reproduction.study import Study, read_base
from tests.helpers.study import SMALL, make_scored_study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study("small", {CAMUS: read_base(SMALL)}, tmp_path / "results", tmp_path / "work")


@pytest.fixture(scope="session")
def scored_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_scored_study(tmp_path_factory.mktemp("scored"))


@pytest.fixture
def scored(scored_study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The scored study, with Table 3 cut to the two rows that it holds."""
    monkeypatch.setitem(TABLES, "table3", (TABLES["table3"][0], TABLES["table3"][-1]))
    return scored_study
