"""The paper's tables and figures, one command each: `python scripts/reproduce.py table3 --scale=small --seeds=1`.

Tables 1 to 6, Figs. 1d and 4 to 8, "labels" (mDice over the share of labelled patients) and "defaults" (constants that
the paper leaves open). A table is a set of cells; a cell is one configuration and one seed. A finished cell is a small
JSON under docs/results/SCALE/ and is never run again; one that was cut goes on from its checkpoint. Then the table is
written anew from all finished cells, as Markdown, CSV and JSON, with paired tests against its first row. `--dry_run`
shows what would run. Exit code 75: stopped by a signal and resumable, as `echoforge_jax.train`.

--scale=small: configs/ablations/small.py and small_echonet.py, simulated clips, 2 CPU cores. --scale=paper: --config,
by default configs/camus_semi.py, with fields given as --set data.root=CAMUS --set model.pretrained=FILE.safetensors;
EchoNet-Dynamic (Table 1, Figs. 4 and 8) with --set_echonet data.root=ECHONET, or else it is left out. --scale=real:
configs/camus_ed_es.py, real ED and ES frames, the same flags; targets "parts" (TSF and ARC), "few_labels5", 10 and 25,
or all of these as "few_labels", and "exposure" (how often a label is seen). --scale=real_small: the same with a small
network from Kaiming initialisation; --scale=real_long: ten times the steps of "real", for one accelerator.
Table 1 sets other systems beside EchoForge: --against NAME=FOLDER of `python -m echoforge_jax.evaluate`.
Plots go beside the tables as SVG and PNG, pictures of frames to WORKDIR/SCALE/figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from echoforge_jax.console import errors_as_messages, say
from echoforge_jax.errors import INTERRUPTED, ConfigError
from echoforge_jax.reproduction.figures import FIGURES, draw
from echoforge_jax.reproduction.speed import measure_speed, write_table2
from echoforge_jax.reproduction.study import CAMUS, ECHONET, ROOT, Cell, Study, read_base
from echoforge_jax.reproduction.tables import TABLES, write_table, write_table1
from echoforge_jax.training.loop import Outcome

DEFAULTS = {
    "small": {CAMUS: "ablations/small.py", ECHONET: "ablations/small_echonet.py"},
    "paper": {CAMUS: "camus_semi.py", ECHONET: "echonet_dynamic.py"},
    "real": {CAMUS: "camus_ed_es.py"},
    "real_small": {CAMUS: "ablations/real_small.py"},
    "real_long": {CAMUS: "ablations/real_long.py"},
}
TARGETS = tuple(sorted({*TABLES, "table2", *FIGURES}))


def open_study(arguments: argparse.Namespace) -> Study:
    """The base configurations and folders that the flags name.

    Raises:
        ConfigError: as `read_base`.
    """
    paths = DEFAULTS[arguments.scale]
    bases = {CAMUS: read_base(arguments.config or ROOT / "configs" / paths[CAMUS], arguments.set)}
    if arguments.config_echonet or ECHONET in paths:
        echonet = read_base(arguments.config_echonet or ROOT / "configs" / paths[ECHONET], arguments.set_echonet)
        if echonet.data.root or echonet.data.simulate.patients:
            bases[ECHONET] = echonet
    return Study(arguments.scale, bases, arguments.results / arguments.scale, arguments.workdir / arguments.scale)


def cells_of(study: Study, targets: Sequence[str], seeds: int) -> list[Cell]:
    """The cells of all targets, each once, a whole table of one seed before the next seed."""
    wanted: dict[str, Cell] = {}
    for seed in range(seeds):
        for target in targets:
            for row in TABLES.get(FIGURES.get(target, target), ()):
                if row.data in study.bases:
                    cell = Cell(row.changes, seed, row.data)
                    wanted.setdefault(cell.name, cell)
    return list(wanted.values())


def write_tables(study: Study, targets: Sequence[str], seeds: int, others: dict[str, dict[str, Path]]) -> None:
    """Every target's table (a figure's, where it has one) from the finished cells."""
    for name in dict.fromkeys(FIGURES.get(target, target) for target in targets):
        if name == "table1":
            print(write_table1(study, seeds, others))
        elif name != "table2":
            print(write_table(study, name, seeds).partition("\n# ")[0])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS, nargs="+")
    parser.add_argument("--scale", choices=DEFAULTS, default="small")
    parser.add_argument("--config", type=Path, help="base configuration for CAMUS; default by scale")
    parser.add_argument("--config_echonet", type=Path, help="the same for EchoNet-Dynamic")
    for flag, what in (("--set", "CAMUS"), ("--set_echonet", "EchoNet-Dynamic")):
        parser.add_argument(
            flag, action="append", default=[], metavar="FIELD=VALUE", help=f"a field of the base for {what}, repeatable"
        )
    for flag, what in (("--against", "CAMUS"), ("--against_echonet", "EchoNet-Dynamic")):
        parser.add_argument(
            flag, action="append", default=[], metavar="NAME=FOLDER", help=f"Table 1: another system on {what}"
        )
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 .. N-1 of every cell")
    parser.add_argument("--workdir", type=Path, default=Path("runs/reproduce"), help="checkpoints; may be lost")
    parser.add_argument("--results", type=Path, default=Path("docs/results"), help="finished cells, tables and plots")
    parser.add_argument("--rounds", type=int, default=5, help="Table 2: timed passes")
    parser.add_argument("--stream_frames", type=int, default=100, help="Table 2: frames timed one by one")
    parser.add_argument("--batch_clips", type=int, default=1, help="Table 2: clips a pass")
    parser.add_argument("--finished_only", action="store_true", help="train nothing: write from the cells there are")
    parser.add_argument("--dry_run", action="store_true", help="list the cells and stop")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    logging.set_verbosity(logging.ERROR)
    with errors_as_messages():
        study = open_study(arguments)
        others = {CAMUS: _named(arguments.against), ECHONET: _named(arguments.against_echonet)}
        study.check_bases(write=not arguments.dry_run)
        cells = cells_of(study, arguments.target, arguments.seeds)
        open_cells = [cell for cell in cells if not study.is_finished(cell)]
        names = ", ".join(cell.name for cell in open_cells)
        say(f"{len(cells)} cells, {len(cells) - len(open_cells)} finished; to run: {names or 'none'}")
        if arguments.dry_run:
            return
        if arguments.finished_only:
            open_cells = []
        for i, cell in enumerate(open_cells):
            say(f"cell {i + 1} of {len(open_cells)}: {cell.name}")
            if study.run(cell) is Outcome.INTERRUPTED:
                say(f"{cell.name} is interrupted and saved; the same command goes on")
                sys.exit(INTERRUPTED)
            write_tables(study, arguments.target, arguments.seeds, others)
        if not open_cells:
            write_tables(study, arguments.target, arguments.seeds, others)
        if "table2" in arguments.target:
            lines = measure_speed(study, arguments.rounds, arguments.stream_frames, arguments.batch_clips, say)
            print(write_table2(study, lines))
        for target in arguments.target:
            if target in FIGURES:
                for file in draw(study, target, seed=0):
                    say(f"figure: {file}")


def _named(texts: Sequence[str]) -> dict[str, Path]:
    """NAME=FOLDER texts as a mapping.

    Raises:
        ConfigError: a text is not of that form.
    """
    found = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise ConfigError(f"--against {text}: expected NAME=FOLDER")
        found[name] = Path(folder)
    return found


if __name__ == "__main__":
    main()
