"""The checkpoints of a training, written and read by Orbax.

A run's folder holds `checkpoints/` (whole states, the last N), `best/` (the whole state with the highest validation
Dice) and `inference/` (parameters and statistics of the best epoch, with everything needed to use them).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from echoforge_jax.console import say
from echoforge_jax.distributed import processes
from echoforge_jax.distributed.start import is_lost
from echoforge_jax.errors import CheckpointError
from echoforge_jax.training.state import TrainState
from echoforge_jax.weights.inference_folder import this_process_alone

STATE, META, DIGEST = "state", "meta", "digest"


class Restored(NamedTuple):
    """A checkpoint that was read.

    Attributes:
        state: The state, placed as asked for.
        meta: What the checkpoint says of itself: epoch, steps_per_epoch, clips (their digest).
    """

    state: TrainState
    meta: dict[str, Any]


class Checkpoints:
    """The states of one run. Saves happen in the background; `wait` (or leaving the `with` block) makes them sure.

    Args:
        workdir: folder of the run.
        keep: number of last states to keep.
        may_write: raises where this process may no longer write in the folder; asked before every save.
    """

    def __init__(self, workdir: Path, keep: int, may_write: Callable[[], None] | None = None):
        self.root, self._may_write = workdir.absolute(), may_write
        self._last = _manager(self.root / "checkpoints", max_to_keep=keep)
        self._best = _manager(
            self.root / "best", max_to_keep=1, best_fn=lambda m: m["validation_dice_percent"], best_mode="max"
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if is_lost(error):
            return  # waiting for the lost process would not end
        try:
            self.wait()
        except CheckpointError:
            if error is None:
                raise
        self._last.close()
        self._best.close()

    def latest_step(self) -> int | None:
        """Returns the step of the last whole checkpoint; one that a kill cut short does not count."""
        return self._last.latest_step()

    def is_saving(self) -> bool:
        """Tells whether a checkpoint is being written."""
        return self._last.is_saving_in_progress() or self._best.is_saving_in_progress()

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Saves the state at its own step; does nothing where that step is saved already.

        Args:
            state: the state.
            meta: what the checkpoint says of itself, as JSON can hold it.

        Raises:
            CheckpointError: the disk is full, or the file system fails.
            FolderLost: another command has taken the folder over.
        """
        step = int(state.step)
        if self._last.latest_step() != step:
            self._write(self._last, step, state, meta | {DIGEST: digest(state, meta)})

    def save_best(self, state: TrainState, meta: dict[str, Any], dice_percent: float) -> None:
        """Saves the state as the one with the highest validation Dice.

        Args:
            state: the state.
            meta: as in `save`.
            dice_percent: its validation Dice.

        Raises:
            CheckpointError: as in `save`.
        """
        self._write(self._best, int(state.step), state, meta, metrics={"validation_dice_percent": dice_percent})

    def restore(self, target: TrainState) -> Restored:
        """Reads the last state that can be read.

        What cannot be read is named, and not touched. The main process alone looks for it, so that all use the same.

        Args:
            target: shapes of the state with the shardings of this run (`abstract_state`).

        Raises:
            CheckpointError: none can be read, or none is of this model.
        """
        faults: list[str] = []
        chosen = -1
        for step in sorted(self._last.all_steps(), reverse=True) if processes.is_main() else ():
            fault = _fault(self._folder(step), target)
            if not fault:
                chosen = step
                break
            faults.append(fault)
        chosen = processes.broadcast_from_main(chosen)
        if chosen < 0:
            raise CheckpointError("\n".join(faults) or f"{self.root} holds no checkpoint that can be read")
        for fault in faults:
            say(f"{fault}\nthe one before is used")
        args = ocp.args.Composite(**{STATE: ocp.args.StandardRestore(target), META: ocp.args.JsonRestore()})
        try:
            restored = self._last.restore(chosen, args=args)
        except Exception as error:  # Orbax raises what tensorstore, etils and the file system raise
            raise CheckpointError(
                f"{self._folder(chosen)} is whole, but cannot be read: {_first_line(error)}"
            ) from error
        # A restored buffer may alias memory that XLA does not own; a donated state must be ours.
        ours = jax.tree.map(lambda leaf: leaf.sharding, target)
        state = jax.jit(lambda s: jax.tree.map(jnp.copy, s), out_shardings=ours)(restored[STATE])
        return Restored(state, {name: value for name, value in restored[META].items() if name != DIGEST})

    def set_aside_after(self, step: int) -> None:
        """Moves checkpoints later than a step, which could not be read, out of the way, and names them.

        It also removes what a killed run left half-written. Not to be called while another run may be writing here.
        """
        checkpoints = self.root / "checkpoints"
        if processes.is_main():
            for later in (s for s in self._last.all_steps() if s > step):
                aside = self.root / f"unreadable_{later}"
                shutil.rmtree(aside, ignore_errors=True)
                os.replace(self._folder(later), aside)
                say(f"checkpoint {later} was moved to {aside}")
            for folder in (checkpoints, self.root / "best"):
                for torn in (folder / name for name in os.listdir(folder) if ocp.utils.TMP_DIR_SUFFIX in name):
                    shutil.rmtree(torn)
                    say(f"{torn} was being written when an earlier run ended: ignored and removed")
        processes.wait_for_all("checkpoints are in order")
        self._last.reload()

    def _folder(self, step: int) -> Path:
        return self.root / "checkpoints" / str(step)

    def wait(self) -> None:
        """Blocks until every save is on disk.

        Raises:
            CheckpointError: a save failed; says which checkpoint is the last good one.
        """
        for manager in (self._last, self._best):
            try:
                manager.wait_until_finished()
            except Exception as error:
                raise self._failed(error) from error

    def _write(self, manager: ocp.CheckpointManager, step: int, state: TrainState, meta: dict, **kwargs: Any) -> None:
        if self._may_write is not None:
            processes.on_main(self._may_write)
        args = ocp.args.Composite(**{STATE: ocp.args.StandardSave(state), META: ocp.args.JsonSave(meta)})
        needed_mb = 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6
        free_mb = processes.min_over_processes(shutil.disk_usage(self.root).free // 10**6)  # all save, or none
        if free_mb < needed_mb:
            raise self._failed(OSError(errno.ENOSPC, f"{free_mb} MB free, {needed_mb:.0f} MB wanted"))
        try:
            manager.save(step, args=args, **kwargs)
        except Exception as error:  # Orbax raises what tensorstore, etils and the file system raise
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> CheckpointError:
        full = "No space left" in str(error) or getattr(error, "errno", None) == errno.ENOSPC
        good = self.latest_step()
        kept = "no checkpoint exists yet" if good is None else f"the last good checkpoint is step {good}"
        return CheckpointError(
            f"a checkpoint could not be written under {self.root}: "
            f"{'the disk is full: ' if full else ''}{_first_line(error)}; {kept}"
            f"{'; free some space and run the same command again' if full else ''}"
        )


def digest(state: Any, meta: dict[str, Any]) -> str:
    """Returns a checksum of a state and its meta data: the sum of the words of each array, modulo 2^32, hashed.

    It is the same on any mesh. (What Orbax writes has no checksum: a flipped bit in it would be trained on.)

    Args:
        state: a pytree of arrays.
        meta: what the checkpoint says of itself.
    """
    sums = np.array(jax.device_get(_word_sums(state)), np.uint32)
    return hashlib.sha256(sums.tobytes() + json.dumps(meta, sort_keys=True).encode()).hexdigest()[:16]


@jax.jit
def _word_sums(state: Any) -> list[jax.Array]:
    words = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}
    return [
        jax.lax.bitcast_convert_type(leaf, words[leaf.dtype.itemsize]).astype(jnp.uint32).sum(dtype=jnp.uint32)
        for leaf in jax.tree.leaves(state)
    ]


