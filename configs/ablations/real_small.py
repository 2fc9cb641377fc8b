"""Few labels without ImageNet: `configs/camus_ed_es.py` with the small released network, from Kaiming initialisation.

    python scripts/reproduce.py few_labels --scale=real_small --set data.root=CAMUS_ED_ES

128x128, 880 steps of 8 clips, 8 to 15 minutes a cell on one core. What few labels lack is larger here than with a
pretrained encoder, and so is what unlabelled frames can give. Measured: docs/results.md, "Accuracy on real hearts".
"""

from configs.camus_ed_es import get_config as camus_ed_es
from configs.camus_small import use_small_network


def get_config():
    config = camus_ed_es()
    use_small_network(config)
    config.optimiser.learning_rate = 1e-3
    config.training.epochs = 20
    config.training.validate_every_epochs = 4
    config.training.checkpoint_every_epochs = 2
    return config
