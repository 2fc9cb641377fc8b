"""Makes the paper's tables and figures: `echoforge reproduce table3 --scale=small`.

Tables 1 to 6 and Figs. 1d and 4 to 8 are the paper's; "labels" (mean Dice over the share of labelled patients),
"few_labels5", "few_labels10", "few_labels25" and all of these as "few_labels", "exposure" (how often a label is seen),
"parts" (TSF and ARC on real frames) and "defaults" (constants that the paper leaves open) are this project's own.

A table is a set of cells; a cell is one configuration and one seed. A finished cell is a small JSON file under
RESULTS/SCALE/ and is never trained again; an interrupted one resumes from its checkpoint. Then the table is written
from all finished cells, as Markdown, CSV and JSON, with paired tests against its first row. Plots lie beside the tables
as SVG and PNG, pictures of frames in WORKDIR/SCALE/figures.

Scales: "small" trains on simulated clips on 2 CPU cores. "paper" is the paper's setting; it needs
--set data.root=CAMUS --set model.pretrained=FILE.safetensors, and for EchoNet-Dynamic (Table 1, Figs. 4 and 8)
--set_echonet data.root=ECHONET, without which that data set is left out. "real" trains on real ED and ES frames and
needs the same fields; "real_small" is the same with a small network from Kaiming initialisation, "real_long" with ten
times the steps, for one accelerator.

Exit codes: 0 done; 75 stopped by a signal, and the same command resumes; 2 a fault of the command line, the
configuration or the data.
"""

from __future__ import annotations

from echoforge_jax import interruption

if __name__ == "__main__":
    interruption.install()  # before the imports below, which take seconds

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_pipelines.local_path import local_path, path_argument
from echoforge_jax.console import errors_as_messages, say
from echoforge_jax.errors import INTERRUPTED, OK, ConfigError
from echoforge_jax.reproduction.figures import FIGURES, draw
from echoforge_jax.reproduction.rows import CAMUS, ECHONET, TABLES
from echoforge_jax.reproduction.speed import measure_speed, write_table2
from echoforge_jax.reproduction.study import Cell, Study, configured, read_base
from echoforge_jax.reproduction.table_files import write_table, write_table1
from echoforge_jax.training.loop import Outcome

BASES = {  # scale -> data set -> base configuration
    "small": {CAMUS: "ablations/small", ECHONET: "ablations/small_echonet"},
    "paper": {CAMUS: "camus_semi", ECHONET: "echonet_dynamic"},
    "real": {CAMUS: "camus_ed_es"},
    "real_small": {CAMUS: "ablations/real_small"},
    "real_long": {CAMUS: "ablations/real_long"},
}
TARGETS = tuple(sorted({*TABLES, "table2", *FIGURES}))
RESULTS_OF_A_CHECKOUT, RESULTS = Path("docs/results"), Path("reproduction_results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the command line without the program's name; None takes that of the process.

    Returns:
        The exit code.
    """
    options = parse(arguments)
    with errors_as_messages(options.compilation_cache):
        study = open_study(options)
        if options.print_config is not None:
            print(row_as_json(study, options.target, options.print_config))
            return OK
        others = {
            CAMUS: _parse_systems("--against", options.against),
            ECHONET: _parse_systems("--against_echonet", options.against_echonet),
        }
        study.check_bases(write=not options.dry_run)
        if options.seeds < 1:
            raise ConfigError(f"--seeds is {options.seeds}; expected 1 or more")
        cells = cells_of_targets(study, options.target, options.seeds)
        unfinished = [cell for cell in cells if not study.is_finished(cell)]
        names = ", ".join(cell.name for cell in unfinished)
        say(f"{len(cells)} cells, {len(cells) - len(unfinished)} finished; to run: {names or 'none'}")
        if options.dry_run:
            return OK
        for number, cell in enumerate(() if options.finished_only else unfinished, start=1):
            say(f"cell {number} of {len(unfinished)}: {cell.name}")
            if study.run(cell) is Outcome.INTERRUPTED:
                say(f"{cell.name} is interrupted and saved; the same command resumes it")
                return INTERRUPTED
            print_tables(study, options.target, options.seeds, others)
        if options.finished_only or not unfinished:
            print_tables(study, options.target, options.seeds, others)
        if "table2" in options.target:
            lines = measure_speed(
                study,
                rounds=options.rounds,
                stream_frames=options.stream_frames,
                batch_clips=options.batch_clips,
                say=say,
            )
            print(write_table2(study, lines))
        for target in (target for target in options.target if target in FIGURES):
            for file in draw(study, target, seed=0):
                say(f"figure: {file}")
    return OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line; None takes that of the process."""
    parser = argparse.ArgumentParser(
        prog="echoforge reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "target",
        choices=TARGETS,
        nargs="+",
        metavar="TARGET",
        help=f"Names the tables and figures to make, some of: {', '.join(TARGETS)}.",
    )
    _add_configuration_flags(parser.add_argument_group("configuration"))
    _add_run_flags(parser.add_argument_group("cells and folders"))
    table1 = parser.add_argument_group("Table 1: other systems")
    for flag, data in (("--against", "CAMUS"), ("--against_echonet", "EchoNet-Dynamic")):
        table1.add_argument(
            flag,
            action="append",
            default=[],
            metavar="NAME=FOLDER",
            help=f"Adds another system on {data}, from a folder that `python -m echoforge_jax.evaluate` wrote. It may "
            "be given several times.",
        )
    table2 = parser.add_argument_group("Table 2: speed")
    table2.add_argument("--rounds", type=int, default=5, help="Sets how many passes are timed (default: 5).")
    table2.add_argument(
        "--stream_frames", type=int, default=100, help="Sets how many frames are timed one by one (default: 100)."
    )
    table2.add_argument("--batch_clips", type=int, default=1, help="Sets the clips of a timed pass (default: 1).")
    return parser.parse_args(arguments)


def _add_configuration_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--scale", choices=BASES, default="small", help="Chooses the base configurations (default: small)."
    )
    for suffix, data in (("", "CAMUS"), ("_echonet", "EchoNet-Dynamic")):
        group.add_argument(
            f"--config{suffix}",
            metavar="NAME_OR_FILE",
            help=f"Replaces the scale's base configuration for {data}, by name or by a file with get_config().",
        )
        group.add_argument(
            f"--set{suffix}",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            help=f"Sets a field of the base configuration for {data}. It may be given several times.",
        )
    group.add_argument(
        "--print_config",
        metavar="ROW",
        help="Prints the whole configuration of one row as JSON and stops. ROW is the row's label in the table, or the "
        'name of its cell without the seed: "+ TSF" or "tsf".',
    )