def _fault(folder: Path, target: TrainState) -> str:
    """Says what is wrong with a checkpoint; "" where it is whole and fits.

    Reads all of it onto this process's first device; other processes need not take part.
    """
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    try:
        meta = json.loads((folder / META / "metadata").read_text(encoding="utf-8"))
        with ocp.StandardCheckpointer(multiprocessing_options=this_process_alone()) as checkpointer:
            differences = _differences(checkpointer.metadata(folder / STATE).item_metadata.tree, target)
            if differences:  # before the reading: Orbax stops half-way through it
                shown = "; ".join(differences[:3]) + ("; ..." if len(differences) > 3 else "")
                return (
                    f"checkpoint {folder} does not fit this run, {len(differences)} arrays differ: {shown}\n"
                    "expected the state of the same model configuration; use another --workdir, or remove the folder"
                )
            state = checkpointer.restore(folder / STATE, abstract_state(target, here))
    except MemoryError:
        raise
    except Exception as error:  # Orbax raises what tensorstore, etils and the file system raise
        if "RESOURCE_EXHAUSTED" in str(error):
            raise
        return f"checkpoint {folder} cannot be read: {_first_line(error)}"
    saved = meta.pop(DIGEST, "")
    actual = digest(state, meta)
    return "" if saved in ("", actual) else f"checkpoint {folder} is damaged: its digest is {actual}, not {saved}"


def abstract_state(shapes: Any, shardings: Any) -> Any:
    """Makes the target of a restore: shapes that carry the shardings of this run.

    Args:
        shapes: `jax.eval_shape` of a state.
        shardings: where each array goes: a tree like `shapes`, or one sharding for all.
    """
    if isinstance(shardings, jax.sharding.Sharding):
        shardings = jax.tree.map(lambda _: shardings, shapes)
    return jax.tree.map(lambda s, where: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=where), shapes, shardings)


def _differences(tree: Any, target: Any) -> list[str]:
    """Names the arrays that a stored tree (by Orbax's meta data) and a target do not share, with their shapes."""
    stored = {name: tuple(array.shape) for name, array in ocp.tree.to_flat_dict(tree, sep="/").items()}
    flat = ocp.tree.to_flat_dict(ocp.tree.serialize_tree(target, keep_empty_nodes=False), sep="/")
    wanted = {name: tuple(leaf.shape) for name, leaf in flat.items()}
    return [
        f"{name} is stored as {stored.get(name, 'nothing')}, this run has {wanted.get(name, 'nothing')}"
        for name in sorted(stored.keys() | wanted.keys())
        if stored.get(name) != wanted.get(name)
    ]


def _manager(folder: Path, **options: Any) -> ocp.CheckpointManager:
    # Two managers may write the same step at the same time: without a name of its own, one would run into the barrier
    # of the other, and the processes would take each other for lost.
    apart = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=folder.name)
    return ocp.CheckpointManager(
        folder, options=ocp.CheckpointManagerOptions(create=True, multiprocessing_options=apart, **options)
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:400] if text else type(error).__name__
