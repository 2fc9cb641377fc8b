"""Finds and loads configuration files: by path, or by the name of one that ships with the project."""

from __future__ import annotations

import difflib
import importlib.util
import traceback
from pathlib import Path

import ml_collections

from data_pipelines.local_path import NoLocalPath, local_path
from echoforge_jax.errors import ConfigError

_PACKAGE = Path(__file__).parents[1]
# A wheel holds the configurations inside the package; a checkout holds them beside it.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def config_names() -> list[str]:
    """Lists the configurations that ship with the project, e.g. "quickstart" and "ablations/small"."""
    folder = _folder()
    if folder is None:
        return []
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.py"))


def find_config(name_or_path: str | Path) -> Path:
    """Finds a configuration file.

    Args:
        name_or_path: path of a file; or the name of a configuration that ships with the project, such as "quickstart",
            "ablations/small" or "configs/quickstart.py". A file that exists comes first.

    Raises:
        ConfigError: there is no such file and no such name; the message lists the names and the closest one.
    """
    path = Path(name_or_path)
    if path.is_file() and path.suffix == ".py":
        return path
    folder, name = _folder(), path.as_posix().removesuffix(".py").removeprefix("configs/")
    names = config_names()
    if folder and path.suffix in ("", ".py") and name in names:
        return folder / f"{name}.py"
    close = difflib.get_close_matches(name, names, n=1)
    raise ConfigError(
        f"--config={name_or_path}: {'that is no Python file' if path.exists() else 'no such file'}, and no "
        "configuration has that name"
        + (f"; did you mean {close[0]}?" if close else ".")
        + f" Expected a Python file with get_config(), or one of: {', '.join(names) or '(none installed)'}"
    )


def load_config_file(name_or_path: str | Path, argument: str | None = None) -> ml_collections.ConfigDict:
    """Loads a configuration file and calls its `get_config`.

    Args:
        name_or_path: as for `find_config`.
        argument: what follows the colon in `--config=NAME:ARGUMENT`; None calls `get_config()` without one.

    Returns:
        The values, still locked against misspelt fields; `echoforge_jax.config.read_config` makes a `Config` of them.

    Raises:
        ConfigError: the file is not found, or it defines no `get_config`.
    """
    return _run_config_file(find_config(name_or_path), argument)


def _run_config_file(path: Path, argument: str | None) -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location(f"echoforge_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file; expected one with get_config()")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise ConfigError(f"{path} defines no get_config(); expected a function that returns the configuration")
        config = module.get_config() if argument is None else module.get_config(argument)
    except ConfigError:
        raise
    except Exception as error:  # whatever a file of the user raises
        text = str(error).partition(" Other fields present")[0]  # of a locked ConfigDict
        text = text.lstrip("'\"") if isinstance(error, (AttributeError, KeyError)) else text
        raise ConfigError(f"{path} cannot be run: {_where(error, path)}{type(error).__name__}: {text}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise ConfigError(
            f"get_config() of {path} returns {type(config).__name__}; expected what default_config() returns, changed"
        )
    return config


def _where(error: Exception, path: Path) -> str:
    """The last line of the file that took part in the error."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == path.resolve()
    ]
    return f"line {lines[-1]}: " if lines else ""


def resolve_flag(value: str) -> str:
    """Turns the value of a `--config` flag, NAME_OR_PATH or NAME_OR_PATH:ARGUMENT, into PATH or PATH:ARGUMENT.

    Raises:
        ConfigError: as `find_config`.
    """
    try:
        name, colon, argument = local_path(value).partition(":")
    except NoLocalPath as error:
        raise ConfigError(f"--config: {error}") from error
    path = find_config(name)
    _run_config_file(path, argument if colon else None)  # its faults would become traces in the parser of flags
    return f"{path}{colon}{argument}"


def _folder() -> Path | None:
    return next((folder for folder in _FOLDERS if folder.is_dir()), None)
