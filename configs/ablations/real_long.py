r"""Few labels, longer: `configs/camus_ed_es.py` with ten times the steps, for one accelerator.

    python scripts/reproduce.py few_labels10 --scale=real_long --set data.root=CAMUS_ED_ES \
        --set model.pretrained=resnet50.safetensors

128x128, 4400 steps of 8 clips: do unlabelled frames help once the labelled ones are exhausted? Not run yet.
"""

from echoforge_jax.config.files import load_config_file


def get_config():
    config = load_config_file("camus_ed_es")
    config.training.epochs = 100
    config.training.validate_every_epochs = 20
    config.training.checkpoint_every_epochs = 100
    return config
