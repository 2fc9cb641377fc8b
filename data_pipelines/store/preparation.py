"""Prepares a data set in parallel, and continues a preparation that was interrupted.

Finished shards lie next to the data set until it is complete: a stop costs the shards that are being written, and the
same call continues. The data set appears in DIR/NAME/VERSION whole or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data_pipelines.errors import DataError
from data_pipelines.files import write_atomically
from data_pipelines.notes_by_record import notes_from_json
from data_pipelines.records import Skipped, summarise_skipped
from data_pipelines.store.builder import PREPARATION, ClipBuilder, Staged, builder_dir
from data_pipelines.store.data_sets import BUILDERS
from data_pipelines.store.shards import Encoded, Plan, Shard, encode_entry, write_shard

Progress = Callable[[int, int], None]


class Refused(DataError):
    """Nothing was done: other data is in the folder, or another process prepares it."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set that is complete.

    Attributes:
        folder: its folder, DATA_DIR/NAME/VERSION.
        was_there: whether it was complete already.
    """

    folder: Path
    was_there: bool


def prepare(
    name: str,
    data_dir: Path,
    *,
    source: Path | None = None,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
    **simulation: int,
) -> Prepared:
    """Prepares a data set, or continues a preparation.

    Args:
        name: "camus", "echonet_dynamic" or "simulated_echo".
        data_dir: the folder that holds data sets; this one is written to data_dir/name/VERSION.
        source: the tree to read; None for the simulated data set.
        workers: how many readers work at a time: threads, and processes for the simulated data set. The records do not
            depend on it.
        overwrite: replace what is there, once the new data set is complete.
        progress: called with (records done, records in all), once at the start and after every record; None: not
            called.
        **simulation: patients, seed, frames and size; for the simulated data set alone.

    Raises:
        Refused: other data is there, another process prepares the data set, or no record is usable.
        ValueError, FileNotFoundError: the source is not what it should be.
        OSError: the disk cannot be read or written.
    """
    builder = BUILDERS[name](data_dir=data_dir, **simulation)
    folder = builder_dir(data_dir, name)
    if source is not None and folder.parent.resolve().is_relative_to(source.resolve()):
        raise Refused(f"{folder} would lie in the source {source}: choose another --data_dir")
    plan = builder.plan(source)
    staging = folder.with_name(f"{folder.name}.unfinished")
    if folder.exists():
        origin = _origin(folder)
        if origin != plan.origin and not (overwrite and origin):
            raise Refused(_describe_other_data(folder, origin, plan.origin))
        if not overwrite:
            return Prepared(folder, was_there=True)
    staging.mkdir(parents=True, exist_ok=True)
    with lock_staging(staging):
        _claim(staging, plan, overwrite=overwrite)
        shards = stage(builder, plan, staging, workers=workers, progress=progress)
        if not any(shard.record_ids for shard in shards.values()):
            faults = itertools.chain(*plan.skipped.values(), *(shard.skipped for shard in shards.values()))
            shutil.rmtree(staging)
            raise Refused(f"{source} has no usable record:\n{summarise_skipped(faults)}")
        if folder.exists():
            shutil.rmtree(folder)
        builder = BUILDERS[name](data_dir=data_dir, **simulation)  # a new one: the first has read what lay there
        builder.staged = Staged(plan, staging, shards)
        with contextlib.redirect_stdout(None):
            builder.download_and_prepare(download_dir=staging / "downloads")
    shutil.rmtree(staging, ignore_errors=True)
    return Prepared(folder, was_there=False)


def stage(
    builder: ClipBuilder, plan: Plan, staging: Path, *, workers: int = 1, progress: Progress | None = None
) -> dict[str, Shard]:
    """Writes the shards that are not in `staging` yet.

    The JSON file of a shard is written last: it says that the shard is finished.

    Args:
        builder: reads the entries.
        plan: the entries of every shard.
        staging: the folder to write to.
        workers: how many readers work at a time.
        progress: as for `prepare`.

    Returns:
        What every shard holds, by its name.
    """
    jobs = plan.shards()
    shards = {name: shard for name, job in jobs.items() if (shard := _finished_shard(staging, name, len(job.entries)))}
    pending = {name: job.entries for name, job in jobs.items() if name not in shards}
    done, total = sum(len(jobs[name].entries) for name in shards), sum(len(job.entries) for job in jobs.values())
    if progress is not None:
        progress(done, total)

    def count(results: Iterable[Encoded | Skipped]) -> Iterator[Encoded | Skipped]:
        nonlocal done
        for result in results:
            yield result
            done += 1
            if progress is not None:
                progress(done, total)

    with _readers(builder, workers, sum(map(len, pending.values()))) as read_all:
        results = read_all(functools.partial(encode_entry, builder.read), itertools.chain(*pending.values()))
        for name, entries in pending.items():
            shards[name] = write_shard(staging / name, count(itertools.islice(results, len(entries))))
            write_atomically(staging / f"{name}.json", json.dumps(dataclasses.asdict(shards[name])).encode())
    return shards


@contextlib.contextmanager
def lock_staging(staging: Path) -> Iterator[None]:
    """Holds a lock, so that one process at a time prepares the data set.

    Raises:
        Refused: another process holds it.
    """
    with (staging / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"{staging}: another process prepares this data set: wait for it, or stop it") from error
        except OSError:
            pass  # a file system without locks: two at a time would do the same work twice, file by whole file
        yield


def _claim(staging: Path, plan: Plan, *, overwrite: bool) -> None:
    """Clears `staging` of other data where that is allowed, and notes which data it is for."""
    origin = _origin(staging)
    if origin == plan.origin:
        return
    strangers = [path.name for path in staging.iterdir() if path.name[0] != "."]
    if strangers and not (overwrite and origin):
        raise Refused(_describe_other_data(staging, origin, plan.origin))
    for path in staging.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_atomically(staging / PREPARATION, json.dumps({"origin": plan.origin}).encode())


def _finished_shard(staging: Path, name: str, entries: int) -> Shard | None:
    """Returns the shard if it was written from as many entries and its file is still whole."""
    if not (description := staging / f"{name}.json").is_file():
        return None
    fields = json.loads(description.read_text())
    notes = notes_from_json(fields.get("notes", {}))  # absent in what an earlier version left unfinished
    shard = Shard(**fields | {"skipped": [Skipped(**row) for row in fields["skipped"]], "notes": notes})
    size_bytes = (staging / name).stat().st_size if (staging / name).exists() else 0
    is_whole = size_bytes == shard.size_bytes and len(shard.record_ids) + len(shard.skipped) == entries
    return shard if is_whole else None


@contextlib.contextmanager
def _readers(builder: ClipBuilder, workers: int, entries: int) -> Iterator[Callable[..., Iterator]]:
    """Yields a `map` over threads or processes that keeps the order and reads a few entries ahead."""
    workers = min(workers, entries)
    if workers <= 1:
        yield map
        return
    pool: Executor = ThreadPoolExecutor(workers)
    if builder.READS_IN_PROCESSES:  # spawned, never forked: the caller may hold threads
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)

    def read_all(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    try:
        yield read_all
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Prepares a worker process: it leaves Ctrl-C to its parent, ends with it, and uses one thread."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)  # the worker processes already fill the cores
    if parent := multiprocessing.parent_process():
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _origin(folder: Path) -> dict[str, Any] | None:
    """Reads what the folder was prepared from; None where it is no prepared data set."""
    path = folder / PREPARATION
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))["origin"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"{path} is garbled ({error}), so that nobody knows what lies there: remove {folder}, or choose another "
            "--data_dir"
        ) from error


def _describe_other_data(folder: Path, origin: dict[str, Any] | None, expected: dict[str, Any]) -> str:
    """Writes in which fields the data in a folder differ from those expected."""
    if origin is None:
        return f"{folder} is there and has no {PREPARATION}, so this program did not make it: choose another --data_dir"
    keys = [key for key in {**origin, **expected} if origin.get(key) != expected.get(key)]
    return (
        f"{folder} holds other data: found { {key: origin.get(key) for key in keys} }, expected "
        f"{ {key: expected.get(key) for key in keys} }: choose another --data_dir, or replace it with --overwrite"
    )
