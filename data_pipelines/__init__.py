"""From files on disk to batches in memory, as NumPy arrays: nothing here imports JAX or `echoforge_jax`."""
