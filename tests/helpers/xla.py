"""XLA's flags for programs that run for moments: compiling them is what takes the time."""

# No optimisation, and the emitter of fusions that compiles twice as fast (jaxlib 0.10.2, as requirements.txt pins it).
FAST_COMPILATION = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
)
