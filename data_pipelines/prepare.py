"""Prepares a data set as ArrayRecord files: python -m data_pipelines.prepare camus --source TREE --data_dir DIR

The command can be stopped at any time: the same command continues. Records that cannot be read are left out, counted
and named. The data set appears in DIR/NAME/VERSION whole or not at all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import rich.console
import rich.progress

from data_pipelines.local_path import path_argument
from data_pipelines.notes_by_record import summarise_notes
from data_pipelines.records import summarise_skipped
from data_pipelines.splits import SPLITS
from data_pipelines.store.builder import PREPARATION
from data_pipelines.store.data_sets import BUILDERS
from data_pipelines.store.preparation import Prepared, Progress, prepare
from data_pipelines.store.stored_clips import StoredClips

__all__ = ["Prepared", "describe", "main", "parse_arguments", "prepare"]

DONE, REFUSED, STORAGE, INTERRUPTED = 0, 2, 74, 75
SECONDS_BETWEEN_LINES = 10.0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line; None takes that of the process. Wrong arguments end the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.prepare",
        description="Prepares a data set as ArrayRecord files. " + str(__doc__).partition("\n\n")[2],
        epilog="`python -m data_pipelines.prepare NAME --help` lists the options of a data set.",
    )
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME", title="data sets")
    for name, builder in BUILDERS.items():
        summary = str(builder.__doc__).splitlines()[0]
        command = names.add_parser(name, help=summary, description=summary, epilog=builder.MANUAL_DOWNLOAD_INSTRUCTIONS)
        if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            source = command.add_argument_group("what to read")
            source.add_argument(
                "--source",
                type=path_argument,
                required=True,
                help="Folder of the data set as it was downloaded and unpacked.",
            )
        else:
            population = command.add_argument_group("what to simulate")
            population.add_argument(
                "--patients", type=int, default=40, help="Number of patients, at least 3; each has two views."
            )
            population.add_argument("--seed", type=int, default=0, help="Seed of the simulated population.")
            population.add_argument(
                "--frames", type=int, default=16, help="Number of frames from end-diastole to end-systole."
            )
            population.add_argument("--size", type=int, default=256, help="Height and width of the frames in pixels.")
        output = command.add_argument_group("where to write")
        output.add_argument(
            "--data_dir",
            type=path_argument,
            required=True,
            help="Folder of data sets; this one is written to DATA_DIR/NAME.",
        )
        output.add_argument(
            "--overwrite", action="store_true", help="Replace other data in that folder once the new data is complete."
        )
        work = command.add_argument_group("how to work")
        work.add_argument("--workers", type=int, default=2, help="Number of records that are read at a time.")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers is {options.workers}; expected 1 or more")
    return options


def describe(folder: Path) -> str:
    """Describes what a prepared folder holds, split by split, what was left out, and the readers' notes."""
    missing, lines = json.loads((folder / PREPARATION).read_text())["missing"], []
    for split in SPLITS:
        if split in missing:
            lines.append(f"  {split}: left out: {missing[split]}")
            continue
        clips = StoredClips(folder, split)
        lines.append(f"  {split}: {len(clips)} clips of {len(set(clips.patient_ids))} patients")
        lines += [f"    skipped {line}" for line in summarise_skipped(clips.skipped).splitlines()]
        lines += [f"    noted {line}" for line in summarise_notes(clips.notes).splitlines()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: the command line without the name of the program; None takes that of the process.

    Returns:
        0 done, 2 refused, 74 storage trouble, 75 interrupted (the same command continues).
    """
    options = vars(parse_arguments(arguments))
    name, data_dir = options.pop("name"), options.pop("data_dir").absolute()
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _show_progress() as progress:
            prepared = prepare(name, data_dir, progress=progress, **options)
        state = "already complete" if prepared.was_there else "complete"
        print(f"{prepared.folder}: {state}\n{describe(prepared.folder)}")
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
        signal.signal(signal.SIGTERM, handler)
    return DONE


@contextlib.contextmanager
def _show_progress() -> Iterator[Progress]:
    """Shows a bar with the time left on a terminal; elsewhere a line at the start, every ten seconds and at the end."""
    if not sys.stderr.isatty():
        yield _ProgressLines()
        return
    columns = (
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("clips, left"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=rich.console.Console(file=sys.stderr)) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _ProgressLines:
    """Prints progress as lines of text."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None
        self._last_line = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._start is None:
            self._start, self._last_line = (now, done), now
            print(f"{f'going on, {done}' if done else done} of {total} clips there", file=sys.stderr, flush=True)
        elif done == total or now - self._last_line >= SECONDS_BETWEEN_LINES:
            began, first_done = self._start
            self._last_line = now
            left_s = (now - began) / (done - first_done) * (total - done)
            print(f"{done} of {total} clips, {left_s:.0f} s left", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
