"""Table 4, the number of anchors: `--config=configs/ablations/table4.py:1` to 4.

Paper (CAMUS-Semi mDice): 94.52, 94.89, 94.96, 94.91. Not measured at that scale.
"""

from echoforge_jax.config.files import load_config_file


def get_config(anchors: str = "2"):
    config = load_config_file("camus_semi")
    config.model.anchors = int(anchors)
    return config
