#!/bin/bash
# One training on every host of a Cloud TPU slice:
#   bash scripts/tpu/train.sh NAME ZONE --config=echonet_dynamic --workdir=/mnt/shared/runs/echonet \
#       --config.data.root=/mnt/shared/EchoNet-Dynamic
# Every host must hold the project in ~/echoforge_jax, with its .venv (see README.md in this folder).
set -euo pipefail

if [ "$#" -lt 3 ]; then
  echo "error: expected NAME ZONE and the arguments of python -m echoforge_jax.train" >&2
  exit 2
fi
readonly name="$1" zone="$2"
shift 2
printf -v arguments '%q ' "$@"
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd ~/echoforge_jax && .venv/bin/python -m echoforge_jax.train --distributed=on $arguments"
