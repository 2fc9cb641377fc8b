"""Trained and pretrained weights on disk."""
