"""The paper's setting on a simulated population: ten frames of 256x256, ED and ES labelled, ResNet-50.

    python -m echoforge_jax.train --config=configs/simulated.py --config.model.pretrained=resnet50.safetensors

Not measured: many hours on 2 CPU cores. `configs/quickstart.py` is the small one.
"""

from echoforge_jax.config import default_config


def get_config():
    config = default_config()
    config.data.simulate.patients = 500
    config.data.simulate.frames = 20
    config.evaluation.protocols = ("semi", "full")
    return config
