"""XLA's flags for programs that run for moments: compiling them is what takes the time."""

from importlib import metadata

FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if metadata.version("jaxlib").startswith("0.10."):  # the emitter of fusions that compiles twice as fast; 0.12 has none
    FAST_COMPILATION += " --xla_cpu_use_fusion_emitters=false"
