"""Writes config.md, cli.md and reasons.md of docs/reference from the code: python scripts/write_reference.py

With --check it writes nothing, and its exit code is 1 if a page differs from the code.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from data_pipelines.notes import NOTE_KINDS
from data_pipelines.reasons import REASONS
from echoforge_jax.command import SUBCOMMANDS, Subcommand
from echoforge_jax.config import Config

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
WIDTH = 100
CLUSTER, COMPILATION = "echoforge_jax.distributed.flags", "echoforge_jax.compilation_flags"
CONFIG_INTRO = """# Configuration

This page is written by `python scripts/write_reference.py` from the dataclasses of
`echoforge_jax/config/schema.py`. Do not edit it by hand.

Every field can be set on the command line, for example `--config.data.size=128`. A configuration
file has a function `get_config()`, which starts from `default_config()` and changes fields; the
files in `configs/` are examples. A field that does not exist, a value of another type and values
that cannot go together are refused with a message that names the field.

`None` means "off" or "not given". On the command line it is spelled `none`, for example
`--config.pseudo_labels.strategy=none` or `--config.optimizer.ema_decay=none`.
"""
CLI_INTRO = """# Commands

This page is written by `python scripts/write_reference.py` from the flags in the code. Do not edit
it by hand.

Each command has two forms that do the same: `echoforge NAME` and `python -m MODULE`.
`echoforge NAME --help` prints its flags, and `echoforge completion bash` prints a completion script
for the shell (also for zsh and fish). [Exit codes](exit_codes.md) are on their own page.
"""
REASONS_INTRO = """# Reasons and notes

This page is written by `python scripts/write_reference.py` from `data_pipelines/reasons.py` and
`data_pipelines/notes.py`. Do not edit it by hand. [Why records are refused, and where notes are
shown](../explanation/data.md) is explained elsewhere.

## Reasons

A record that cannot be used is left out with one of these reasons. The message that follows a
reason says what was found in the file.
"""
NOTES_INTRO = """## Notes

A note stands beside a record that can be used. A warning says that statements disagree, or that a
value is doubtful: somebody should look. An info says where a value comes from, or what was handled.
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """One flag or field.

    Attributes:
        name: how it is written on a command line.
        values: the values that it takes, or their type.
        default: what it is if it is not given; "" where there is no default.
        meaning: what it does, in sentences.
    """

    name: str
    values: str
    default: str
    meaning: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the pages and returns the exit code.

    Args:
        arguments: the command line without the program's name; None takes that of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Compares the pages with the code and writes nothing.")
    check = parser.parse_args(arguments).check
    stale = False
    for name, text in (("config.md", config_page()), ("cli.md", cli_page()), ("reasons.md", reasons_page())):
        page = FOLDER / name
        if check and (not page.is_file() or page.read_text(encoding="utf-8") != text):
            print(f"{page.relative_to(ROOT)} differs from the code: run python scripts/write_reference.py")
            stale = True
        elif not check:
            page.write_text(text, encoding="utf-8")
    return int(stale)


def config_page() -> str:
    """Builds the page of all fields of the configuration."""
    return "\n".join([CONFIG_INTRO, *_sections(Config, "config")]).rstrip("\n") + "\n"


def cli_page() -> str:
    """Builds the page of all commands and their flags."""
    parts = [CLI_INTRO]
    for subcommand in SUBCOMMANDS:
        parts.append(f"## echoforge {subcommand.name}\n\n{subcommand.summary} Module: `{subcommand.module}`.\n")
        for title, rows in _flags_of(subcommand):
            parts += [f"{title}\n"] if title else []
            parts.append(_table("flag", rows))
    compilation = [_absl_row(flag) for flag in flags.FLAGS.flags_by_module_dict()[COMPILATION]]
    parts.append("## Flags of compilation\n\n`echoforge train`, `evaluate` and `export` take them.\n")
    parts.append(_table("flag", compilation))
    cluster = [_absl_row(flag) for flag in flags.FLAGS.flags_by_module_dict()[CLUSTER]]
    parts.append("## Flags of a run over several processes\n\n`echoforge train` and `echoforge evaluate` take them.\n")
    parts.append(_table("flag", cluster))
    return "\n".join(parts).rstrip("\n") + "\n"


def reasons_page() -> str:
    """Builds the page of all reasons of a refusal and all notes."""
    lines = [REASONS_INTRO, *_meanings("reason", list(REASONS.items()))]
    for severity, title in (("warning", "Warnings"), ("info", "Infos")):
        kinds = [(code, kind) for code, kind in NOTE_KINDS.items() if kind.severity == severity]
        lines += [NOTES_INTRO] if severity == "warning" else []
        lines += [f"### {title}", "", *_meanings("note", kinds)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _meanings(heading: str, entries: Sequence[tuple[str, Any]]) -> list[str]:
    """A table of codes with their meaning and advice, in alphabetical order, and an empty line."""
    lines = [f"| {heading} | what it means | what to do |", "|---|---|---|"]
    for code, entry in sorted(entries, key=lambda item: item[0].lower()):
        cells = (text.replace("*", "\\*").replace("|", "\\|") for text in (code, entry.meaning, entry.advice))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _sections(cls: Any, path: str) -> Iterator[str]:
    """A heading and a table for a dataclass of the configuration, then the same for those inside it."""
    hints, meanings = typing.get_type_hints(cls), _attributes(cls)
    plain, inner = [], []
    for field in dataclasses.fields(cls):
        name, hint = f"{path}.{field.name}", hints[field.name]
        nested = next((kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)), None)
        if nested is not None:
            inner.append((nested, name if nested is hint else f"{name}[i]"))
        if nested is not hint:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            plain.append(Row(name, _type(hint), f"`{default!r}`", meanings.get(field.name, "")))
    summary = (cls.__doc__ or "").split("\n\n")[0]
    yield f"## {path}\n\n{_wrapped(summary)}\n"
    if plain:
        yield _table("field", plain)
    for nested, name in inner:
        yield from _sections(nested, name)


