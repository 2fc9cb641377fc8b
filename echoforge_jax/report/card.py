"""The method card of a report: what was measured, on which data, with which network."""

from __future__ import annotations

import datetime
from pathlib import Path

from data_pipelines.simulator.cohort import STATE_FILE as COHORT_FILE
from echoforge_jax.config import Config
from echoforge_jax.provenance import code_version

DATA_SETS = {"camus": "CAMUS", "echonet_dynamic": "EchoNet-Dynamic", "store": "prepared store"}


def is_simulated(config: Config) -> bool:
    """Tells whether the data come from the simulator: made for this run, or a tree that the simulator wrote."""
    return bool(config.data.simulate.patients) or is_simulated_tree(Path(config.data.root or ""))


def is_simulated_tree(root: Path) -> bool:
    """Tells whether the simulator wrote this tree."""
    return (root / COHORT_FILE).exists()


def method_card(config: Config, *, split: str, clips: int, skipped: str, networks: int = 1) -> dict[str, str]:
    """Describes what was measured, as rows of the report's method card.

    Args:
        config: the configuration of the network; of several networks, that of the first.
        split: the name of the split.
        clips: number of scored clips.
        skipped: records that were left out, in words.
        networks: number of networks whose probabilities are averaged.

    Returns:
        Heading of a row -> its text.
    """
    data, model, evaluation = config.data, config.model, config.evaluation
    if data.simulate.patients:
        origin = f"simulated, {data.simulate.patients} patients, seed {data.simulate.seed}"
    else:
        origin = "a simulated tree" if is_simulated(config) else data.format
    scales = ", ".join(f"{scale:g} x" for scale in evaluation.scales) if evaluation.scales != (1.0,) else "none"
    weights = "pretrained" if model.pretrained else "from Kaiming initialisation"
    return {
        "data set": DATA_SETS[data.format],
        "data": origin,
        "split": f"{split}, {clips} clips; skipped: {skipped}",
        "labels used in training": "ED and ES" if data.training_labels == "ed_es" else "every annotated frame",
        "network input": f"{data.frames} frames of {data.size}x{data.size}, ED to ES, grey levels 0..1",
        "masks": "probability resized to the clip's own size (bilinear), threshold "
        f"{evaluation.threshold:g}; LV endocardium",
        "test-time augmentation": scales,
        "networks": "one" if networks == 1 else f"{networks}, probabilities averaged; what follows is of the first",
        "encoder": f"ResNet-{model.encoder_depth}, width {model.encoder_width}, {model.encoder_stages} stages, "
        + weights,
        "parts": ", ".join(_parts(config)) or "baseline",
        "training": f"{config.training.epochs} epochs, batch {data.batch_clips} clips, seed {config.seed}",
        **version_and_date(),
    }


def version_and_date() -> dict[str, str]:
    """Returns the rows that say which version of the program made a report, and when."""
    return {"version": str(code_version()), "date": datetime.date.today().isoformat()}


def _parts(config: Config) -> list[str]:
    """Names the parts of the method that are switched on."""
    strategy = config.pseudo_labels.rules
    switches = {
        "ARC": config.model.anchor_recalibration,
        "TSF": config.model.temporal_fusion,
        "CPR": strategy.trains_reforging,
        f"pseudo-labels: {strategy.name}": strategy.makes_pseudo_labels and not strategy.trains_reforging,
        "FlameRise": config.flamerise.enabled and strategy.makes_pseudo_labels,
    }
    return [name for name, is_on in switches.items() if is_on]
