#!/usr/bin/env bash
# From a machine with Python >= 3.11 to a trained EchoForge and its report: bash scripts/quickstart.sh
# More arguments go to the training, e.g. --config.training.epochs=30 --workdir=runs/longer
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/environment.sh
source scripts/environment.sh
prepare_environment requirements.txt
exec .venv/bin/python -m echoforge_jax.train --config=configs/quickstart.py --workdir=runs/quickstart "$@"
