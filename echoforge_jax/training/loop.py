"""The training loop: data, steps, validation, checkpoints, interruptions. All mathematics is in `step.py`."""

from __future__ import annotations

import dataclasses
import enum
import functools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from rich.progress import Progress

from data_pipelines.batches import Batch, TrainingBatches
from echoforge_jax.config import Config
from echoforge_jax.console import progress_bar, say
from echoforge_jax.distributed import processes, sharding
from echoforge_jax.errors import CheckpointError, NonFiniteLoss
from echoforge_jax.models.cost import count_cost
from echoforge_jax.training import flamerise
from echoforge_jax.training.checkpoint import Checkpoints, abstract_state
from echoforge_jax.training.clock import SLOW_INPUT, Clock
from echoforge_jax.training.data import load, training_batches
from echoforge_jax.training.profiling import Profile
from echoforge_jax.training.recorder import RunLog
from echoforge_jax.training.state import (
    Networks,
    TrainState,
    inference_variables,
    initial_state,
    make_networks,
    make_optimizer,
    refresh_frozen,
)
from echoforge_jax.training.step import Metrics, Step, make_step
from echoforge_jax.training.validation import Validator
from echoforge_jax.weights.inference_folder import save_inference
from echoforge_jax.weights.trained import initial_weights

VALIDATION = "validation_dice_percent"


