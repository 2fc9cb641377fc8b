"""The flag with which a command says where compiled programs are kept."""

from __future__ import annotations

from absl import flags

COMPILATION_CACHE = flags.DEFINE_string(
    "compilation_cache",
    None,
    "The folder in which compiled programs are kept for later commands, or off. Without it "
    "ECHOFORGE_COMPILATION_CACHE or JAX_COMPILATION_CACHE_DIR, and without these ~/.cache/echoforge_jax/xla.",
)
