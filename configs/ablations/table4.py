"""Table 4, the number of anchors: `--config=configs/ablations/table4.py:1` to 4.

Paper (CAMUS-Semi mDice): 94.52, 94.89, 94.96, 94.91. Not measured at that scale.
"""

from configs.camus_semi import get_config as camus_semi


def get_config(anchors: str = "2"):
    config = camus_semi()
    config.model.anchors = int(anchors)
    return config
