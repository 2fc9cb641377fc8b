"""echoforge_jax.weights.inference_folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from echoforge_jax.distributed import processes
from echoforge_jax.errors import CheckpointError


def save_inference(folder: Path, variables: dict[str, Any], card: dict[str, Any]) -> None:
    """A small checkpoint for prediction: parameters, statistics, and the card (configuration, preprocessing, metrics).

    It replaces an older one only when the new one is whole.
    """
    folder = folder.absolute()
    fresh = folder.with_name(folder.name + ".new")
    if processes.is_main():
        shutil.rmtree(fresh, ignore_errors=True)
    processes.wait_for_all("inference folder is clear")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(fresh / "variables", variables)
        checkpointer.wait_until_finished()
    if processes.is_main():
        (fresh / "card.json").write_text(json.dumps(card, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)
    processes.wait_for_all("inference folder is whole")


def load_inference(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(variables, card) of `save_inference`, on this process's first device; other processes need not take part.

    Raises:
        CheckpointError: the folder holds no inference checkpoint.
    """
    folder = folder.absolute()
    if not (folder / "card.json").is_file():
        raise CheckpointError(
            f"{folder} holds no inference checkpoint (card.json is missing); expected <workdir>/inference of a run "
            "that has validated at least once"
        )
    card = json.loads((folder / "card.json").read_text())
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
        shapes = checkpointer.metadata(folder / "variables").item_metadata.tree
        target = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=here), shapes)
        return checkpointer.restore(folder / "variables", target), card


def _alone() -> ocp.options.MultiprocessingOptions:
    """Orbax then waits for no other process."""
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}, barrier_sync_key_prefix="alone"
    )
