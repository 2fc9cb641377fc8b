"""echoforge_jax.config.reader."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Collection
from typing import Any

import ml_collections

from data_pipelines.propagation import PROPAGATION_METHODS
from echoforge_jax.config.schema import REMATERIALISABLE, Config
from echoforge_jax.errors import ConfigError


def default_config() -> ml_collections.ConfigDict:
    """The defaults as a locked `ConfigDict`, for a `get_config()` to change."""
    return ml_collections.ConfigDict(dataclasses.asdict(Config())).lock()


def read_config(values: ml_collections.ConfigDict | dict[str, Any]) -> Config:
    """`ConfigDict` or nested dict -> checked `Config`.

    Raises:
        ConfigError: an unknown or missing field, a value of another type, or values that cannot go together.
    """
    if isinstance(values, ml_collections.ConfigDict):
        values = values.to_dict()
    config = _build(Config, values, "config")
    _check(config)
    return config


def _build(cls: Any, values: Any, path: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is {values!r}; expected the fields of {cls.__name__}")
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in hints:
            close = difflib.get_close_matches(name, hints, n=1)
            raise ConfigError(
                f"{path}.{name} is not a field{f'; did you mean {path}.{close[0]}?' if close else ''} "
                f"(fields: {', '.join(sorted(hints))})"
            )
    return cls(**{name: _value(hints[name], value, f"{path}.{name}") for name, value in values.items()})


def _value(kind: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, path)
    origin = typing.get_origin(kind)
    if origin is tuple:
        inner = typing.get_args(kind)
        if not isinstance(value, (tuple, list)):
            raise ConfigError(f"{path} is {value!r}; expected a tuple")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise ConfigError(f"{path} is {value!r}; expected {len(kinds)} entries")
        return tuple(_value(k, v, f"{path}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if isinstance(kind, types.UnionType):
        raise TypeError(f"{path}: unions are not used in configs")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{path} is {value!r} ({type(value).__name__}); expected {kind.__name__}")
    return value


def _check(c: Config) -> None:
    choices = {
        "config.model.norm": (c.model.norm, ("batch", "frozen", "group")),
        "config.model.encoder_depth": (c.model.encoder_depth, (18, 50)),
        "config.model.encoder_stages": (c.model.encoder_stages, (3, 4)),
        "config.model.anchors": (c.model.anchors, (1, 2, 3, 4)),
        "config.model.dtype": (c.model.dtype, ("float32", "bfloat16")),
        "config.data.format": (c.data.format, ("camus", "echonet_dynamic", "store")),
        "config.data.training_labels": (c.data.training_labels, ("ed_es", "all")),
        "config.semi.pseudo_labels": (
            c.semi.pseudo_labels,
            ("reforging", "none", "threshold", "mean_teacher", *PROPAGATION_METHODS),
        ),
        "config.semi.teacher": (c.semi.teacher, ("last", "average")),
        "config.evaluation.split": (c.evaluation.split, ("auto", "train", "validation", "test")),
    }
    for path, (found, allowed) in choices.items():
        if found not in allowed:
            raise ConfigError(f"{path} is {found!r}; expected one of {', '.join(map(repr, allowed))}")
    for i, mix in enumerate(c.data.mix):
        known = {"format": ("cine", "camus", "echonet_dynamic", "store"), "labels": ("none", "ed_es", "all")}
        for name, allowed in known.items():
            if getattr(mix, name) not in allowed:
                raise ConfigError(f"config.data.mix[{i}].{name} is {getattr(mix, name)!r}; expected one of {allowed}")
        if not mix.root or not 0 < mix.share < 1:
            raise ConfigError(
                f"config.data.mix[{i}] has root {mix.root!r} and share {mix.share}; expected a folder and 0 < share < 1"
            )
    if not c.data.in_memory and c.data.format != "store":
        raise ConfigError(f"config.data.in_memory=False reads from a store; config.data.format is {c.data.format!r}")
    if not c.data.in_memory and c.semi.pseudo_labels in PROPAGATION_METHODS:
        raise ConfigError(
            f"config.semi.pseudo_labels={c.semi.pseudo_labels!r} carries labels through the clips before training and "
            "needs config.data.in_memory=True"
        )
    if c.semi.pseudo_labels == "mean_teacher" and not c.optimizer.ema_decay:
        raise ConfigError("config.semi.pseudo_labels='mean_teacher' needs config.optimizer.ema_decay, e.g. 0.99")
    if c.semi.teacher == "average" and not c.optimizer.ema_decay:
        raise ConfigError("config.semi.teacher='average' needs config.optimizer.ema_decay, e.g. 0.99")
    if c.semi.strong_student and c.semi.pseudo_labels == "none":
        raise ConfigError("config.semi.strong_student needs pseudo-labels; config.semi.pseudo_labels is 'none'")
    if not 0 <= c.semi.own_weight < 1:
        raise ConfigError(f"config.semi.own_weight is {c.semi.own_weight}; expected 0 <= own_weight < 1")
    if not 0 < c.data.labelled_fraction <= 1:
        raise ConfigError(f"config.data.labelled_fraction is {c.data.labelled_fraction}; expected 0 < fraction <= 1")
    for part in c.model.rematerialise:
        if part not in REMATERIALISABLE:
            raise ConfigError(
                f"config.model.rematerialise holds {part!r}; expected some of {', '.join(REMATERIALISABLE)}"
            )
    for protocol in c.evaluation.protocols:
        if protocol not in ("semi", "full"):
            raise ConfigError(f"config.evaluation.protocols holds {protocol!r}; expected 'semi' and/or 'full'")
    stride = 2 ** (1 + c.model.encoder_stages)
    positive = {
        "config.data.frames": c.data.frames - 1,
        "config.data.batch_clips": c.data.batch_clips,
        "config.training.epochs": c.training.epochs,
        "config.training.accumulate": c.training.accumulate,
        "config.model.neighbours": c.model.neighbours,
        "config.training.keep_checkpoints": c.training.keep_checkpoints,
        "config.training.log_every_steps": c.training.log_every_steps,
        "config.training.validate_every_epochs": c.training.validate_every_epochs,
        "config.training.checkpoint_every_epochs": c.training.checkpoint_every_epochs,
        "config.optimizer.learning_rate": c.optimizer.learning_rate,
    }
    for path, value in positive.items():
        if value <= 0:
            least = 2 if path.endswith("frames") else "more than 0"
            raise ConfigError(f"{path} is too small; expected {least}")
    if c.data.size % stride:
        raise ConfigError(f"config.data.size is {c.data.size}; expected a multiple of {stride} (the encoder's stride)")
    crop = c.data.augment.crop
    if crop % stride or crop > c.data.size:
        raise ConfigError(
            f"config.data.augment.crop is {crop}; expected a multiple of {stride} up to config.data.size, {c.data.size}"
        )
    if c.model.channels % 8 or c.model.channels % c.model.heads:
        raise ConfigError(
            f"config.model.channels is {c.model.channels}; expected a multiple of 8 and of heads ({c.model.heads})"
        )
    if len(c.model.input_mean) != len(c.model.input_std):
        raise ConfigError("config.model.input_mean and input_std must have one entry an input channel each")
    if not 0 <= c.semi.burn_in <= c.semi.ramp_end <= 1:
        raise ConfigError(
            f"config.semi.burn_in is {c.semi.burn_in} and ramp_end {c.semi.ramp_end}; "
            "expected 0 <= burn_in <= ramp_end <= 1"
        )
    if not c.evaluation.scales or not all(0.5 <= scale <= 2 for scale in c.evaluation.scales):
        raise ConfigError(f"config.evaluation.scales is {c.evaluation.scales}; expected numbers from 0.5 to 2")
    if not 0 < c.evaluation.threshold < 1:
        raise ConfigError(f"config.evaluation.threshold is {c.evaluation.threshold}; expected 0 < threshold < 1")
    if not 0 <= c.optimizer.ema_decay < 1:
        raise ConfigError(f"config.optimizer.ema_decay is {c.optimizer.ema_decay}; expected 0 <= ema_decay < 1")


def differences(before: dict[str, Any], now: dict[str, Any], free: Collection[str] = ()) -> list[str]:
    """Fields in which two flat configurations differ, as text. A field that came later had its default before."""
    default = flatten(json.loads(json.dumps(dataclasses.asdict(Config()))))
    return [
        f"{name}: {then!r} there, {value!r} now"
        for name, value in now.items()
        if (then := before.get(name, default.get(name))) != value and name not in free
    ]


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with names such as "data.size"."""
    out: dict[str, Any] = {}
    for name, value in tree.items():
        out |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return out
