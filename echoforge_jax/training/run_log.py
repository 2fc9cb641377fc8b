"""The metrics that a run writes: `metrics.jsonl` (one JSON object a line) and TensorBoard."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from data_pipelines.files import write_atomically
from echoforge_jax.distributed import processes

METRICS = "metrics.jsonl"


class RunLog:
    """Metrics of a run. All processes know them, the main one writes.

    A resumed run drops the lines that its lost steps had written and continues where its state is.

    Args:
        workdir: folder of the run.
        resumed_step: step of the state that the run starts from.
    """

    def __init__(self, workdir: Path, resumed_step: int):
        self.lines = [line for line in read_metrics(workdir) if line["step"] <= resumed_step]
        self._file = self._board = None
        processes.wait_for_all("metrics are read")
        if processes.is_main():
            kept = "".join(json.dumps(line) + "\n" for line in self.lines)
            write_atomically(workdir / METRICS, kept.encode())  # a kill before the next line loses none of these
            self._file = (workdir / METRICS).open("a")
            self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=resumed_step + 1)

    def write(self, kind: str, step: int, epoch: int, values: dict[str, float]) -> None:
        """Writes one line.

        Args:
            kind: "train" (means since the last such line) or "epoch" (means of the whole epoch, with validation).
            step: optimizer steps done.
            epoch: counted from 1.
            values: the metrics by name.
        """
        self.lines.append({"kind": kind, "step": step, "epoch": epoch, **values})
        if self._file is None or self._board is None:
            return
        self._file.write(json.dumps(self.lines[-1]) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def epoch_means(self, epoch: int) -> dict[str, float]:
        """Returns means over the steps of an epoch, those before an interruption included."""
        before = max((line["step"] for line in self.lines if line["epoch"] < epoch), default=0)
        lines = [line for line in self.lines if line["epoch"] == epoch and line["kind"] == "train"]
        ends = [before, *(line["step"] for line in lines)]
        steps = [end - start for start, end in itertools.pairwise(ends)]
        names = lines[-1].keys() - {"kind", "step", "epoch"}
        return {
            name: sum(n * line[name] for n, line in zip(steps, lines, strict=True) if name in line)
            / sum(n for n, line in zip(steps, lines, strict=True) if name in line)
            for name in sorted(names)
        }

    def has_epoch(self, step: int) -> bool:
        """Tells whether the line of the epoch that ended with a step was written."""
        return any(line["kind"] == "epoch" and line["step"] == step for line in self.lines)

    def best(self, name: str) -> float:
        """Returns the largest value that a metric had so far, and minus infinity before its first value."""
        return max((line[name] for line in self.lines if name in line), default=float("-inf"))

    def close(self) -> None:
        """Closes the files."""
        if self._file is not None and self._board is not None:
            self._file.close()
            self._board.close()


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Reads the whole lines of a run's metrics.jsonl, oldest first; a line that a kill cut short is left out."""
    path = workdir / METRICS
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
