#!/usr/bin/env bash
# Lint, format, types and the test suite in the project's own environment.
#   bash scripts/test.sh                 every test but those marked slow
#   bash scripts/test.sh --fast          one file of each part: under two minutes on two cores
#   bash scripts/test.sh tests/models    further arguments go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/environment.sh
source scripts/environment.sh
prepare_environment requirements-test.txt
if [ -z "${ECHOFORGE_TEST_DATA:-}" ] && [ -d ../shared/data ]; then
    ECHOFORGE_TEST_DATA="$(cd ../shared/data && pwd)"
    export ECHOFORGE_TEST_DATA
fi
chosen=()
if [ "${1:-}" = --fast ]; then
    shift
    chosen=(-m fast)
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/basedpyright --level error
.venv/bin/python -m pytest "${chosen[@]}" "$@"
