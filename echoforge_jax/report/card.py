"""echoforge_jax.report.card."""

from __future__ import annotations

import datetime
from pathlib import Path

from data_pipelines.simulator.cohort import STATE_FILE as COHORT_FILE
from echoforge_jax import __version__
from echoforge_jax.config import Config
from echoforge_jax.provenance import git_commit


def is_simulated(config: Config) -> bool:
    """Whether the data that are read come from the simulator: made for this run, or a tree that it wrote."""
    return bool(config.data.simulate.patients) or is_simulated_tree(Path(config.data.root or ""))


def is_simulated_tree(root: Path) -> bool:
    """Whether the simulator wrote this tree."""
    return (root / COHORT_FILE).exists()


def method_card(config: Config, split: str, clips: int, skipped: str, networks: int = 1) -> dict[str, str]:
    """What a reader needs to know what was measured, as rows of the report's card. Of several networks whose
    probabilities are averaged it is the first one's."""
    data, model, strategy = config.data, config.model, config.pseudo_labels.rules
    simulated = data.simulate.patients
    return {
        "data set": {"camus": "CAMUS", "echonet_dynamic": "EchoNet-Dynamic", "store": "prepared store"}[data.format],
        "data": f"simulated, {simulated} patients, seed {data.simulate.seed}"
        if simulated
        else "a simulated tree"
        if is_simulated(config)
        else data.format,
        "split": f"{split}, {clips} clips; skipped: {skipped}",
        "labels used in training": "ED and ES" if data.training_labels == "ed_es" else "every annotated frame",
        "network input": f"{data.frames} frames of {data.size}x{data.size}, ED to ES, grey levels 0..1",
        "masks": "probability resized to the clip's own size (bilinear), threshold "
        f"{config.evaluation.threshold:g}; LV endocardium",
        "test-time augmentation": ", ".join(f"{scale:g} x" for scale in config.evaluation.scales)
        if config.evaluation.scales != (1.0,)
        else "none",
        "networks": "one" if networks == 1 else f"{networks}, probabilities averaged; what follows is of the first",
        "encoder": f"ResNet-{model.encoder_depth}, width {model.encoder_width}, {model.encoder_stages} stages, "
        + ("pretrained" if model.pretrained else "from Kaiming initialisation"),
        "parts": ", ".join(
            name
            for name, on in (
                ("ARC", model.anchor_recalibration),
                ("TSF", model.temporal_fusion),
                ("CPR", strategy.trains_reforging),
                (f"pseudo-labels: {strategy.name}", strategy.makes_pseudo_labels and not strategy.trains_reforging),
                ("FlameRise", config.flamerise.enabled and strategy.makes_pseudo_labels),
            )
            if on
        )
        or "baseline",
        "training": f"{config.training.epochs} epochs, batch {data.batch_clips} clips, seed {config.seed}",
        **about(),
    }


def about() -> dict[str, str]:
    commit = git_commit()
    return {
        "version": f"echoforge_jax {__version__}" + (f", commit {commit[:12]}" if commit else ""),
        "date": datetime.date.today().isoformat(),
    }
