"""Trains and evaluates: `python -m echoforge_jax.train --config=configs/quickstart.py --workdir=runs/quickstart`.

Simulates the data first where the configuration asks for it. Run again, the same command resumes an interrupted
training, or says that it is done. Exit codes: 0 done, 75 interrupted with nothing unsaved, 2 configuration, data or a
folder in use, 3 non-finite loss, 74 storage, 76 processes that did not come together or one of which was lost (134: JAX
noticed it first), 77 another command took the folder over.
"""

from __future__ import annotations

from echoforge_jax import interruption

if __name__ == "__main__":
    interruption.install()  # before the imports below, which take seconds

import json
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from data_pipelines.simulator.cohort import Cohort, remove_other_cohort, write_cohort
from echoforge_jax.compilation_flags import COMPILATION_CACHE
from echoforge_jax.config import Config, read_config, replace, stored_form
from echoforge_jax.config.files import config_names
from echoforge_jax.console import errors_as_messages, parse_flags, progress_bar, say
from echoforge_jax.distributed import processes
from echoforge_jax.distributed.flags import join_cluster
from echoforge_jax.distributed.start import exit_if_process_lost
from echoforge_jax.errors import INTERRUPTED, ConfigError
from echoforge_jax.inference import Predictor
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.path_flags import PATH
from echoforge_jax.report.terminal import table
from echoforge_jax.scoring import choose_split, evaluate
from echoforge_jax.training.folder_lock import FolderLock, held_by_main
from echoforge_jax.training.loop import Outcome, train
from echoforge_jax.training.profiling import StepRange, parse_step_range
from echoforge_jax.training.run_folder import check, claim, has_checkpoint, is_done

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The configuration: a file with get_config(), or the name of one that ships with the package. Fields are set by "
    "flags such as --config.data.size=128; --print_config lists them with their values, and docs/reference/config.md "
    "explains them.",
)
_PROFILE = flags.DEFINE_string(
    "profile", None, "Steps FIRST:LAST of which a trace is written into WORKDIR/profile, e.g. 20:25."
)
_WORKDIR = flags.DEFINE(
    PATH,
    "workdir",
    None,
    "The folder of the run. Without it the run lies in runs/ under the name of the configuration.",
)
_TAKE_OVER = flags.DEFINE_bool(
    "take_over",
    False,
    "Takes the folder of the run from another command that works in it, which then ends without writing.",
)
_PRINT_CONFIG = flags.DEFINE_bool(
    "print_config", False, "Prints the whole configuration as JSON, with the fields of the command line, and stops."
)


def run(config: Config, workdir: Path, *, profile: StepRange | None = None, take_over: bool = False) -> Outcome:
    """Simulates (if asked for), trains, evaluates and reports one configuration in one folder.

    The folder is locked meanwhile. It becomes that of this configuration once data and weights have been read.

    Args:
        config: the configuration.
        workdir: folder of the run.
        profile: steps of which a trace is written.
        take_over: takes the folder from a command that is alive, which then ends without writing.

    Raises:
        ConfigError: the configuration names no data, or the folder holds another run; and as `train`.
        FolderInUse: another command works in the folder.
    """
    if config.data.simulate.patients and not config.data.root:
        config = replace(config, {"data.root": str(workdir / "simulated")})
    if not config.data.root:
        raise ConfigError("config.data.root is empty; give the data's folder: --config.data.root=PATH")
    processes.on_main(lambda: check(workdir, config))
    if is_done(workdir):
        say(
            f"{workdir} is done already; remove it or use another --workdir to train anew; to score it in another way: "
            f"python -m echoforge_jax.evaluate --workdir={workdir}"
        )
    else:
        with held_by_main(workdir, take_over=take_over) as lock:
            if _train_and_score(config, workdir, profile, lock) is Outcome.INTERRUPTED:
                return Outcome.INTERRUPTED
    if processes.is_main():
        print(table(json.loads((workdir / "metrics.json").read_text(encoding="utf-8"))))
        print(f"report: {workdir / 'report.html'}")
    return Outcome.FINISHED


def _train_and_score(config: Config, workdir: Path, profile: StepRange | None, lock: FolderLock) -> Outcome:
    convolutions = ConvImplementation.for_this_machine()
    if config.data.simulate.patients:
        processes.on_main(lambda: _simulate(config, workdir))
    outcome = train(
        config,
        workdir,
        profile=profile,
        convolutions=convolutions,
        is_ready=lambda: processes.on_main(lambda: claim(workdir, config, convolutions=convolutions)),
        may_write=lock.check,
    )
    if outcome is Outcome.INTERRUPTED or interruption.received():
        return Outcome.INTERRUPTED
    processes.on_main(lock.check)
    _evaluate(config, workdir)
    processes.wait_for_all("the run is scored")
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


def _simulate(config: Config, workdir: Path) -> None:
    simulation, root = config.data.simulate, Path(config.data.root or "")
    cohort = Cohort(
        patients=simulation.patients or 0,
        seed=simulation.seed,
        frames=simulation.frames,
        size=simulation.size,
        tree="echonet" if config.data.format == "echonet_dynamic" else "camus",
    )
    with progress_bar() as bar:
        task = bar.add_task("simulating", total=cohort.patients, note="patients")
        try:
            if root == workdir / "simulated" and not has_checkpoint(workdir):
                remove_other_cohort(root, cohort)
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
    with errors_as_messages(COMPILATION_CACHE.value):
        if _CONFIG.value is None:
            raise ConfigError(
                "--config is missing; for a first look: --config=quickstart. It takes a file with get_config() or one "
                f"of: {', '.join(config_names())}"
            )
        name = Path(config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0]).stem
        workdir = Path(_WORKDIR.value or f"runs/{name}")
        config = read_config(_CONFIG.value)
        if _PRINT_CONFIG.value:
            print(json.dumps(stored_form(config), indent=1))
            return
        profile = parse_step_range(_PROFILE.value)
        join_cluster(workdir)
        with exit_if_process_lost():
            outcome = run(config, workdir, profile=profile, take_over=_TAKE_OVER.value)
        if outcome is Outcome.INTERRUPTED:
            sys.exit(INTERRUPTED)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
