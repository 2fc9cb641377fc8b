#!/usr/bin/env bash
# Sourced by the other scripts: makes .venv once and installs the named requirements when they have changed.
#   PYTHON=python3.12 bash scripts/quickstart.sh      takes that interpreter for a new .venv
set -euo pipefail

prepare_environment() {
    local requirements="$1" candidate stamp
    if [ ! -x .venv/bin/python ]; then
        local interpreter=""
        for candidate in ${PYTHON:-python3.12 python3.11 python3.13 python3}; do
            if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
                interpreter="$candidate"
                break
            fi
        done
        if [ -z "$interpreter" ]; then
            if [ -n "${PYTHON:-}" ]; then
                echo "error: PYTHON=$PYTHON is no Python >= 3.11 that can be started" >&2
            else
                echo "error: no Python >= 3.11 found; install one, or name it: PYTHON=/path/to/python3 bash $0" >&2
            fi
            exit 2
        fi
        echo "making .venv with $("$interpreter" --version)" >&2
        "$interpreter" -m venv .venv
    fi
    stamp=".venv/installed-$(cat requirements*.txt pyproject.toml | cksum | cut -d' ' -f1)-$requirements"
    if [ ! -f "$stamp" ]; then
        echo "installing $requirements (a few minutes the first time)" >&2
        .venv/bin/python -m pip install -qq --disable-pip-version-check -r "$requirements"
        .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps -e .
        touch "$stamp"
    fi
    # Compiled programs are kept between runs.
    export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/xla}"
    export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-1}"
}
