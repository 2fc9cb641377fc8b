"""Fig. 7, K of ARC's nearest neighbours: `--config=configs/ablations/fig7.py:16`. Not measured at the paper's scale."""

from echoforge_jax.config.files import load_config_file


def get_config(neighbours: str = "16"):
    config = load_config_file("camus_semi")
    config.model.neighbours = int(neighbours)
    return config