def _add_run_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--seeds", type=int, default=1, help="Trains every cell with seeds 0 to N - 1 (default: 1).")
    group.add_argument(
        "--workdir",
        type=path_argument,
        default=Path("runs/reproduce"),
        help="Names the folder of checkpoints and predictions, which may be lost (default: runs/reproduce).",
    )
    group.add_argument(
        "--results",
        type=path_argument,
        default=RESULTS_OF_A_CHECKOUT if RESULTS_OF_A_CHECKOUT.is_dir() else RESULTS,
        help=f"Names the folder of finished cells, tables and plots (default: {RESULTS_OF_A_CHECKOUT} where that "
        f"folder exists, else {RESULTS}).",
    )
    group.add_argument(
        "--finished_only", action="store_true", help="Trains nothing, and writes the tables from the finished cells."
    )
    group.add_argument("--dry_run", action="store_true", help="Lists the cells that would be trained, and stops.")
    group.add_argument(
        "--compilation_cache",
        metavar="FOLDER",
        help="Names the folder in which compiled programs are kept for later commands, or off (default: "
        "ECHOFORGE_COMPILATION_CACHE or JAX_COMPILATION_CACHE_DIR, else ~/.cache/echoforge_jax/xla).",
    )


def open_study(options: argparse.Namespace) -> Study:
    """Opens the study that the command line describes.

    Raises:
        ConfigError: a base configuration is not found, or a field cannot be set.
    """
    names = BASES[options.scale]
    bases = {CAMUS: read_base(options.config or names[CAMUS], options.set)}
    if options.config_echonet or ECHONET in names:
        echonet = read_base(options.config_echonet or names[ECHONET], options.set_echonet)
        if echonet.data.root or echonet.data.simulate.patients:
            bases[ECHONET] = echonet
    return Study(options.scale, bases, options.results / options.scale, options.workdir / options.scale)


def cells_of_targets(study: Study, targets: Sequence[str], seeds: int) -> list[Cell]:
    """Lists the cells that the targets need, each once.

    Args:
        study: a data set without a base configuration is left out.
        targets: names of tables and figures.
        seeds: seeds 0 to `seeds` - 1 of every cell; all cells of one seed come before the next seed.
    """
    cells = {
        cell.name: cell
        for seed in range(seeds)
        for target in targets
        for row in TABLES.get(FIGURES.get(target, target), ())
        if row.data in study.bases
        for cell in [Cell.from_row(row, seed)]
    }
    return list(cells.values())


def row_as_json(study: Study, targets: Sequence[str], name: str) -> str:
    """Returns the whole configuration of one row as JSON.

    Args:
        study: gives the base configurations.
        targets: names of tables and figures; their rows are searched.
        name: the row's label, or the name of its cell without the seed.

    Raises:
        ConfigError: no row has that name.
    """
    rows = [row for target in targets for row in TABLES.get(FIGURES.get(target, target), ()) if row.data in study.bases]
    for row in rows:
        if name in (row.label, Cell.from_row(row, 0).configuration_name):
            return json.dumps(dataclasses.asdict(configured(study.bases[row.data], row.changes)), indent=1)
    names = ", ".join(dict.fromkeys(f"{row.label!r} ({Cell.from_row(row, 0).configuration_name})" for row in rows))
    raise ConfigError(f"--print_config={name}: {', '.join(targets)} has no such row; expected one of {names or 'none'}")


def print_tables(study: Study, targets: Sequence[str], seeds: int, others: Mapping[str, Mapping[str, Path]]) -> None:
    """Writes the table of every target from the finished cells, and prints its first protocol.

    Args:
        study: the study.
        targets: names of tables and figures; a figure's table is the one that it is drawn from.
        seeds: seeds that each row should have.
        others: by data set, the folders of other systems' evaluations by name, for Table 1.
    """
    for table in dict.fromkeys(FIGURES.get(target, target) for target in targets):
        if table == "table1":
            print(write_table1(study, seeds, others))
        elif table != "table2":
            print(write_table(study, table, seeds).partition("\n# ")[0])


def _parse_systems(flag: str, texts: Sequence[str]) -> dict[str, Path]:
    """NAME=FOLDER texts as a mapping."""
    systems = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise ConfigError(f"{flag} {text}: expected NAME=FOLDER")
        systems[name] = Path(local_path(folder))
    return systems


if __name__ == "__main__":
    sys.exit(main())
