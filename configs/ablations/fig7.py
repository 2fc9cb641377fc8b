"""Fig. 7, K of ARC's nearest neighbours: `--config=configs/ablations/fig7.py:16`. Not measured at the paper's scale."""

from configs.camus_semi import get_config as camus_semi


def get_config(neighbours: str = "16"):
    config = camus_semi()
    config.model.neighbours = int(neighbours)
    return config
