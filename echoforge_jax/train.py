"""Trains and evaluates: `python -m echoforge_jax.train --config=configs/quickstart.py --workdir=runs/quickstart`.

Simulates the data first where the configuration asks for it. Run again, the same command resumes an interrupted
training, or says that it is done. Exit codes: 0 done, 75 interrupted and saved, 2 configuration or data, 3 non-finite
loss, 74 storage, 76 processes that did not come together or one of which was lost (134: JAX noticed it first).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from data_pipelines.simulator.cohort import Cohort, write_cohort
from echoforge_jax.config import Config, SimulationConfig, read_config, replace
from echoforge_jax.console import errors_as_messages, parse_flags, progress_bar, say
from echoforge_jax.distributed import processes
from echoforge_jax.distributed.flags import join_cluster
from echoforge_jax.distributed.start import exit_if_process_lost
from echoforge_jax.errors import INTERRUPTED, ConfigError
from echoforge_jax.inference import Predictor
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.report.terminal import table
from echoforge_jax.scoring import choose_split, evaluate
from echoforge_jax.training.loop import Outcome, train
from echoforge_jax.training.profiling import StepRange, parse_step_range
from echoforge_jax.training.run_folder import claim, is_done

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The configuration: a file with get_config(), or the name of one that ships with the package. Fields are set by "
    "flags such as --config.data.size=128.",
)
_PROFILE = flags.DEFINE_string(
    "profile", None, "Steps FIRST:LAST of which a trace is written into WORKDIR/profile, e.g. 20:25."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of the run. Without it the run lies in runs/ under the name of the configuration."
)


def run(config: Config, workdir: Path, *, profile: StepRange | None = None) -> Outcome:
    """Simulates (if asked for), trains, evaluates and reports one configuration in one folder.

    Args:
        config: the configuration.
        workdir: folder of the run.
        profile: steps of which a trace is written.

    Raises:
        ConfigError: the configuration names no data, or the folder holds another run; and as `train`.
    """
    simulation, convolutions = config.data.simulate, ConvImplementation.for_this_machine()
    if simulation.patients and not config.data.root:
        config = replace(config, {"data.root": str(workdir / "simulated")})
    if not config.data.root:
        raise ConfigError("config.data.root is empty; give the data's folder: --config.data.root=PATH")
    with processes.main_first("the folder is claimed"):
        claim(workdir, config, convolutions=convolutions)
    if is_done(workdir):
        say(
            f"{workdir} is done already; remove it or use another --workdir to train anew; to score it in another way: "
            f"python -m echoforge_jax.evaluate --workdir={workdir}"
        )
    else:
        if simulation.patients:
            with processes.main_first("the data are simulated"):
                _simulate(simulation, Path(config.data.root), config.data.format)
        if train(config, workdir, profile=profile, convolutions=convolutions) is Outcome.INTERRUPTED:
            return Outcome.INTERRUPTED
        _evaluate(config, workdir)
        processes.wait_for_all("the run is scored")
    if processes.is_main():
        print(table(json.loads((workdir / "metrics.json").read_text(encoding="utf-8"))))
        print(f"report: {workdir / 'report.html'}")
    return Outcome.FINISHED


def _evaluate(config: Config, workdir: Path) -> None:
    """Scores the best network of a run on today's data, which may have been moved since the training."""
    predictor = Predictor.load(workdir / "inference")
    trained = predictor.trained.config
    here = replace(
        trained,
        {
            "data": config.data,
            "evaluation": config.evaluation,
            "evaluation.scales": trained.evaluation.scales,
            "evaluation.threshold": trained.evaluation.threshold,
        },
    )
    evaluate(here, predictor, split=choose_split(here), protocols=config.evaluation.protocols, out=workdir)


def _simulate(simulation: SimulationConfig, root: Path, data_format: str) -> None:
    patients = simulation.patients or 0
    with progress_bar() as bar:
        task = bar.add_task("simulating", total=patients, note="patients")
        try:
            cohort = Cohort(
                patients=patients,
                seed=simulation.seed,
                frames=simulation.frames,
                size=simulation.size,
                tree="echonet" if data_format == "echonet_dynamic" else "camus",
            )
            write_cohort(
                root,
                cohort,
                processes=simulation.processes,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        except ValueError as error:
            raise ConfigError(f"config.data.simulate: {error}") from error


def main(_: list[str]) -> None:
    """Runs the command."""
    with errors_as_messages():
        if _CONFIG.value is None:
            raise ConfigError("--config is missing; for a first look: --config=configs/quickstart.py")
        name = Path(config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0]).stem
        workdir = Path(_WORKDIR.value or f"runs/{name}")
        config = read_config(_CONFIG.value)
        join_cluster(workdir)
        with exit_if_process_lost():
            outcome = run(config, workdir, profile=parse_step_range(_PROFILE.value))
        if outcome is Outcome.INTERRUPTED:
            sys.exit(INTERRUPTED)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
