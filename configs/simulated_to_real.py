"""The simulator's strongest test: a small plain segmenter that has only seen simulated frames, scored on real ones.

    python -m data_pipelines.simulator --patients 500 --frames 3 --size 160 --processes 2 --out simulated
    python -m echoforge_jax.train --config=configs/simulated_to_real.py --config.data.root=simulated
    python -m echoforge_jax.evaluate --workdir=runs/simulated_to_real --data=CAMUS_ED_ES --split=validation

Measured: docs/results/simulated_to_real.md.
"""

from echoforge_jax.config import default_config


def get_config():
    config = default_config()
    config.data.size = 128
    config.data.frames = 2
    config.data.batch_clips = 8
    config.data.training_labels = "all"
    config.model.encoder_depth = 18
    config.model.encoder_width = 32
    config.model.channels = 64
    config.model.input_mean = (0.2,)
    config.model.input_std = (0.2,)
    config.model.anchor_recalibration = False
    config.model.temporal_fusion = False
    config.pseudo_labels.strategy = None
    config.optimizer.learning_rate = 1e-3
    config.training.epochs = 10
    config.training.checkpoint_every_epochs = 5
    config.training.validate_every_epochs = 5
    config.evaluation.protocols = ("semi",)
    return config
