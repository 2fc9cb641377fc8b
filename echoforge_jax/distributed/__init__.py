"""Several devices and several processes as one training: shardings, cooperation of processes, and their start."""
