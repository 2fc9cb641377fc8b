"""Makes the paper's tables and figures: `python scripts/reproduce.py table3 --scale=small` (--help says more)."""

import sys

from echoforge_jax.reproduction.command import main

if __name__ == "__main__":
    sys.exit(main())
