"""Files that `scripts/fuzz_readers.py` found: each ended in an error that was no message, and now ends as it should.

They lie in `fuzzed/TARGET/NAME`; all but the mutated bytes is simulated.
"""

from pathlib import Path

import pytest

from data_pipelines.errors import DataError
from echoforge_jax.errors import EchoForgeError
from scripts.fuzz_readers import TARGETS, seeds

FILES = sorted(path for path in (Path(__file__).parent / "fuzzed").glob("*/*"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_found_file_is_read_or_refused(path, tmp_path):
    try:
        TARGETS[path.parent.name](tmp_path, path.read_bytes())
    except (DataError, EchoForgeError) as refusal:
        assert str(refusal)


def test_every_target_reads_the_files_that_it_begins_with(tmp_path):
    for target, feed in TARGETS.items():
        if target in ("network", "avi", "mp4"):  # the first is a header without its arrays; the others have tests
            continue
        begin, folder = tmp_path / target / "begin", tmp_path / target / "read"
        begin.mkdir(parents=True)
        folder.mkdir()
        for content in seeds(target, begin)[:2]:
            feed(folder, content)
