# EchoForge on the CPU, or on NVIDIA GPUs with CUDA 13:
#   docker build -t echoforge_jax .
#   docker build -t echoforge_jax:cuda --build-arg EXTRAS=cuda .
#   docker run --rm -v "$PWD/runs:/app/runs" echoforge_jax train --config=quickstart
#   docker run --rm --gpus all -v DATA:/data:ro -v "$PWD/runs:/app/runs" echoforge_jax:cuda train \
#       --config=camus_semi --config.data.root=/data
# EXTRAS may name several extras of pyproject.toml, e.g. cuda,kubernetes. The CUDA libraries come from pip; the host has
# to have the driver and the NVIDIA Container Toolkit.
FROM python:3.12-slim-bookworm AS build
ARG EXTRAS=""
WORKDIR /source
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE requirements.txt ./
COPY configs configs
COPY data_pipelines data_pipelines
COPY echoforge_jax echoforge_jax
# The CPU image holds the versions that were tested together; JAX's GPU plugins must be of the version of JAX itself.
RUN python -m venv /opt/echoforge \
    && /opt/echoforge/bin/pip install --no-cache-dir -r requirements.txt \
    && /opt/echoforge/bin/pip install --no-cache-dir ".${EXTRAS:+[$EXTRAS]}"

FROM python:3.12-slim-bookworm
COPY --from=build /opt/echoforge /opt/echoforge
RUN useradd --create-home --uid 1000 echoforge && mkdir -p /app/runs && chown -R echoforge /app
ENV PATH="/opt/echoforge/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    JAX_COMPILATION_CACHE_DIR=/app/.cache/xla
USER 1000
WORKDIR /app
ENTRYPOINT ["echoforge"]
CMD ["--help"]
