"""Prepares a data set as ArrayRecord: python -m data_pipelines.prepare camus --source TREE --data_dir DIR

Finished shards are kept beside the data set until it is complete: a stop costs the shard at work, and the same command
goes on. The data set appears in DIR/NAME/VERSION whole or not at all.
"""

from __future__ import annotations

import argparse
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
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import rich.console
import rich.progress

from data_pipelines.files import write_atomically
from data_pipelines.records import Skipped, summarise_skipped
from data_pipelines.store import shards as shard_files
from data_pipelines.store.builders import BUILDERS, PREPARATION, SPLITS, ClipBuilder, builder_dir
from data_pipelines.store.shards import Encoded, Plan, Shard
from data_pipelines.store.stored_clips import StoredClips

DONE, REFUSED, STORAGE, INTERRUPTED = 0, 2, 74, 75
Progress = Callable[[int, int], None]


class Refused(ValueError):
    """Nothing was done: something else is there, or somebody else is at work."""


# ---- the work ------------------------------------------------------------------------------------------------------


def prepare(
    name: str,
    data_dir: Path,
    *,
    source: Path | None = None,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
    **simulation: int,
) -> tuple[Path, bool]:
    """Prepares a data set, or goes on with it, and returns its folder and whether it was there already.

    Args:
        name: "camus", "echonet_dynamic" or "simulated_echo".
        data_dir: the data set comes to lie in data_dir/name/VERSION.
        source: the tree to read; None for the simulated one.
        workers: readers at a time; threads, and processes for the simulated one. The records do not depend on it.
        overwrite: replace what is there, once the new one is complete.
        progress: called with (records done, records in all), once at the start and after every record.
        simulation: patients, seed, frames, size; for the simulated one alone.

    Raises:
        Refused, ValueError, FileNotFoundError: other data is there, or the source is not what it should be.
        OSError: the disk cannot be read or written.
    """
    builder = BUILDERS[name](data_dir=data_dir, **simulation)
    folder = builder_dir(data_dir, name)
    if source is not None and folder.parent.resolve().is_relative_to(source.resolve()):
        raise Refused(f"{folder} would lie in the source {source}: choose another --data_dir")
    plan = builder.plan(source)
    staging = folder.with_name(f"{folder.name}.unfinished")
    if folder.exists() and (found := _origin(folder)) != plan.origin and not (overwrite and found):
        raise Refused(_other_data(folder, found, plan.origin))
    if folder.exists() and not overwrite:
        return folder, True
    staging.mkdir(parents=True, exist_ok=True)
    with _only_one(staging):
        if (found := _origin(staging)) != plan.origin:
            strangers = [path.name for path in staging.iterdir() if path.name[0] != "."]
            if strangers and not (overwrite and found):
                raise Refused(_other_data(staging, found, plan.origin))
            for path in staging.iterdir():
                if path.name != ".lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            write_atomically(staging / PREPARATION, json.dumps({"origin": plan.origin}).encode())
        shards = stage(builder, plan, staging, workers, progress)
        if not any(shard.record_ids for shard in shards.values()):
            faults = itertools.chain(*plan.skipped.values(), *(shard.skipped for shard in shards.values()))
            shutil.rmtree(staging)
            raise Refused(f"{source} has no usable record:\n{summarise_skipped(faults)}")
        if folder.exists():
            shutil.rmtree(folder)
        builder = BUILDERS[name](data_dir=data_dir, **simulation)  # anew: the first one has read what lay there
        builder.staged = (plan, staging, shards)
        with contextlib.redirect_stdout(None):
            builder.download_and_prepare(download_dir=staging / "downloads")
    shutil.rmtree(staging, ignore_errors=True)
    return folder, False


def stage(
    builder: ClipBuilder, plan: Plan, staging: Path, workers: int, progress: Progress | None = None
) -> dict[str, Shard]:
    """Writes the shards that are not in `staging` yet; a shard's JSON is written last and says that it is finished."""
    jobs = plan.shards()
    shards = {name: shard for name in jobs if (shard := _finished(staging, name, len(jobs[name][1])))}
    todo = {name: entries for name, (_, entries) in jobs.items() if name not in shards}
    done, total = sum(len(jobs[name][1]) for name in shards), sum(len(entries) for _, entries in jobs.values())
    show = progress or (lambda done, total: None)
    show(done, total)

    def counted(results: Iterable[Encoded | Skipped]) -> Iterator[Encoded | Skipped]:
        nonlocal done
        for result in results:
            yield result
            done += 1
            show(done, total)

    with _readers(builder, workers, sum(map(len, todo.values()))) as read_all:
        results = read_all(functools.partial(shard_files.encode_entry, builder.read), itertools.chain(*todo.values()))
        for name, entries in todo.items():
            shards[name] = shard_files.write_shard(staging / name, counted(itertools.islice(results, len(entries))))
            write_atomically(staging / f"{name}.json", json.dumps(dataclasses.asdict(shards[name])).encode())
    return shards


