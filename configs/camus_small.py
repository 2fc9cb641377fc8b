"""The small released network: streams at video rate on 2 CPU cores. Real CAMUS ED and ES frames, all labels; 128x128
from Kaiming initialisation first, then windows of 256x256.

    python -m echoforge_jax.train --config=configs/camus_small.py:128 --workdir=runs/small128 \
        --config.data.root=CAMUS_ED_ES
    python -m echoforge_jax.train --config=configs/camus_small.py:256 --workdir=runs/small256 \
        --config.data.root=CAMUS_ED_ES --config.training.start_from=runs/small128

Measured: docs/results/real_hearts.md.
"""

from echoforge_jax.config.files import load_config_file

STAGES = {"128": "128", "256": "windows"}  # each like that stage of the large network


def use_small_network(config) -> None:
    """1.23 M parameters: ResNet-18 of half width, 64 channels."""
    config.model.encoder_depth = 18
    config.model.encoder_width = 32
    config.model.channels = 64
    config.model.heads = 4
    config.model.input_mean = (0.2,)
    config.model.input_std = (0.2,)


def get_config(stage: str = "128"):
    if stage not in STAGES:
        raise ValueError(f"stage {stage!r} is not one of {', '.join(STAGES)}")
    config = load_config_file("camus_released", STAGES[stage])
    use_small_network(config)
    config.optimizer.learning_rate = 1e-3
    if stage == "128":
        config.training.epochs = 28
        config.training.validate_every_epochs = 4
        config.training.checkpoint_every_epochs = 2
        return config
    config.seed = 1
    config.optimizer.encoder_rate = 1.0
    config.optimizer.weight_decay = 0.0
    config.training.epochs = 72
    config.training.validate_every_epochs = 18
    config.training.checkpoint_every_epochs = 9
    config.training.checkpoint_every_steps = None
    return config
