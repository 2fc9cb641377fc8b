#!/usr/bin/env bash
# Sourced by the other scripts: makes .venv once and installs the named requirements when they have changed.
#   PYTHON=python3.12 bash scripts/quickstart.sh      takes that interpreter for a new .venv
set -euo pipefail

prepare_environment() {
    local requirements="$1" candidate stamp
    if [ ! -x .venv/bin/python ]; then
        local found=""
        for candidate in ${PYTHON:-} python3.12 python3.11 python3; do
            if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
                found="$candidate"
                break
            fi
        done
        if [ -z "$found" ]; then
            echo "error: no Python >= 3.11 found; install one, or name it: PYTHON=/path/to/python3 bash $0" >&2
            exit 2
        fi
        echo "making .venv with $("$found" --version)" >&2
        "$found" -m venv .venv
    fi
    stamp=".venv/installed-$(cat requirements*.txt pyproject.toml | cksum | cut -d' ' -f1)-$requirements"
    if [ ! -f "$stamp" ]; then
        echo "installing $requirements" >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
        touch "$stamp"
    fi
    # Compiled programs are kept between runs.
    export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/xla}"
    export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-1}"
}