def _finished(staging: Path, name: str, entries: int) -> Shard | None:
    """The shard, if it was written from as many entries and its file is still whole."""
    if not (note := staging / f"{name}.json").is_file():
        return None
    found = json.loads(note.read_text())
    shard = Shard(**found | {"skipped": [Skipped(**row) for row in found["skipped"]]})
    size_bytes = (staging / name).stat().st_size if (staging / name).exists() else 0
    whole = size_bytes == shard.size_bytes and len(shard.record_ids) + len(shard.skipped) == entries
    return shard if whole else None


@contextlib.contextmanager
def _readers(builder: ClipBuilder, workers: int, entries: int) -> Iterator[Callable[..., Iterator]]:
    """A `map` that keeps the order and looks a few entries ahead, over threads or processes."""
    workers = min(workers, entries)
    if workers <= 1:
        yield map
        return
    pool: Executor = ThreadPoolExecutor(workers)
    if builder.IN_PROCESSES:  # spawned, never forked: the caller may hold threads
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
    """Ctrl-C is the parent's affair; without the parent a worker ends; the processes already fill the cores."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


# ---- what is there already -----------------------------------------------------------------------------------------


def _origin(folder: Path) -> dict[str, Any] | None:
    """What the folder was prepared from; None where it is no prepared data set."""
    path = folder / PREPARATION
    return json.loads(path.read_text())["origin"] if path.is_file() else None


def _other_data(folder: Path, found: dict[str, Any] | None, expected: dict[str, Any]) -> str:
    if found is None:
        return f"{folder} is there and has no {PREPARATION}, so this program did not make it: choose another --data_dir"
    keys = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    return (
        f"{folder} holds other data: found { {key: found.get(key) for key in keys} }, expected "
        f"{ {key: expected.get(key) for key in keys} }: choose another --data_dir, or replace it with --overwrite"
    )


@contextlib.contextmanager
def _only_one(staging: Path) -> Iterator[None]:
    with (staging / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"{staging}: another process prepares this data set: wait for it, or stop it") from error
        except OSError:
            pass  # a file system without locks: two at a time would do the same work twice, file by whole file
        yield


# ---- the command ---------------------------------------------------------------------------------------------------


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data_pipelines.prepare", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME", help=", ".join(BUILDERS))
    for name, builder in BUILDERS.items():
        described = str(builder.__doc__).splitlines()[0]
        one = names.add_parser(name, help=described, description=described, epilog=builder.MANUAL_DOWNLOAD_INSTRUCTIONS)
        if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            one.add_argument("--source", type=Path, required=True, help="the tree as fetched")
        else:
            one.add_argument("--patients", type=int, default=40, help="at least 3; two views each")
            one.add_argument("--seed", type=int, default=0)
            one.add_argument("--frames", type=int, default=16, help="frames from end-diastole to end-systole")
            one.add_argument("--size", type=int, default=256, help="height and width in pixels")
        one.add_argument("--data_dir", type=Path, required=True, help="the data set comes to lie in DATA_DIR/NAME")
        one.add_argument("--workers", type=int, default=2, help="readers at a time")
        one.add_argument("--overwrite", action="store_true", help="replace other data, once the new one is complete")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers is {options.workers}; expected 1 or more")
    return options


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """A bar with the time left on a terminal; elsewhere a line at the start, every ten seconds and at the end."""
    if sys.stderr.isatty():
        columns = (
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("clips, left"),
        )
        with rich.progress.Progress(
            *columns, rich.progress.TimeRemainingColumn(), console=rich.console.Console(file=sys.stderr)
        ) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    first, spoken = [], [0.0]

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        if not first:
            first.extend((now, done))
            print(f"{f'going on, {done}' if done else done} of {total} clips there", file=sys.stderr, flush=True)
        elif done == total or now - max(spoken[0], first[0]) >= 10:
            spoken[0] = now
            left_s = (now - first[0]) / (done - first[1]) * (total - done)
            print(f"{done} of {total} clips, {left_s:.0f} s left", file=sys.stderr, flush=True)

    yield show


def report(folder: Path) -> str:
    """What a prepared folder holds, split by split, and what was left out."""
    missing, lines = json.loads((folder / PREPARATION).read_text())["missing"], []
    for split in SPLITS:
        if split in missing:
            lines.append(f"  {split}: left out: {missing[split]}")
            continue
        clips = StoredClips(folder, split)
        lines.append(f"  {split}: {len(clips)} clips of {len(set(clips.patient_ids))} patients")
        if clips.skipped:
            lines += [f"    skipped {line}" for line in summarise_skipped(clips.skipped).splitlines()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 2 refused, 74 storage trouble, 75 interrupted (the same command goes on)."""
    options = vars(parse_arguments(arguments))
    name, data_dir = options.pop("name"), options.pop("data_dir").absolute()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with shown_progress() as progress:
            folder, was_there = prepare(name, data_dir, progress=progress, **options)
        print(f"{folder}: {'already complete' if was_there else 'complete'}\n{report(folder)}")
    except KeyboardInterrupt:
        print("interrupted: give the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except BrokenExecutor:
        print("error: a worker was killed, perhaps for memory: go on with fewer --workers", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except OSError as error:
        print(
            f"error: {data_dir} or the source cannot be used: {error}: look at the disk's space and its permissions, "
            "then give the same command again",
            file=sys.stderr,
        )
        return STORAGE
    finally:
        signal.signal(signal.SIGTERM, before)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