class Outcome(enum.Enum):
    """How a training ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"  # saved; the same command goes on


def train(config: Config, workdir: Path, profile: tuple[int, int] | None = None) -> Outcome:
    """Trains to the end of the configuration's epochs, or until SIGTERM or Ctrl-C, from the last checkpoint if any.

    Args:
        profile: first and last step, from 1, of which a trace is written into workdir/profile.

    Raises:
        NonFiniteLoss: names the step; nothing is saved from it on.
        CheckpointError, ConfigError, EmptySplit, UnreadableRecord: as their docstrings say.
    """
    config, start = initial_weights(config)
    mesh = sharding.make_mesh(config.training.mesh)
    batches = training_batches(config, mesh)
    networks = make_networks(config)
    validator = Validator(networks.network, load(config, "validation"), config.data.batch_clips, mesh)
    run = _Run(config, start, workdir, batches, validator, networks, mesh)
    with Checkpoints(workdir, config.training.keep_checkpoints) as checkpoints, catch_signals() as stop:
        return run.go(checkpoints, stop, Profile(profile, str(workdir / "profile")))


@contextmanager
def catch_signals() -> Iterator[dict[str, bool]]:
    """SIGTERM and Ctrl-C set a flag that the loop reads between steps; a second Ctrl-C stops at once.

    Of several processes one alone cannot stop: there SIGTERM is left to JAX, which lets all stop after the same step
    (`processes.asked_to_stop`), and Ctrl-C becomes a SIGTERM.
    """
    stop = {"asked": False}
    if jax.process_count() > 1:
        before = signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        try:
            yield stop
        finally:
            signal.signal(signal.SIGINT, before)
        return

    def ask(number: int, _: Any) -> None:
        if stop["asked"] and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop["asked"] = True
        say(f"{signal.Signals(number).name}: saving after this step (Ctrl-C again stops without saving)")

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Run:
    """The parts of one training that do not change while it runs, and the loop over its steps."""

    def __init__(
        self,
        config: Config,
        start: dict[str, Any] | None,
        workdir: Path,
        batches: TrainingBatches,
        validator: Validator,
        networks: Networks,
        mesh: Mesh,
    ):
        self.config, self.workdir, self.batches = config, workdir, batches
        self.validator, self.networks, self.mesh = validator, networks, mesh
        self.steps_per_epoch = batches.steps_per_epoch
        self.total_steps = config.training.epochs * self.steps_per_epoch
        self.optimizer, self.learning_rate = make_optimizer(config.optimizer, self.total_steps)
        self.schedules = flamerise.by_step(config.semi, config.training.epochs, self.steps_per_epoch)
        self.pseudo = config.semi.pseudo_labels != "none" and batches.has_unlabelled_frames
        self.init = lambda key: initial_state(config, self.optimizer, key, start)
        self.shapes = jax.eval_shape(self.init, jax.random.key(config.seed))
        self.shardings = sharding.state_shardings(mesh, self.shapes, config.training.split_from)
        refresh = functools.partial(refresh_frozen, teacher=config.semi.teacher)
        self.refresh = jax.jit(refresh, out_shardings=self.shardings, donate_argnums=0)
        self._compiled: dict[bool, Step] = {}

    def go(self, checkpoints: Checkpoints, stop: dict[str, bool], profile: Profile) -> Outcome:
        training, clips = self.config.training, self.config.data.batch_clips
        self._describe()
        state = self._start(checkpoints)
        step = int(state.step)
        last = min(self.total_steps, training.max_steps or self.total_steps)
        log = RunLog(self.workdir, step)
        window: list[Metrics] = []
        clock = Clock()
        try:
            with progress_bar() as bar:
                task = bar.add_task("training", total=self.total_steps, completed=step, note="compiling the step")
                for batch in clock.batches(self._batches(step, last)):
                    profile.before(step + 1)
                    state, metrics = self._step(step)(state, sharding.put_batch(batch, self.mesh))
                    window.append(metrics)
                    clock.dispatched(metrics)
                    step += 1
                    profile.after(step, metrics)
                    epoch, within = (step - 1) // self.steps_per_epoch + 1, step % self.steps_per_epoch
                    note = f"steps, epoch {epoch}/{training.epochs}, {clock.clips_per_s(clips):.1f} clips/s"
                    bar.update(task, completed=step, note=note)
                    # Read once: a signal that comes later in this turn waits for the next.
                    stopping = stop["asked"] or processes.asked_to_stop(step)
                    saves = stopping or step == last
                    saves |= bool(training.checkpoint_every_steps) and step % training.checkpoint_every_steps == 0
                    saves |= within == 0 and epoch % training.checkpoint_every_epochs == 0
                    if saves or within == 0 or step % training.log_every_steps == 0:
                        means = _checked_means(window, step)  # waits for the device: only now is the time the steps'
                        times = clock.values(clips)
                        log.write("train", step, epoch, means | times)
                        window = []
                        clock.restart()
                    if within == 0:
                        state = self.refresh(state)
                        self._end_epoch(state, step, epoch, checkpoints, log, bar)
                        clock.restart()
                    if saves:
                        with clock.saving():
                            checkpoints.save(state, self._meta(epoch))
                    if stopping:
                        break
        finally:
            log.close()
            clock.close()
            profile.close()
        checkpoints.wait()
        processes.wait_for_all("everything is saved")  # a launcher may end all when the first has ended
        if step >= self.total_steps:
            return Outcome.FINISHED
        say(f"stopped and saved at step {step} of {self.total_steps}; the same command goes on from there")
        return Outcome.INTERRUPTED

    def _describe(self) -> None:
        cost = count_cost(self.config.model, self.config.data.frames, self.config.data.size)
        say(f"devices: {dict(self.mesh.shape)} of {jax.devices()[0].device_kind} ({jax.default_backend()})")
        say(
            f"model: {cost.parameters / 1e6:.2f} M parameters, {cost.gflops_per_clip:.1f} GFLOPs a clip of "
            f"{self.config.data.frames} frames of {self.config.data.size}x{self.config.data.size} "
            "(2 x multiply-adds, compiler's count)"
        )
        clips = self.config.data.batch_clips
        say(f"training: {self.config.training.epochs} epochs, {self.total_steps} steps of {clips} clips")
        if self.config.semi.pseudo_labels == "reforging" and not self.pseudo:
            say("every frame is labelled: no pseudo-labels are needed, CPR only trains its own weights")

    def _start(self, checkpoints: Checkpoints) -> TrainState:
        """The last checkpoint's state, or a new one."""
        if checkpoints.latest_step() is None:
            checkpoints.set_aside_after(0)
            return jax.jit(self.init, out_shardings=self.shardings)(jax.random.key(self.config.seed))
        state, meta = checkpoints.restore(abstract_state(self.shapes, self.shardings))
        if meta["steps_per_epoch"] != self.steps_per_epoch:
            raise CheckpointError(
                f"the checkpoint was made with {meta['steps_per_epoch']} steps an epoch, the data now give "
                f"{self.steps_per_epoch} on {sharding.batch_parts(self.mesh)} devices: records were added or removed, "
                "or unlabelled clips are shared out among another number of devices; use another --workdir"
            )
        if meta.get("clips", self.batches.digest) != self.batches.digest:
            raise CheckpointError(
                f"the checkpoint was made with other training clips than {self.config.data.root} now holds: records "
                "were added, removed or renamed, or other ones are labelled; use another --workdir"
            )
        checkpoints.set_aside_after(int(state.step))
        say(f"resumed from step {int(state.step)} of {self.total_steps}")
        return state

    def _meta(self, epoch: int) -> dict[str, Any]:
        """What a checkpoint says of itself beside the state."""
        return {"epoch": epoch, "steps_per_epoch": self.steps_per_epoch, "clips": self.batches.digest}

    def _batches(self, first: int, last: int) -> Iterator[Batch]:
        data = self.config.data
        return self.batches.iterate(first, last, data.workers, data.worker_processes)

    def _step(self, step: int) -> Step:
        """The compiled step for this point of the training; with pseudo-labels only once their weight is above 0."""
        with_pseudo_labels = self.pseudo and bool(np.asarray(self.schedules.pseudo_weight(step)) > 0)
        if with_pseudo_labels not in self._compiled:
            self._compiled[with_pseudo_labels] = make_step(
                self.config,
                self.networks,
                self.optimizer,
                self.learning_rate,
                self.schedules,
                self.mesh,
                with_pseudo_labels=with_pseudo_labels,
                shardings=self.shardings,
            )
        return self._compiled[with_pseudo_labels]

    def _end_epoch(
        self, state: TrainState, step: int, epoch: int, checkpoints: Checkpoints, log: RunLog, bar: Progress
    ) -> None:
        training = self.config.training
        values = log.epoch_means(epoch)
        if epoch % training.validate_every_epochs == 0 or epoch == training.epochs:
            variables = inference_variables(state)
            dice = self.validator.dice_percent(variables)
            best = max((line.get(VALIDATION, -1.0) for line in log.lines), default=-1.0)
            values[VALIDATION] = dice
            if dice > best:
                card = {"config": dataclasses.asdict(self.config), "step": step, "epoch": epoch, VALIDATION: dice}
                checkpoints.save_best(state, self._meta(epoch), dice)
                save_inference(self.workdir / "inference", variables, card)
        log.write("epoch", step, epoch, values)
        shown = [f"epoch {epoch}/{training.epochs}", f"loss {values['loss']:.4f}"]
        if VALIDATION in values:
            shown.append(f"validation Dice (ED and ES, network size) {values[VALIDATION]:.2f} %")
        if "lambda" in values:
            shown.append(f"lambda {values['lambda']:.2f}, confident pixels {100 * values['confident_share']:.0f} %")
        if values["data_wait_share"] > SLOW_INPUT:
            say(
                f"slow input: the device waited for data {100 * values['data_wait_share']:.0f} % of epoch {epoch}; try "
                "more config.data.workers or worker_processes, or a prepared store (data_pipelines.prepare)"
            )
        left_min = (self.total_steps - step) * self.config.data.batch_clips / values["clips_per_s"] / 60
        shown.append(f"{values['clips_per_s']:.1f} clips/s, {left_min:.1f} min left")
        if processes.is_main():
            bar.console.print(", ".join(shown), highlight=False, soft_wrap=True)


def _checked_means(window: list[Metrics], step: int) -> dict[str, float]:
    """Means of the metrics of the last steps.

    Raises:
        NonFiniteLoss: in one of them; that step and those after it changed nothing.
    """
    fetched = [{name: float(value) for name, value in metrics.items()} for metrics in window]
    for place, found in enumerate(fetched, step - len(fetched) + 1):
        if not found["finite"]:
            raise NonFiniteLoss(
                f"step {place}: loss {found['loss']}, gradient norm {found['gradient_norm']}; "
                "training stopped, the last checkpoint is kept. Lower config.optimizer.learning_rate, set "
                "config.optimizer.clip_norm, or look at the batch of that step"
            )
    return {name: float(np.mean([m[name] for m in fetched])) for name in fetched[-1] if name != "finite"}
