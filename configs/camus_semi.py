"""CAMUS-Semi, the paper's main setting: trained with ED and ES labelled, scored on ED and ES (Table 1, 94.89 mDice).

    python -m echoforge_jax.train --config=configs/camus_semi.py --config.data.root=CAMUS \
        --config.model.pretrained=resnet50.safetensors

Not measured at the paper's scale (see docs/results/index.md for what was).
"""

from echoforge_jax.config import default_config


def get_config():
    config = default_config()
    config.data.format = "camus"
    config.evaluation.protocols = ("semi",)
    return config
