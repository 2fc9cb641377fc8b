"""The paper's ablations, one command each: `python scripts/reproduce.py table3 --scale=small --seeds=1`.

Tables 3, 4 and 5 and the sweep over K of Fig. 7. A table is a set of cells; a cell is one configuration and one seed.
Cells that several tables share are one cell. A finished cell is a small JSON under docs/results/SCALE/ and is never run
again; one that was cut goes on from its checkpoint. Then the table is written anew from all finished cells, as
Markdown, CSV and JSON, with paired tests against its first row. `--dry_run` shows what would run. Exit code 75:
stopped by a signal and resumable, as `echoforge_jax.train`.

--scale=small: configs/ablations/small.py, simulated clips, 2 CPU cores. --scale=paper: --config, by default
configs/camus_semi.py, with fields given as --set data.root=CAMUS --set model.pretrained=resnet50.safetensors.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from echoforge_jax.cli import INTERRUPTED, exit_with
from echoforge_jax.config import Config, ConfigError, read_config
from echoforge_jax.evaluation.statistics import bootstrap_ci, compare_paired, holm
from echoforge_jax.train import run
from echoforge_jax.training.log import say
from echoforge_jax.training.loop import Outcome

ROOT = Path(__file__).resolve().parents[1]
FULL = {"model.temporal_fusion": True, "model.anchor_recalibration": True, "semi.pseudo_labels": "reforging"}
WITHOUT_CPR = {**FULL, "semi.pseudo_labels": "none"}
Changes = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table: the paper's name for it, the fields it changes, the paper's CAMUS-Semi mDice in per cent."""

    label: str
    changes: Changes
    paper: float | None = None


BASELINE = {**WITHOUT_CPR, "model.temporal_fusion": False, "model.anchor_recalibration": False}
TABLES = {
    "table3": (
        Row("baseline", BASELINE, 88.52),
        Row("+ TSF", {**WITHOUT_CPR, "model.anchor_recalibration": False}, 92.36),
        Row("+ TSF + ARC", WITHOUT_CPR, 93.43),
        Row("+ TSF + ARC + CPR", FULL, 94.89),
    ),
    "table4": tuple(
        Row(f"{n} anchors" if n > 1 else "1 anchor", {**FULL, "model.anchors": n}, paper)
        for n, paper in ((1, 94.52), (2, 94.89), (3, 94.96), (4, 94.91))
    ),
    "table5": (
        Row("without CPR", WITHOUT_CPR, 93.43),
        Row("+ channel attention", {**FULL, "semi.flamerise": False}, 94.54),
        Row("+ FlameRise", FULL, 94.89),
    ),
    "fig7": tuple(Row(f"K = {k}", {**FULL, "model.neighbours": k}) for k in (1, 4, 8, 16, 32, 64)),
}  # fmt: skip


