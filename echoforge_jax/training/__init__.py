"""The training loop and what it needs: step, state, losses, schedules, checkpoints."""
