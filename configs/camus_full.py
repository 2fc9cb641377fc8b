"""CAMUS-Full: trained as CAMUS-Semi (only ED and ES labelled), scored on every annotated frame (Table 1, 94.36 mDice).

    python -m echoforge_jax.train --config=configs/camus_full.py --config.data.root=CAMUS \
        --config.model.pretrained=resnet50.safetensors

Not measured. A model of `camus_semi.py` needs no second training: `python -m echoforge_jax.evaluate --protocol=full`.
"""

from echoforge_jax.config.files import load_config_file


def get_config():
    config = load_config_file("camus_semi")
    config.evaluation.protocols = ("full",)
    return config
