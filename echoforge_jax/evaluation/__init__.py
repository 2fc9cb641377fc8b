"""Numbers from masks: NumPy and SciPy only, no JAX and no model."""
