"""From files on disk to batches in memory. NumPy only: nothing here imports JAX or `echoforge_jax`."""
