"""EchoNet-Dynamic, 128x128 (Table 1, 93.63 mDice; distances in pixels, the data have no spacing).

    python -m echoforge_jax.train --config=configs/echonet_dynamic.py --config.data.root=EchoNet-Dynamic \
        --config.model.pretrained=resnet50.safetensors

Not measured.
"""

from echoforge_jax.config import default_config


def get_config():
    config = default_config()
    config.data.format = "echonet_dynamic"
    config.data.size = 128
    config.data.views = ("4CH",)
    config.evaluation.protocols = ("semi",)
    return config
