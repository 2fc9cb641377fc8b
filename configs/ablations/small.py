"""The paper's semi-supervised setting, small enough for 2 CPU cores: simulated clips of ten frames, ED and ES labelled.

`scripts/reproduce.py --scale=small` changes this configuration cell by cell; by hand:
`python -m echoforge_jax.train --config=configs/ablations/small.py`.
"""

from echoforge_jax.config import default_config


def get_config():
    config = default_config()
    config.data.simulate.patients = 150  # 105 train, 15 validation, 30 test
    config.data.simulate.size = 128
    config.data.simulate.frames = 16
    config.data.size = 96
    config.data.frames = 10
    config.data.batch_clips = 4
    config.data.augment.rotation_deg = 15.0
    config.model.encoder_depth = 18
    config.model.encoder_width = 16
    config.model.channels = 32
    config.model.heads = 4
    config.model.input_mean = (0.2,)
    config.model.input_std = (0.2,)
    config.optimiser.learning_rate = 2e-3
    config.training.epochs = 20
    config.training.validate_every_epochs = 5
    config.training.checkpoint_every_epochs = 2
    return config
