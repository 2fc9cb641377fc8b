"""`python -m echoforge_jax`, the same as the command `echoforge`."""

import sys

from echoforge_jax.command import main

if __name__ == "__main__":
    sys.exit(main())
