"""The paper's semi-supervised setting, small enough for 2 CPU cores: simulated clips of ten frames, ED and ES labelled.

The quickstart's network on three times its patients. `scripts/reproduce.py --scale=small` changes this configuration
cell by cell; by hand: `python -m echoforge_jax.train --config=configs/ablations/small.py`.
"""

from echoforge_jax.config.files import load_config_file


def get_config():
    config = load_config_file("quickstart")
    config.data.simulate.patients = 150  # 105 train, 15 validation, 30 test
    config.data.simulate.frames = 16
    config.data.frames = 10
    config.training.validate_every_epochs = 5
    config.training.checkpoint_every_epochs = 2
    return config
