"""Layers that know nothing of the paper: attention, convolution, normalization, resampling, ResNet, pyramid."""
