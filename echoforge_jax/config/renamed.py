"""Names and values that earlier versions used, so that old runs, cells and released files stay readable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echoforge_jax.errors import ConfigError

RENAMED = {
    "semi.pseudo_labels": "pseudo_labels.strategy",
    "semi.cosine_temperature": "pseudo_labels.cosine_temperature",
    "semi.own_weight": "pseudo_labels.own_weight",
    "semi.teacher": "pseudo_labels.teacher",
    "semi.strong_student": "pseudo_labels.strong_student",
    "semi.flamerise": "flamerise.enabled",
    "semi.lambda_max": "flamerise.lambda_max",
    "semi.tau_start": "flamerise.tau_start",
    "semi.tau_end": "flamerise.tau_end",
    "semi.burn_in": "flamerise.burn_in",
    "semi.ramp_end": "flamerise.ramp_end",
    "semi.per_step": "flamerise.per_step",
    "semi.dice_weight": "loss.dice_weight",
    "semi.seed_weight": "loss.seed_weight",
    "semi.reforging_weight": "loss.reforging_weight",
}
RENAMED_SECTIONS = {"optimiser": "optimizer"}
FORMER_OFF_VALUES = {  # what a field held for "off" or "not given" before None did
    "model.pretrained": "",
    "data.root": "",
    "data.split_scheme": "auto",
    "data.labelled_clips_per_batch": 0,
    "data.augment.crop": 0,
    "data.simulate.patients": 0,
    "pseudo_labels.strategy": "none",
    "optimizer.clip_norm": 0,
    "optimizer.ema_decay": 0,
    "training.steps_per_epoch": 0,
    "training.start_from": "",
    "training.checkpoint_every_steps": 0,
    "training.max_steps": 0,
    "evaluation.split": "auto",
}
FORMER_OFF_VALUES_OF_MIX = {"split_scheme": "auto", "labels": "none"}
RETIRED = {  # fields of experiments that gave nothing (docs/results), with the value that switches them off
    "model.separate_self_attention": False,
    "model.surroundings": False,
    "semi.reforging_residual": False,
}
RETIRED_WITHOUT_EFFECT = ("semi.surroundings_weight",)  # weights of an experiment that is off
LAST_COMMIT_WITH_RETIRED = "3c61959"
NONE_TEXTS = ("none", "None")  # how a command line spells None


def rename_fields(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Brings the names and values of earlier versions to today's.

    Args:
        flat: dotted names of fields and their values; today's names pass unchanged.

    Raises:
        ConfigError: a retired field is switched on: names the last commit that knew it.
    """
    fields: dict[str, Any] = {}
    for name, value in flat.items():
        if name in RETIRED_WITHOUT_EFFECT:
            continue
        if name in RETIRED:
            if value != RETIRED[name]:
                raise ConfigError(
                    f"config.{name}={value!r} is an experiment that was removed; the last commit that knows it is "
                    f"{LAST_COMMIT_WITH_RETIRED}"
                )
            continue
        section, _, field = name.partition(".")
        name = RENAMED.get(name) or (f"{RENAMED_SECTIONS[section]}.{field}" if section in RENAMED_SECTIONS else name)
        fields[name] = _without_former_off_value(name, value)
    return fields


def with_numeric_none(argument: str) -> str:
    """Turns `--config.FIELD=none` of a number that may be None into the value that earlier versions had for "off".

    (The parser of the command line reads a number there and knows no None.) Other arguments pass unchanged.
    """
    flag, _, value = argument.partition("=")
    former = FORMER_OFF_VALUES.get(flag.lstrip("-").removeprefix("config."), "")
    return f"{flag}={former}" if value in NONE_TEXTS and not isinstance(former, str) else argument


def _without_former_off_value(name: str, value: Any) -> Any:
    if name == "data.mix" and isinstance(value, tuple | list):
        return type(value)(_mix_without_former_off_values(entry) for entry in value)
    if name in FORMER_OFF_VALUES and not isinstance(value, bool) and value == FORMER_OFF_VALUES[name]:
        return None
    return value


def _mix_without_former_off_values(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    return {
        field: None if field in FORMER_OFF_VALUES_OF_MIX and value == FORMER_OFF_VALUES_OF_MIX[field] else value
        for field, value in entry.items()
    }
