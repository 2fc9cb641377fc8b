"""The short help of a command: what it does, its own flags, and those of runs over several processes."""

from __future__ import annotations

import shutil
import sys
import textwrap

from absl import flags

_SHARED, _COMPILATION = "echoforge_jax.distributed.flags", "echoforge_jax.compilation_flags"
HELP_FLAGS = ("--help", "-help", "-h", "--helpshort", "--helpfull")


def help_text(width: int | None = None) -> str:
    """Writes the help of the running command from its module's docstring and its flags.

    Args:
        width: of a line, in characters; None for that of the terminal.
    """
    width = width or min(shutil.get_terminal_size((100, 24)).columns, 100)
    of_module = flags.FLAGS.flags_by_module_dict()
    parts = [str(sys.modules["__main__"].__doc__ or "").strip()]
    for title, module in (
        ("Flags", sys.argv[0]),
        ("Flags of compilation", _COMPILATION),
        ("Flags of a run over several processes", _SHARED),
    ):
        if module in of_module:
            parts.append("\n".join([f"{title}:", *(_describe(flag, width) for flag in of_module[module])]))
    return "\n\n".join(parts)


def _describe(flag: flags.Flag, width: int) -> str:
    choices = getattr(flag.parser, "enum_values", None)
    text = str(flag.help).replace(";\n    repeat this option to specify a list of values", "")
    if choices:
        text = text.partition(">: ")[2] or text  # absl puts "<a|b|c>: " before it
    if flag.default not in (None, [], "", False) and flag.name != "config":
        text = f"{text} Default: {str(flag.default_as_str).strip(chr(39))}."
    value = "" if flag.boolean else f"={'|'.join(choices) if choices else flag.name.upper()}"
    body = textwrap.fill(" ".join(str(text).split()), width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"  --{flag.name}{value}\n{body}"
