"""The training loop: data, steps, validation, checkpoints, interruptions. All mathematics is in `step.py`."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.progress import Progress, TaskID

from data_pipelines.batch import Batch
from data_pipelines.batches import TrainingBatches
from echoforge_jax import compilation
from echoforge_jax.config import Config, stored_form
from echoforge_jax.console import progress_bar, say
from echoforge_jax.distributed import processes, sharding
from echoforge_jax.errors import CheckpointError, NonFiniteLoss
from echoforge_jax.interruption import StopRequest, stop_requests
from echoforge_jax.models.cost import count_cost
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.training.cadence import Cadence
from echoforge_jax.training.checkpoint import Checkpoints, abstract_state
from echoforge_jax.training.clock import Clock
from echoforge_jax.training.data import load, training_batches
from echoforge_jax.training.profiling import Profile, StepRange
from echoforge_jax.training.program import Program
from echoforge_jax.training.run_log import RunLog
from echoforge_jax.training.state import TrainState, inference_variables
from echoforge_jax.training.terms import Metrics
from echoforge_jax.training.validation import Validator
from echoforge_jax.weights.inference_folder import save_inference
from echoforge_jax.weights.trained import initial_weights

VALIDATION = "validation_dice_percent"
SLOW_INPUT = 0.1  # share of the time that a device may wait for data before the user is told


class Outcome(enum.Enum):
    """How a training ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"  # saved; the same command goes on


def train(
    config: Config,
    workdir: Path,
    *,
    profile: StepRange | None = None,
    convolutions: ConvImplementation | None = None,
    is_ready: Callable[[], None] | None = None,
    may_write: Callable[[], None] | None = None,
) -> Outcome:
    """Trains to the end of the configuration's epochs, or until SIGTERM or Ctrl-C, from the last checkpoint if any.

    Args:
        config: the configuration.
        workdir: folder of the run.
        profile: steps of which a trace is written into workdir/profile.
        convolutions: the forms in which convolutions are compiled; None takes the fastest for this machine.
        is_ready: called once data and weights have been read, before anything is written in the folder.
        may_write: raises where this process may no longer write in the folder; asked before every save.

    Raises:
        NonFiniteLoss: the loss is not finite: names the step; nothing is saved from it on.
        CheckpointError: a checkpoint cannot be written, or does not belong to this run.
        FolderLost: another command has taken the folder over.
        ConfigError: the configuration does not fit the devices, the data or the weights to start from.
        EmptySplit: no record of a split can be used.
        UnreadableRecord: a record cannot be read and `config.data.skip_unreadable` is False.
    """
    start = initial_weights(config)
    config = start.config
    mesh = sharding.make_mesh(config.training.mesh)
    sharding.check_batch(mesh, config.data.batch_clips, config.training.accumulate)
    batches = training_batches(config, num_devices=sharding.batch_parts(mesh))
    program = Program.build(
        config,
        mesh=mesh,
        steps_per_epoch=batches.steps_per_epoch,
        trained_variables=start.variables,
        convolutions=convolutions,
    )
    validator = Validator(
        program.networks.network, load(config.data, "validation"), batch_clips=config.data.batch_clips, mesh=mesh
    )
    if is_ready is not None:
        is_ready()
    with Checkpoints(workdir, config.training.keep_checkpoints, may_write) as checkpoints:
        loop = _Loop(program, batches, validator, checkpoints, workdir)
        alone = jax.process_count() == 1
        with stop_requests(unsaved=loop.is_unsaved, saving=checkpoints.is_saving, alone=alone) as stop:
            return loop.run(stop, Profile(profile, workdir / "profile"))


