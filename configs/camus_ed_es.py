"""Real CAMUS frames, ED and ES alone (two-frame clips), on 2 CPU cores: 128x128, 440 steps of 8 clips, 25 minutes.

    python -m echoforge_jax.train --config=configs/camus_ed_es.py --config.data.root=CAMUS_ED_ES \
        --config.model.pretrained=resnet50.safetensors

`scripts/reproduce.py parts few_labels10 --scale=real` changes it cell by cell: every cell has the same number of steps
(five passes over the 699 training clips), whatever the share of labelled patients. Measured:
docs/results/real_hearts.md.
"""

from echoforge_jax.config import default_config


def get_config():
    config = default_config()
    config.data.size = 128
    config.data.frames = 2
    config.data.batch_clips = 8
    config.data.labelled_clips_per_batch = 4  # where some patients are unlabelled
    config.optimizer.learning_rate = 3e-4
    config.training.epochs = 10
    config.training.steps_per_epoch = 44  # half of the 699 training clips: CPR's frozen copy is refreshed as often
    config.training.validate_every_epochs = 2
    config.training.checkpoint_every_epochs = 2
    config.evaluation.protocols = ("semi",)
    return config
