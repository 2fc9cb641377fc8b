"""Every script explains itself with --help."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
IMPORTED_BY_OTHERS = {"pod_cost.py"}  # and no command
COMMANDS = {file.name: file.read_text(encoding="utf-8") for file in SCRIPTS.glob("*.py")}
ABSL = sorted(name for name, text in COMMANDS.items() if "absl" in text)  # defines a flag only once in a process
ARGPARSE = sorted(COMMANDS.keys() - IMPORTED_BY_OTHERS - set(ABSL))


@pytest.mark.parametrize("name", ARGPARSE)
def test_help_of_a_script_has_a_sentence_for_each_flag(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setenv("COLUMNS", "500")
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    assert not stop.value.code
    options = capsys.readouterr().out.partition("options:")[2]
    options = re.sub(r"\n {10,}", "  ", options)  # a long flag has its text on the next line
    texts = dict(re.findall(r"^  (--\w+)(?: \S+)*? {2,}(.*)$", options, re.MULTILINE))
    assert texts and [flag for flag, text in texts.items() if not re.fullmatch(r"[A-Z].*\.", text)] == []


@pytest.mark.parametrize("name", ABSL)
def test_help_of_a_script_with_global_flags(name):
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    command = [sys.executable, SCRIPTS / name, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "--" in done.stdout and "Traceback" not in done.stderr
