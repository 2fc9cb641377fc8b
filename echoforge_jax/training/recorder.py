"""What a run writes while it runs: `metrics.jsonl` (one JSON object a line), TensorBoard, and a progress bar."""

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
    """Metrics of a run; all processes know them, the main one writes.

    A resumed run drops the lines its lost steps had written and goes on where its state is.
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
        """One line; `kind` is "train" (means since the last one) or "epoch" (the whole epoch, with validation)."""
        self.lines.append({"kind": kind, "step": step, "epoch": epoch, **values})
        if self._file is None or self._board is None:
            return
        self._file.write(json.dumps(self.lines[-1]) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def epoch_means(self, epoch: int) -> dict[str, float]:
        """Means over the steps of an epoch, those before an interruption included."""
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

    def close(self) -> None:
        if self._file is not None and self._board is not None:
            self._file.close()
            self._board.close()


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """All whole lines of a run's metrics.jsonl, oldest first; a line that a kill cut short is left out."""
    path = workdir / METRICS
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
