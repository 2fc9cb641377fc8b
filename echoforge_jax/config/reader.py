"""From a `ConfigDict`, a command line or a stored JSON to a checked `Config`, and a `Config` with some fields changed.

A config file has `get_config()`, starts from `default_config()` and changes fields. The `ConfigDict` is locked, so a
field that does not exist fails with its name. Every field can be set on the command line: `--config.data.size=128`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal

import ml_collections
from ml_collections import config_dict

from echoforge_jax.config.renamed import NONE_TEXTS, rename_fields
from echoforge_jax.config.schema import Config
from echoforge_jax.errors import ConfigError


def default_config() -> ml_collections.ConfigDict:
    """Returns the defaults as a locked `ConfigDict`, for a `get_config()` to change."""
    return _to_config_dict(Config()).lock()


def _to_config_dict(part: Any) -> ml_collections.ConfigDict:
    """Fields that may be None become placeholders, which keep the type that a command line has to parse."""
    hints, values = typing.get_type_hints(type(part)), {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value):
            value = _to_config_dict(value)
        elif value is None:
            kind = next(kind for kind in typing.get_args(hints[field.name]) if kind is not type(None))
            value = config_dict.placeholder(type(typing.get_args(kind)[0]) if _is_literal(kind) else kind)
        values[field.name] = value
    return ml_collections.ConfigDict(values)


def read_config(values: ml_collections.ConfigDict | Mapping[str, Any]) -> Config:
    """Checks the values of a configuration and returns them as a `Config`.

    Args:
        values: a `ConfigDict`, or nested dictionaries, e.g. out of a stored config.json. Names and values of earlier
            versions are understood (`renamed.py`); fields that are missing take their defaults.

    Raises:
        ConfigError: an unknown field, a value of another type, or values that cannot go together.
    """
    if isinstance(values, ml_collections.ConfigDict):
        values = values.to_dict()
    return _build(Config, unflatten(rename_fields(flatten(values))), "config")


def replace(config: Config, changes: Mapping[str, Any]) -> Config:
    """Returns a configuration with some fields changed, all at once.

    >>> from echoforge_jax.config import Config
    >>> replace(Config(), {"data.size": 64, "training.epochs": 2}).data.size
    64

    Args:
        config: the configuration to start from; it stays as it is.
        changes: dotted names of fields, e.g. "data.size", or of sections, e.g. "data", with their new values. Later
            entries win over earlier ones.

    Raises:
        ConfigError: as `read_config`.
    """
    values = flatten(dataclasses.asdict(config))
    for name, value in rename_fields(changes).items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            values |= flatten(dataclasses.asdict(value), f"{name}.")
        else:
            values[name] = value
    return _build(Config, unflatten(values), "config")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turns nested dictionaries into one with dotted names such as "data.size".

    Args:
        values: nested dictionaries.
        prefix: what all names begin with.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        is_section = isinstance(value, Mapping) and bool(value)
        flat |= flatten(value, f"{prefix}{name}.") if is_section else {prefix + name: value}
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turns dotted names back into nested dictionaries."""
    values: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, field = name.split(".")
        holder = values
        for section in sections:
            holder = holder.setdefault(section, {})
        holder[field] = value
    return values


def stored_form(config: Config) -> dict[str, Any]:
    """Returns a configuration as it is after a round trip through JSON: nested dictionaries, tuples as lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def differences(before: Mapping[str, Any], now: Mapping[str, Any], *, ignored: Collection[str] = ()) -> list[str]:
    """Names the fields in which two configurations differ, as text for a person.

    Args:
        before: the one configuration, flat (`flatten`); names of earlier versions are understood.
        now: the other one, flat.
        ignored: names of fields that may differ.

    Returns:
        One text for each field. A field that `before` does not have had its default there.
    """
    defaults, before = flatten(stored_form(Config())), rename_fields(before)
    return [
        f"{name}: {then!r} there, {value!r} now"
        for name, value in now.items()
        if (then := before.get(name, defaults.get(name))) != value and name not in ignored
    ]


def _build(cls: Any, values: Any, path: str) -> Any:
    if isinstance(values, cls):
        return values
    if not isinstance(values, Mapping):
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
    """Checks one value against the type of its field."""
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, path)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        if value is None or value in NONE_TEXTS:
            return None
        (kind,) = (option for option in typing.get_args(kind) if option is not type(None))
        return _value(kind, value, path)
    if _is_literal(kind):
        choices = typing.get_args(kind)
        if value not in choices or isinstance(value, bool):
            raise ConfigError(f"{path} is {value!r}; expected one of {', '.join(map(repr, choices))}")
        return value
    if typing.get_origin(kind) is tuple:
        return _tuple(typing.get_args(kind), value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{path} is {value!r} ({type(value).__name__}); expected {kind.__name__}")
    return value


def _tuple(inner: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list):
        raise ConfigError(f"{path} is {value!r}; expected a tuple")
    kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
    if len(kinds) != len(value):
        raise ConfigError(f"{path} is {value!r}; expected {len(kinds)} entries")
    return tuple(_value(kind, entry, f"{path}[{i}]") for i, (kind, entry) in enumerate(zip(kinds, value, strict=True)))


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is Literal
