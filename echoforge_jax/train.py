"""Trains and evaluates: `python -m echoforge_jax.train --config=configs/quickstart.py --workdir=runs/quickstart`.

Simulates the data first where the configuration asks for it. Run again, the same command resumes an interrupted
training, or says that it is done. Exit codes: 0 done, 75 interrupted and saved, 2 configuration or data, 3 non-finite
loss, 74 storage, 76 processes that did not come together or one of which was lost (134: JAX noticed it first).
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from data_pipelines.simulator.cohort import write_cohort
from echoforge_jax.config import Config, read_config
from echoforge_jax.console import errors_as_messages, parse_flags, progress_bar, say
from echoforge_jax.distributed import processes
from echoforge_jax.distributed.flags import join_cluster
from echoforge_jax.distributed.start import exit_if_process_lost
from echoforge_jax.errors import INTERRUPTED, ConfigError
from echoforge_jax.inference import Predictor
from echoforge_jax.report.terminal import table
from echoforge_jax.scoring import choose_split, evaluate
from echoforge_jax.training.loop import Outcome, train
from echoforge_jax.training.profiling import parse_step_range
from echoforge_jax.training.run_folder import claim, is_done

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file with get_config(); fields: --config.data.size=128")
_PROFILE = flags.DEFINE_string("profile", None, "FIRST:LAST steps to trace into WORKDIR/profile, e.g. 20:25.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default: runs/<name of the config file>.")


def run(config: Config, workdir: Path, profile: tuple[int, int] | None = None) -> Outcome:
    """Simulation (if asked for), training, evaluation and report of one configuration in one folder."""
    if config.data.simulate.patients and not config.data.root:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, root=str(workdir / "simulated")))
    if not config.data.root:
        raise ConfigError("config.data.root is empty; give the data's folder: --config.data.root=PATH")
    with processes.main_first("the folder is claimed"):
        claim(workdir, config)
    if is_done(workdir):
        say(
            f"{workdir} is done already; remove it or use another --workdir to train anew; to score it in another way: "
            f"python -m echoforge_jax.evaluate --workdir={workdir}"
        )
    else:
        if config.data.simulate.patients:
            with processes.main_first("the data are simulated"):
                _simulate(config)
        if train(config, workdir, profile) is Outcome.INTERRUPTED:
            return Outcome.INTERRUPTED
        predictor, trained, _ = Predictor.load(workdir / "inference")
        of_network = {"scales": trained.evaluation.scales, "threshold": trained.evaluation.threshold}
        here = dataclasses.replace(config.evaluation, **of_network)
        trained = dataclasses.replace(trained, data=config.data, evaluation=here)  # the data may have been moved since
        evaluate(trained, predictor, choose_split(trained), config.evaluation.protocols, workdir)
        processes.wait_for_all("the run is scored")
    if processes.is_main():
        print(table(json.loads((workdir / "metrics.json").read_text())))
        print(f"report: {workdir / 'report.html'}")
    return Outcome.FINISHED


def _simulate(config: Config) -> None:
    wanted = config.data.simulate
    with progress_bar() as bar:
        task = bar.add_task("simulating", total=wanted.patients, note="patients")
        try:
            write_cohort(
                Path(config.data.root),
                patients=wanted.patients,
                seed=wanted.seed,
                frames=wanted.frames,
                size=wanted.size,
                processes=wanted.processes,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                tree="echonet" if config.data.format == "echonet_dynamic" else "camus",
            )
        except ValueError as error:
            raise ConfigError(f"config.data.simulate: {error}") from error


def main(_: list[str]) -> None:
    with errors_as_messages():
        if _CONFIG.value is None:
            raise ConfigError("--config is missing; for a first look: --config=configs/quickstart.py")
        name = Path(config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0]).stem
        workdir = Path(_WORKDIR.value or f"runs/{name}")
        config = read_config(_CONFIG.value)
        join_cluster(workdir)
        with exit_if_process_lost():
            outcome = run(config, workdir, parse_step_range(_PROFILE.value))
        if outcome is Outcome.INTERRUPTED:
            sys.exit(INTERRUPTED)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
