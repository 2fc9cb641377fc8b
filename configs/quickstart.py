"""A small EchoForge on a small simulated population, on a laptop: see the README.

python -m echoforge_jax.train --config=configs/quickstart.py --workdir=runs/quickstart
"""

from echoforge_jax.config import default_config


def get_config():
    config = default_config()
    config.data.simulate.patients = 50
    config.data.simulate.size = 128
    config.data.simulate.frames = 12
    config.data.size = 96
    config.data.frames = 6
    config.data.batch_clips = 4
    config.data.augment.rotation_deg = 15.0
    config.model.encoder_depth = 18
    config.model.encoder_width = 16
    config.model.channels = 32
    config.model.heads = 4
    config.model.input_mean = (0.2,)
    config.model.input_std = (0.2,)
    config.optimizer.learning_rate = 2e-3
    config.training.epochs = 20
    config.training.checkpoint_every_epochs = 4
    config.training.validate_every_epochs = 2
    return config
