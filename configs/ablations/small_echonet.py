"""The EchoNet-Dynamic half of Table 1, small enough for 2 CPU cores: simulated videos in EchoNet's tree, 128x128.

`scripts/reproduce.py table1 --scale=small` runs it; by hand:
`python -m echoforge_jax.train --config=configs/ablations/small_echonet.py`.
"""

from echoforge_jax.config.files import load_config_file


def get_config():
    config = load_config_file("ablations/small")
    config.data.format = "echonet_dynamic"
    config.data.views = ("4CH",)
    config.data.simulate.size = 112
    config.data.simulate.frames = 128  # at 50 a second: more than a cycle of a slow heart
    config.data.size = 128
    config.evaluation.protocols = ("semi",)
    return config
