"""What a comparison leaves for a reader: a table, the statistics of every frame, and a sheet of pictures."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipelines.records import Clip
from data_pipelines.simulator.realism.comparison import PERCENTILES, Comparison, MeasuredFrame
from data_pipelines.simulator.realism.frames import ed_es_frames

NOTICE = (
    "The left half of every pair in sheet.png is a frame of the CAMUS data set (CC BY-NC-SA 4.0, non-commercial "
    "research, citation required): do not commit or publish this picture.\n"
)


def write_results(
    out: Path, rows: Sequence[Comparison], frames: Mapping[str, Iterable[MeasuredFrame]], *, table: str
) -> None:
    """Writes realism.md and realism.json (the comparison) and frames.csv (every statistic of every frame).

    Args:
        out: folder, which is made where it is missing.
        rows: the comparison.
        frames: the frames of each side, by the name of the side.
        table: text of realism.md.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "realism.md").write_text(table + "\n")
    listed = [dataclasses.asdict(row) | {"inside": row.inside} for row in rows]
    (out / "realism.json").write_text(json.dumps({"percentiles": PERCENTILES, "rows": listed}, indent=1) + "\n")
    columns = ["side", "record", "view", "quality", "instant", *(row.name for row in rows)]
    with (out / "frames.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for side, measured in frames.items():
            for frame in measured:
                origin = {
                    "side": side,
                    "record": frame.record,
                    "view": frame.view,
                    "quality": frame.quality,
                    "instant": frame.instant,
                }
                writer.writerow(origin | {name: f"{value:.5g}" for name, value in frame.statistics.items()})


def write_sheet(out: Path, picture: UInt8[np.ndarray, "h w"]) -> None:
    """Writes sheet.png, and a notice that it holds frames which must not be published.

    Args:
        out: folder.
        picture: grey levels.
    """
    cv2.imwrite(str(out / "sheet.png"), picture)
    (out / "sheet_NOTICE.txt").write_text(NOTICE)


def contact_sheet(real: Iterable[Clip], simulated: Iterable[Clip], *, rows: int = 6) -> UInt8[np.ndarray, "h w"]:
    """Draws pairs of a real frame (left) and a simulated one (right), two pairs in a row, ED and ES in turn.

    Args:
        real: real clips.
        simulated: simulated clips; the shorter of the two ends the sheet.
        rows: most rows.
    """
    pairs = []
    for number, sides in enumerate(zip(real, simulated, strict=False)):
        tiles = [
            cv2.resize(ed_es_frames(clip)[number % 2].grey, (360, 270), interpolation=cv2.INTER_CUBIC) for clip in sides
        ]
        pairs.append(np.pad(np.concatenate(tiles, axis=1), ((3, 3), (3, 9)), constant_values=90))
        if len(pairs) == 2 * rows:
            break
    pairs += [np.zeros_like(pairs[0])] * (len(pairs) % 2)
    lines = [np.concatenate(pairs[i : i + 2], axis=1) for i in range(0, len(pairs), 2)]
    return np.clip(np.rint(np.concatenate(lines)), 0, 255).astype(np.uint8)
