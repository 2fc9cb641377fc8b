"""The inference folder of a run: the network of the best epoch and its card, as a small Orbax checkpoint."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from echoforge_jax.distributed import processes
from echoforge_jax.errors import ConfigError
from echoforge_jax.weights.safetensors_file import parse_card

CARD = "card.json"


class SavedNetwork(NamedTuple):
    """What an inference folder holds.

    Attributes:
        variables: {"params": ..., "batch_stats": ...}.
        card: Configuration, step, epoch and validation score.
    """

    variables: dict[str, Any]
    card: dict[str, Any]


def save_inference(folder: Path, variables: dict[str, Any], card: dict[str, Any]) -> None:
    """Writes an inference folder. It replaces an older one only when the new one is whole.

    Args:
        folder: the folder.
        variables: {"params": ..., "batch_stats": ...}.
        card: what the folder says of the network, as JSON can hold it.
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
        (fresh / CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)
    processes.wait_for_all("inference folder is whole")


def load_inference(folder: Path) -> SavedNetwork:
    """Reads an inference folder onto this process's first device; other processes need not take part.

    Raises:
        ConfigError: the folder holds no inference checkpoint, or its card is garbled.
    """
    folder = folder.absolute()
    if not (folder / CARD).is_file():
        raise ConfigError(
            f"{folder} holds no inference checkpoint ({CARD} is missing); expected <workdir>/inference of a run "
            "that has validated at least once"
        )
    card = parse_card((folder / CARD).read_text(encoding="utf-8", errors="replace"), folder / CARD)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    with ocp.StandardCheckpointer(multiprocessing_options=this_process_alone()) as checkpointer:
        shapes = checkpointer.metadata(folder / "variables").item_metadata.tree
        target = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=here), shapes)
        return SavedNetwork(checkpointer.restore(folder / "variables", target), card)


def this_process_alone() -> ocp.options.MultiprocessingOptions:
    """Returns options with which Orbax waits for no other process."""
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}, barrier_sync_key_prefix="alone"
    )