def read_base(path: Path, settings: Sequence[str]) -> Any:
    """`get_config()` of a file, with fields set from "data.root=PATH" texts.

    Raises:
        ConfigError: the file is missing, or a field does not exist or cannot hold the value.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing; expected a file with get_config()")
    spec = importlib.util.spec_from_file_location("reproduced_config", path)
    assert spec and spec.loader
    if str(ROOT) not in sys.path:  # configurations import each other from the project's root
        sys.path.insert(0, str(ROOT))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    for setting in settings:
        name, _, text = setting.partition("=")
        _set(config, name, text)
    return config


def _set(config: Any, name: str, value: Any) -> None:
    """Sets "part.field"; a text is read as the field's own kind."""
    *parts, field = name.split(".")
    holder = config
    try:
        for part in parts:
            holder = holder[part]
        kind = type(holder[field])
        if isinstance(value, str) and kind is not str:
            value = {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
        holder[field] = value
    except (KeyError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"--set {name}: {error}") from error


def cell_name(changes: Changes, seed: int) -> str:
    """The same for the same fields, whichever table asks: the defaults' cell is "full"."""
    if changes["semi.pseudo_labels"] != "reforging":
        parts = [part for part, name in (("tsf", "temporal_fusion"), ("arc", "anchor_recalibration"))
                 if changes[f"model.{name}"]] or ["baseline"]  # fmt: skip
    else:
        parts = ["full"]
    for name, default, short in (
        ("semi.flamerise", True, "without_flamerise"), ("model.anchors", 2, "anchors"), ("model.neighbours", 16, "k")
    ):  # fmt: skip
        if (value := changes.get(name, default)) != default:
            parts.append(short if isinstance(default, bool) else f"{short}{value}")
    return f"{'_'.join(parts)}_seed{seed}"


def digest(base: Any) -> str:
    """Of everything in the base configuration but where the data lie: cells of another base are not the same cells."""
    values = dataclasses.asdict(read_config(base))
    values["data"].pop("root")
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def is_finished(file: Path, base_digest: str) -> bool:
    """Whether the cell's JSON is there.

    Raises:
        ConfigError: it is there, and was made with another base configuration.
    """
    if not file.is_file():
        return False
    found = json.loads(file.read_text(encoding="utf-8"))["base"]
    if found != base_digest:
        raise ConfigError(
            f"{file} was made with another base configuration ({found}, now {base_digest}); remove it, or give another "
            "--results folder"
        )
    return True


def run_cell(base: Any, changes: Changes, seed: int, work: Path, result_file: Path) -> Outcome:
    """Trains and scores one cell, and writes its JSON."""
    values = base.copy_and_resolve_references()
    for name, value in changes.items():
        _set(values, name, value)
    values.seed = seed
    config = read_config(values)
    if config.data.simulate.patients and not config.data.root:
        data = dataclasses.replace(config.data, root=str(work.parent / "simulated"))  # one population for all cells
        config = dataclasses.replace(config, data=data)
    start = time.monotonic()
    if run(config, work) is Outcome.INTERRUPTED:
        return Outcome.INTERRUPTED
    result = {"base": digest(base), **summarise_cell(config, changes, seed, work)}
    result["minutes_of_the_last_session"] = round((time.monotonic() - start) / 60, 1)
    result_file.parent.mkdir(parents=True, exist_ok=True)
    result_file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return Outcome.FINISHED


def summarise_cell(config: Config, changes: Changes, seed: int, work: Path) -> dict[str, Any]:
    """What a table needs of a finished run: by protocol the patients' mean Dice and distances, EF, and the last epoch's
    monitors."""
    metrics = json.loads((work / "metrics.json").read_text(encoding="utf-8"))
    with (work / "per_frame.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    protocols = {}
    for protocol, summary in metrics["protocols"].items():
        by_patient: dict[str, list[float]] = {}
        for row in rows:
            if row["protocol"] == protocol:
                by_patient.setdefault(row["patient_id"], []).append(100 * float(row["dice"]))
        protocols[protocol] = {
            "dice_percent_by_patient": {key: round(float(np.mean(v)), 4) for key, v in sorted(by_patient.items())},
            "frames": summary["n_frames"],
            "dice_percent": summary["dice_percent"]["mean"],
            "dice_percent_by_phase": {key: of["dice_percent"]["mean"] for key, of in summary["by_phase"].items()},
            "distances": {
                unit: {key: found[key]["mean"] for key in ("hd", "hd95", "assd")}
                for unit, found in summary["distances"].items()
                if found["hd"]["n"]
            },
            "ejection_fraction": {
                method: {key: found["agreement"][key] for key in ("pearson_r", "bias", "sd", "n")}
                for method, found in summary["ejection_fraction"].items()
                if found["agreement"]
            },
        }
    lines = [json.loads(line) for line in (work / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = next((line for line in reversed(lines) if line.get("kind") == "epoch"), {})
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "seed": seed, "changes": changes, "commit": commit.stdout.strip() or "unknown",
        "date": time.strftime("%Y-%m-%d"),
        "simulated": metrics["simulated"], "split": metrics["split"], "epochs": config.training.epochs,
        "protocols": protocols,
        "last_epoch": {key: value for key, value in last.items() if isinstance(value, int | float)},
    }  # fmt: skip


def tabulate(rows: Sequence[Row], cells: Sequence[Sequence[dict[str, Any]]], protocol: str) -> list[dict[str, Any]]:
    """One line for each row that has a finished cell; Dice is the mean over seeds of each patient's mean.

    The difference to the table's first row uses the seeds that both have, paired by patient and seed.
    """
    lines: list[dict[str, Any]] = []
    for row, of_row in zip(rows, cells, strict=True):
        if not of_row:
            continue
        scores = [cell["protocols"][protocol] for cell in of_row]
        values: dict[str, list[float]] = {}
        for score in scores:
            for patient, dice in score["dice_percent_by_patient"].items():
                values.setdefault(patient, []).append(dice)
        low, high = bootstrap_ci(values, seed=0)
        unit = next(iter(scores[0]["distances"]))
        ef = [s["ejection_fraction"]["biplane_discs"] for s in scores if "biplane_discs" in s["ejection_fraction"]]
        line = {
            "row": row.label, "seeds": len(of_row), "patients": len(values),
            "dice_percent": float(np.mean([v for of in values.values() for v in of])),
            "ci95_low": low, "ci95_high": high,
            "dice_percent_by_seed": [float(np.mean(list(s["dice_percent_by_patient"].values()))) for s in scores],
            f"hd95_{unit}": float(np.mean([s["distances"][unit]["hd95"] for s in scores])),
            f"assd_{unit}": float(np.mean([s["distances"][unit]["assd"] for s in scores])),
            "ef_biplane_r": float(np.mean([e["pearson_r"] for e in ef])) if ef else None,
            "ef_biplane_bias": float(np.mean([e["bias"] for e in ef])) if ef else None,
            "paper_dice_percent": row.paper,
        }  # fmt: skip
        first = {cell["seed"]: cell["protocols"][protocol]["dice_percent_by_patient"] for cell in cells[0]}
        pairs = [(cell["protocols"][protocol]["dice_percent_by_patient"], first[cell["seed"]])
                 for cell in of_row if cell["seed"] in first]  # fmt: skip
        if lines and pairs:
            ours, theirs = ({key: [pair[side][key] for pair in pairs] for key in pairs[0][side]} for side in (0, 1))
            line["against_first"] = compare_paired(ours, theirs, seed=0)
        lines.append(line)
    adjusted = holm({line["row"]: line["against_first"]["p_signed_rank"] for line in lines if "against_first" in line})
    for line in lines:
        if "against_first" in line:
            line["against_first"]["p_signed_rank_holm"] = adjusted[line["row"]]
    return lines


def markdown(title: str, lines: Sequence[dict[str, Any]], protocol: str, note: str) -> str:
    """The table as Markdown."""
    which = "ED and ES" if protocol == "semi" else "every frame"
    text = [
        f"# {title}, protocol {protocol} ({which})", "", note, "",
        "| row | seeds | mDice % [95 % CI by patient] | each seed | minus first row [95 % CI], Holm signed-rank p "
        "| HD95 (pooled) | ASSD | EF biplane discs: r, bias | paper, CAMUS-Semi |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    number = lambda value, form: "n/a" if value is None else format(value, form)
    for line in lines:
        hd95, assd = (
            next(f"{line[key]:.2f} {key.split('_')[1]}" for key in line if key.startswith(name))
            for name in ("hd95_", "assd_")
        )
        versus = "-"
        if found := line.get("against_first"):
            low, high = found["ci95"]
            versus = f"{found['difference']:+.2f} [{low:+.2f}, {high:+.2f}], p {found['p_signed_rank_holm']:.3g}"
        text.append(
            f"| {line['row']} | {line['seeds']} "
            f"| {line['dice_percent']:.2f} [{line['ci95_low']:.2f}, {line['ci95_high']:.2f}] "
            f"| {', '.join(format(value, '.2f') for value in line['dice_percent_by_seed'])} "
            f"| {versus} | {hd95} | {assd} "
            f"| {number(line['ef_biplane_r'], '.3f')}, {number(line['ef_biplane_bias'], '+.2f')} "
            f"| {number(line['paper_dice_percent'], '.2f')} |"
        )
    return "\n".join(text) + "\n"


def write_table(name: str, rows: Sequence[Row], seeds: int, results: Path, scale: str) -> None:
    """docs/results/SCALE/NAME.{md,csv,json} from the cells that are finished."""
    cells = [[json.loads(path.read_text(encoding="utf-8")) for seed in range(seeds)
              if (path := results / f"{cell_name(row.changes, seed)}.json").is_file()] for row in rows]  # fmt: skip
    finished = [cell for of_row in cells for cell in of_row]
    if not finished:
        return
    note = (
        f"{sum(map(len, cells))} of {len(rows) * seeds} cells finished. "
        + (
            "SIMULATED clips: not comparable with the paper's numbers, only with its order. "
            if finished[0]["simulated"]
            else ""
        )
        + f"Split {finished[0]['split']}, {finished[0]['epochs']} epochs; "
        + f"commits {', '.join(sorted({cell['commit'] for cell in finished}))}."
    )
    tables, texts = {}, []
    for protocol in finished[0]["protocols"]:
        tables[protocol] = tabulate(rows, cells, protocol)
        texts.append(markdown(f"{name}, scale {scale}", tables[protocol], protocol, note))
    (results / f"{name}.md").write_text("\n".join(texts), encoding="utf-8")
    (results / f"{name}.json").write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")
    stream = io.StringIO()
    flat = [{"protocol": protocol, **{k: v for k, v in line.items() if not isinstance(v, dict | list)}}
            for protocol, lines in tables.items() for line in lines]  # fmt: skip
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for line in flat for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    (results / f"{name}.csv").write_text(stream.getvalue(), encoding="utf-8")
    print(texts[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES, nargs="+")
    parser.add_argument("--scale", choices=("small", "paper"), default="small")
    parser.add_argument("--config", type=Path, help="base configuration; default by scale")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of the base, repeatable"
    )
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 .. N-1 of every cell")
    parser.add_argument("--workdir", type=Path, default=Path("runs/reproduce"), help="checkpoints; may be lost")
    parser.add_argument("--results", type=Path, default=Path("docs/results"), help="finished cells and tables")
    parser.add_argument("--dry_run", action="store_true", help="list the cells and stop")
    arguments = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    default = ROOT / "configs" / ("ablations/small.py" if arguments.scale == "small" else "camus_semi.py")
    results, work = arguments.results / arguments.scale, arguments.workdir / arguments.scale
    with exit_with():
        base = read_base(arguments.config or default, arguments.set)
        wanted: dict[str, tuple[Changes, int]] = {}
        for seed in range(arguments.seeds):  # a whole table of one seed before the next seed
            for table in arguments.table:
                for row in TABLES[table]:
                    wanted.setdefault(cell_name(row.changes, seed), (row.changes, seed))
        of_base = digest(base)
        open_cells = [name for name in wanted if not is_finished(results / f"{name}.json", of_base)]
        say(f"{len(wanted)} cells, {len(wanted) - len(open_cells)} finished; to run: {', '.join(open_cells) or 'none'}")
        if arguments.dry_run:
            return
        for i, name in enumerate(open_cells):
            say(f"cell {i + 1} of {len(open_cells)}: {name}")
            changes, seed = wanted[name]
            if run_cell(base, changes, seed, work / name, results / f"{name}.json") is Outcome.INTERRUPTED:
                say(f"{name} is interrupted and saved; the same command goes on")
                sys.exit(INTERRUPTED)
            for table in arguments.table:
                write_table(table, TABLES[table], arguments.seeds, results, arguments.scale)
        for table in arguments.table if not open_cells else ():
            write_table(table, TABLES[table], arguments.seeds, results, arguments.scale)


if __name__ == "__main__":
    main()
