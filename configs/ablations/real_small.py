"""Few labels without ImageNet: `configs/camus_ed_es.py` with the small released network, from Kaiming initialisation.

    python scripts/reproduce.py few_labels --scale=real_small --set data.root=CAMUS_ED_ES

128x128, 880 steps of 8 clips, 5 to 13 minutes a cell on one core. The thought was that an untrained encoder leaves
unlabelled frames more to give; measured, it does not: docs/results/few_labels.md.
"""

from echoforge_jax.config.files import load_config_file


def get_config():
    config = load_config_file("camus_ed_es")
    config.model.update(load_config_file("camus_small").model.to_dict())
    config.optimizer.learning_rate = 1e-3
    config.training.epochs = 20
    config.training.validate_every_epochs = 4
    config.training.checkpoint_every_epochs = 2
    return config
