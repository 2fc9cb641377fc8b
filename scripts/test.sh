#!/usr/bin/env bash
# Lint, types and the whole test suite in the project's own environment: bash scripts/test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/environment.sh
source scripts/environment.sh
prepare_environment requirements-test.txt
if [ -z "${ECHOFORGE_TEST_DATA:-}" ] && [ -d ../shared/data ]; then
    ECHOFORGE_TEST_DATA="$(cd ../shared/data && pwd)"
    export ECHOFORGE_TEST_DATA
fi
.venv/bin/ruff check .
.venv/bin/basedpyright --level error
.venv/bin/python -m pytest "$@"
