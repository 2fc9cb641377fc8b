"""Stand-ins for the commands of a cluster: scripts of the same names that write down how they were called."""

from pathlib import Path


def stand_in(folder: Path, name: str, body: str) -> None:
    """Writes a command that adds its name and arguments to the file `calls`, and then does what the body says.

    Args:
        folder: is put into PATH by the test; the body knows it as $HERE.
        name: of the command.
        body: of a bash script.
    """
    file = folder / name
    file.write_text(f'#!/bin/bash\nHERE="{folder}"\necho "{name} $*" >> "$HERE/calls"\n{body}\n')
    file.chmod(0o755)


def calls_of(folder: Path) -> list[str]:
    """Returns the commands that were called, with their arguments, in order."""
    file = folder / "calls"
    return file.read_text().splitlines() if file.exists() else []
