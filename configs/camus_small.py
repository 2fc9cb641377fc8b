"""The small released network: streams at video rate on 2 CPU cores. Real CAMUS ED and ES frames, all labels, 128x128.

    python -m echoforge_jax.train --config=configs/camus_small.py --config.data.root=CAMUS_ED_ES

Measured: docs/results.md, "Accuracy on real hearts".
"""

from configs.camus_released import get_config as camus_released


def get_config():
    config = camus_released("128")
    config.model.encoder_depth = 18
    config.model.encoder_width = 32
    config.model.channels = 64
    config.model.heads = 4
    config.model.input_mean = (0.2,)
    config.model.input_std = (0.2,)
    config.optimiser.learning_rate = 1e-3
    config.training.epochs = 28
    config.training.checkpoint_every_epochs = 2
    config.training.validate_every_epochs = 4
    return config
