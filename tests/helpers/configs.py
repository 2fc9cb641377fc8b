"""Configurations that compile in seconds."""

from echoforge_jax.config import ModelConfig

TINY_MODEL = ModelConfig(
    encoder_depth=18,
    encoder_width=8,
    channels=16,
    heads=2,
    neighbours=4,
    decoder_layers=1,
    input_mean=(0.2,),
    input_std=(0.2,),
)