def _attributes(cls: Any) -> dict[str, str]:
    """The entries under `Attributes:` of a docstring, by name."""
    text = textwrap.dedent((cls.__doc__ or "").partition("Attributes:\n")[2])
    entries = re.findall(r"^(\w+): (.*(?:\n[ \t]+.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in entries}


def _type(hint: Any) -> str:
    """A type in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(kind) for kind in inner)
    if origin is typing.Literal:
        return ", ".join(f"`{value!r}`" for value in inner)
    if origin is tuple:
        kinds = ", ".join(_type(kind) for kind in inner if kind is not Ellipsis)
        return f"any number of: {kinds}" if Ellipsis in inner else f"({kinds})"
    if hint is type(None):
        return "None"
    name: str = hint.__name__
    return {"str": "text", "int": "integer", "float": "number", "bool": "True or False"}.get(name, name)


def _flags_of(subcommand: Subcommand) -> list[tuple[str, list[Row]]]:
    """The flags of a subcommand in groups, each with a title (or "")."""
    imported = importlib.import_module(subcommand.module)
    own = flags.FLAGS.flags_by_module_dict().get(subcommand.module, [])
    if own:
        rows = [_absl_row(flag) for flag in own]
        for flag in list(own):
            delattr(flags.FLAGS, flag.name)  # the next module may define a flag of the same name
        return [("", rows)]
    start = getattr(imported, "main", None) or importlib.import_module(f"{subcommand.module}.__main__").main
    return _argparse_rows(_parser_of(start))


def _absl_row(flag: Any) -> Row:
    choices = getattr(flag.parser, "enum_values", None)
    meaning = str(flag.help).replace(";\n    repeat this option to specify a list of values", "")
    if choices:
        meaning = meaning.partition(">: ")[2] or meaning  # absl puts "<a|b|c>: " before it
    kind = str(flag.flag_type()).removeprefix("multi ").removeprefix("comma separated ")
    values = _values(choices, "" if kind == "bool" else {"list of strings": "list"}.get(kind, kind))
    default = "" if _is_off(flag.default) else f"`{str(flag.default_as_str).strip(chr(39))}`"
    return Row(f"--{flag.name}", values, default, " ".join(meaning.split()))


def _values(choices: Sequence[Any] | None, kind: str) -> str:
    """What a flag takes: its choices, or its kind in words."""
    words = {
        "str": "text",
        "string": "text",
        "int": "integer",
        "float": "number",
        "path_argument": "path",
        "path_text": "text",
    }
    return ", ".join(f"`{choice}`" for choice in choices) if choices else words.get(kind, kind)


def _is_off(default: Any) -> bool:
    return default is None or default is False or default in ([], "", argparse.SUPPRESS)


def _parser_of(start: Any) -> argparse.ArgumentParser:
    """The parser that a command makes, caught when it begins to parse."""
    caught: list[argparse.ArgumentParser] = []

    def catch(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        caught.append(parser)
        raise SystemExit

    before = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = catch  # pyright: ignore[reportAttributeAccessIssue]
    try:
        start([])
    except SystemExit:
        pass
    finally:
        argparse.ArgumentParser.parse_args = before
    return caught[0]


def _argparse_rows(parser: argparse.ArgumentParser, title: str = "") -> list[tuple[str, list[Row]]]:
    groups: list[tuple[str, list[Row]]] = []
    rows: list[Row] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                groups += _argparse_rows(inner, f"`{name}`:")
        elif not isinstance(action, argparse._HelpAction):
            name = action.option_strings[0] if action.option_strings else action.dest.upper()
            kind = "" if action.nargs == 0 else getattr(action.type, "__name__", "text")
            values = _values(list(action.choices) if action.choices else None, kind)
            default = "" if _is_off(action.default) or action.required else f"`{action.default}`"
            meaning = (action.help or "") % {**vars(action), "prog": parser.prog}
            rows.append(Row(name, values, default, " ".join(meaning.split())))
    return [*([(title, rows)] if rows else []), *groups]


def _table(heading: str, rows: Sequence[Row]) -> str:
    lines = [f"| {heading} | values | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        values, meaning = (text.replace("|", "\\|") for text in (row.values, row.meaning))
        lines.append(f"| `{row.name}` | {values} | {row.default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    sys.exit(main())
