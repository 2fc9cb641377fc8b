"""The parameters and GFLOPs that the compiler counts."""

import math

import jax

from echoforge_jax.config import ModelConfig
from echoforge_jax.models.cost import count_cost


def test_default_network_is_within_the_papers_budget():
    """Table 2 at 256x256: below 67 M parameters and 125 GFLOPs for the ten frames of a clip."""
    cost = count_cost(ModelConfig(), 10, 256)
    assert 8e6 < cost.parameters < 67e6
    assert 50.0 < cost.gflops_per_clip < 125.0


def test_cost_is_counted_by_the_cpu_whatever_the_default_device(monkeypatch, tiny_model: ModelConfig):
    """Accelerators' clients count compiled programs alone: a training on one of them must not ask them."""
    asked = []
    local_devices = jax.local_devices
    monkeypatch.setattr(jax, "local_devices", lambda *_, backend: asked.append(backend) or local_devices())
    assert count_cost(tiny_model, 2, 32).gflops_per_clip > 0.0
    assert asked == ["cpu"]


def test_cost_without_a_cpu_client_has_parameters_and_no_gflops(monkeypatch, tiny_model: ModelConfig):
    def without_cpu(*_: object, backend: str) -> None:
        raise RuntimeError(f"Unknown backend {backend}")  # JAX_PLATFORMS=cuda

    monkeypatch.setattr(jax, "local_devices", without_cpu)
    cost = count_cost(tiny_model, 2, 32)
    assert cost.parameters > 0 and math.isnan(cost.gflops_per_clip)