class _Loop:
    """One training: what it is made of, and the loop over its steps."""

    def __init__(
        self, program: Program, batches: TrainingBatches, validator: Validator, checkpoints: Checkpoints, workdir: Path
    ):
        self.program, self.batches, self.validator = program, batches, validator
        self.checkpoints, self.workdir, self.config = checkpoints, workdir, program.config
        self.cadence = Cadence(self.config.training, program.steps_per_epoch)
        makes_pseudo_labels = self.config.pseudo_labels.rules.makes_pseudo_labels
        self.has_pseudo_labels = makes_pseudo_labels and batches.has_unlabelled_frames
        self.step = self.saved_step = 0  # the last step that was done, and the last that was given to be saved
        self.compiled: list[Any] = []

    def is_unsaved(self) -> bool:
        """Tells whether steps were done that no checkpoint holds."""
        return self.step > self.saved_step

    def run(self, stop: StopRequest, profile: Profile) -> Outcome:
        """Trains from the last checkpoint, if any, to the end or to a request to stop."""
        self._describe()
        state = self._start()
        self.step = self.saved_step = int(state.step)
        cadence, log, clock, window = self.cadence, RunLog(self.workdir, self.step), Clock(), list[Metrics]()
        try:
            with progress_bar() as bar:
                task = bar.add_task("training", total=cadence.total_steps, completed=self.step, note="compiling")
                stopping = self._compile_validation(state, stop) or self._finish_epoch(state, log, bar, stop)
                for batch in () if stopping else clock.batches(self._batches(self.step)):
                    profile.before(self.step + 1)
                    state, metrics = self._advance(state, batch, clock)
                    window.append(metrics)
                    self.step += 1
                    profile.after(self.step, metrics)
                    self._show(bar, task, clock)
                    # Read once: a signal that comes later in this turn waits for the next.
                    stopping = _stops(stop)
                    saves = stopping or cadence.saves(self.step)
                    if saves or cadence.logs(self.step):
                        means = _checked_means(window, self.step)  # waits for the device: the time is the steps' own
                        times = clock.values(self.config.data.batch_clips)
                        log.write("train", self.step, cadence.epoch(self.step), means | times)
                        window = []
                        clock.restart()
                    if cadence.ends_epoch(self.step):
                        state = self.program.refresh(state)
                    if saves:
                        with clock.saving():
                            self._save(state)
                    with clock.paused():
                        stopping = stopping or self._finish_epoch(state, log, bar, stop)
                    if stopping:
                        self._save(state)
                        break
        finally:
            log.close()
            clock.close()
            profile.close()
        self.checkpoints.wait()
        processes.wait_for_all("everything is saved")  # a launcher may end all processes when the first has ended
        if self.step >= cadence.total_steps and log.has_epoch(self.step) and not stopping:
            return Outcome.FINISHED
        say(f"stopped and saved at step {self.step} of {cadence.total_steps}; the same command goes on from there")
        return Outcome.INTERRUPTED

    def _advance(self, state: TrainState, batch: Batch, clock: Clock) -> tuple[TrainState, Metrics]:
        """Does one step. The first one of its kind is compiled, which is left out of all times.

        Unsaved steps are saved before a compilation: it can outlast the time that is left after a SIGTERM.
        """
        step, placed = self._step(self.step), sharding.put_batch(batch, self.program.mesh)
        if step in self.compiled:
            state, metrics = step(state, placed)
            clock.dispatched(metrics)
            return state, metrics
        if self.is_unsaved():
            self._save(state)
        with clock.paused(), compilation.announced("the training step"):
            self.compiled.append(step)
            results = jax.block_until_ready(step(state, placed))
        if len(self.compiled) == 1:
            clock.restart()  # the first batch was waited for from cold readers
        return results

    def _compile_validation(self, state: TrainState, stop: StopRequest) -> bool:
        """Compiles the validation while nothing is unsaved. Returns whether the training is to stop."""
        if self.cadence.validates_after(self.step):
            with compilation.announced("the validation"):
                self.validator.compile(inference_variables(state))
        return _stops(stop)

    def _save(self, state: TrainState) -> None:
        self.checkpoints.save(state, self._meta(self.step))
        self.saved_step = self.step

    def _describe(self) -> None:
        data, mesh = self.config.data, self.program.mesh
        cost = count_cost(self.config.model, data.frames, data.size)
        say(f"devices: {dict(mesh.shape)} of {jax.devices()[0].device_kind} ({jax.default_backend()})")
        say(
            f"model: {cost.parameters / 1e6:.2f} M parameters, {cost.gflops_per_clip:.1f} GFLOPs a clip of "
            f"{data.frames} frames of {data.size}x{data.size} (2 x multiply-adds, compiler's count)"
        )
        total = self.cadence.total_steps
        say(f"training: {self.config.training.epochs} epochs, {total} steps of {data.batch_clips} clips")
        if self.config.pseudo_labels.rules.trains_reforging and not self.has_pseudo_labels:
            say("every frame is labelled: no pseudo-labels are needed, CPR only trains its own weights")

    def _start(self) -> TrainState:
        """Returns the last checkpoint's state, or a new one."""
        program, checkpoints = self.program, self.checkpoints
        if checkpoints.latest_step() is None:
            checkpoints.set_aside_after(0)
            return program.init()
        restored = checkpoints.restore(abstract_state(program.shapes, program.shardings))
        state, meta = restored.state, restored.meta
        if meta["steps_per_epoch"] != program.steps_per_epoch:
            raise CheckpointError(
                f"the checkpoint was made with {meta['steps_per_epoch']} steps an epoch, the data now give "
                f"{program.steps_per_epoch} on {program.num_devices} devices: records were added or removed, "
                "or unlabelled clips are shared out among another number of devices; use another --workdir"
            )
        if meta.get("clips", self.batches.digest) != self.batches.digest:
            raise CheckpointError(
                f"the checkpoint was made with other training clips than {self.config.data.root} now holds: records "
                "were added, removed or renamed, or other ones are labelled; use another --workdir"
            )
        checkpoints.set_aside_after(int(state.step))
        say(f"resumed from step {int(state.step)} of {self.cadence.total_steps}")
        return state

    def _meta(self, step: int) -> dict[str, Any]:
        """What a checkpoint says of itself beside the state."""
        return {
            "epoch": self.cadence.epoch(step),
            "steps_per_epoch": self.program.steps_per_epoch,
            "clips": self.batches.digest,
        }

    def _batches(self, first: int) -> Iterator[Batch]:
        data = self.config.data
        return self.batches.iterate(
            first, self.cadence.last_step, threads=data.workers, worker_processes=data.worker_processes
        )

    def _step(self, step: int) -> Any:
        """Returns the compiled step for this point of the training; pseudo-labels come in once they have a weight."""
        weight = np.asarray(self.program.schedules.pseudo_weight(step)) if self.has_pseudo_labels else 0.0
        return self.program.step(with_pseudo_labels=bool(weight > 0))

    def _show(self, bar: Progress, task: TaskID, clock: Clock) -> None:
        note = f"steps, epoch {self.cadence.epoch(self.step)}/{self.config.training.epochs}"
        if speed := clock.clips_per_s(self.config.data.batch_clips):
            note += f", {speed:.1f} clips/s"
        bar.update(task, completed=self.step, note=note)

    def _finish_epoch(self, state: TrainState, log: RunLog, bar: Progress, stop: StopRequest) -> bool:
        """Validates where it is due, keeps the best network, and tells the user about the epoch.

        It does so after the last step of an epoch, or at the start where an interruption left that to be done. The
        state is saved before where that is due, so a stop has not to wait for the validation.

        Returns:
            Whether the training is to stop; the epoch is finished by the next command then.
        """
        step, epoch = self.step, self.cadence.epoch(self.step)
        if not step or not self.cadence.ends_epoch(step) or log.has_epoch(step):
            return False
        values = log.epoch_means(epoch)
        if self.cadence.validates(epoch):
            variables = inference_variables(state)
            dice_percent = self.validator.dice_percent(variables, stops=lambda: _stops(stop))
            if dice_percent is None:
                return True
            values[VALIDATION] = dice_percent
            if values[VALIDATION] > log.best(VALIDATION):
                card = {"config": stored_form(self.config), "step": step, "epoch": epoch}
                self.checkpoints.save_best(state, self._meta(step), values[VALIDATION])
                save_inference(self.workdir / "inference", variables, card | {VALIDATION: values[VALIDATION]})
        log.write("epoch", step, epoch, values)
        if values.get("data_wait_share", 0.0) > SLOW_INPUT:
            say(
                f"slow input: the device waited for data {100 * values['data_wait_share']:.0f} % of epoch {epoch}; try "
                "more config.data.workers or worker_processes, or a prepared store (data_pipelines.prepare)"
            )
        if processes.is_main():
            bar.console.print(self._epoch_line(values), highlight=False, soft_wrap=True)
        return False

    def _epoch_line(self, values: dict[str, float]) -> str:
        parts = [f"epoch {self.cadence.epoch(self.step)}/{self.config.training.epochs}", f"loss {values['loss']:.4f}"]
        if VALIDATION in values:
            parts.append(f"validation Dice (ED and ES, network size) {values[VALIDATION]:.2f} %")
        if "lambda" in values:
            share = 100 * values["confident_share"]
            parts.append(f"lambda {values['lambda']:.2f}, confident pixels {share:.0f} %")
        if "clips_per_s" in values:  # of steps alone: without compilation, validation and saving
            clips_left = (self.cadence.total_steps - self.step) * self.config.data.batch_clips
            minutes_left = clips_left / values["clips_per_s"] / 60
            parts.append(f"{values['clips_per_s']:.1f} clips/s, {minutes_left:.1f} min left")
        return ", ".join(parts)


def _stops(stop: StopRequest) -> bool:
    """Whether to stop here; asked equally often by all processes, which stop at the same point."""
    return stop.received if jax.process_count() == 1 else processes.asked_to_stop()


def _checked_means(window: list[Metrics], step: int) -> dict[str, float]:
    """Averages the metrics of the last steps.

    Raises:
        NonFiniteLoss: one of them was not finite; that step and those after it changed nothing.
    """
    fetched = [{name: float(value) for name, value in metrics.items()} for metrics in window]
    for number, metrics in enumerate(fetched, step - len(fetched) + 1):
        if not metrics["finite"]:
            raise NonFiniteLoss(
                f"step {number}: loss {metrics['loss']}, gradient norm {metrics['gradient_norm']}; "
                "training stopped, the last checkpoint is kept. Lower config.optimizer.learning_rate, set "
                "config.optimizer.clip_norm, or look at the batch of that step"
            )
    return {name: float(np.mean([m[name] for m in fetched])) for name in fetched[-1] if name != "finite"}
