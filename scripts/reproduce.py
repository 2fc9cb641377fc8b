"""Makes the paper's tables and figures: `python scripts/reproduce.py table3 --scale=small` (--help says more)."""

from echoforge_jax import interruption

if __name__ == "__main__":
    interruption.install()  # before the imports below, which take seconds

import sys

from echoforge_jax.reproduction.command import main

if __name__ == "__main__":
    sys.exit(main())
