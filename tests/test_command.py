"""The command `echoforge`: its help, its faults and its completion, all without JAX."""

import ast
import contextlib
import importlib
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from echoforge_jax import __version__, errors
from echoforge_jax.command import SUBCOMMANDS, main
from echoforge_jax.completion import FLAGS, SHELLS, completion_script

SUMMARIES = {subcommand.name: subcommand.summary for subcommand in SUBCOMMANDS}


def test_help_needs_no_jax():
    program = (
        "import sys; from echoforge_jax.command import main; code = main(['--help']);"
        "sys.exit(code or any(name in sys.modules for name in ('jax', 'numpy', 'cv2', 'ml_collections')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"  {subcommand.name}" in done.stdout for subcommand in SUBCOMMANDS)


def test_every_summary_is_one_sentence_on_one_line():
    for subcommand in SUBCOMMANDS:
        assert re.fullmatch(r"[A-Z].*[a-z]\.", subcommand.summary) and len(subcommand.summary) < 66


def test_every_subcommand_is_a_module_that_can_be_started():
    for subcommand in SUBCOMMANDS:
        spec = importlib.util.find_spec(subcommand.module)
        assert spec is not None and spec.origin is not None
        file = Path(spec.origin)
        if file.name == "__init__.py":
            file = file.with_name("__main__.py")
        assert 'if __name__ == "__main__":' in file.read_text()


def test_an_unknown_subcommand_is_refused_with_the_closest(capsys):
    assert main(["evalute"]) == errors.USAGE
    assert "did you mean evaluate?" in capsys.readouterr().err
    assert main(["xyz"]) == errors.USAGE
    assert "did you mean" not in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_no_subcommand_prints_the_help(capsys):
    assert main([]) == errors.USAGE
    assert "echoforge train --config=quickstart" in capsys.readouterr().out


@pytest.mark.parametrize("name", [subcommand.name for subcommand in SUBCOMMANDS])
def test_completion_knows_the_flags_of_every_subcommand(name: str):
    module = {subcommand.name: subcommand.module for subcommand in SUBCOMMANDS}[name]
    if module.startswith("data_pipelines"):
        arguments = [[]] if name != "prepare" else [["camus"], ["simulated_echo"]]
        flags = set().union(*(_argparse_flags(module, given) for given in arguments))
    elif name == "reproduce":
        flags = _argparse_flags("echoforge_jax.reproduction.command", [])
    else:
        flags = _absl_flags(module) | _absl_flags("echoforge_jax.compilation_flags")
        if name != "export":
            flags |= _absl_flags("echoforge_jax.distributed.flags")
    assert set(FLAGS[name]) == flags


def _argparse_flags(module: str, arguments: list[str]) -> set[str]:
    imported = importlib.import_module(module)
    start = getattr(imported, "main", None) or importlib.import_module(f"{module}.__main__").main
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit):
        start([*arguments, "--help"])
    return set(re.findall(r"--([a-z_]+)", text.getvalue().partition("options:")[2])) - {"help"}


def _absl_flags(module: str) -> set[str]:
    """Reads the flags from the source: two modules that define the same flag cannot be imported together."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    calls = [node for node in ast.walk(ast.parse(Path(spec.origin).read_text())) if isinstance(node, ast.Call)]
    names = {
        call.args[call.func.attr == "DEFINE"]  # flags.DEFINE takes the parser first
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr.startswith("DEFINE")
    }
    return {name.value for name in names if isinstance(name, ast.Constant) and isinstance(name.value, str)}


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_are_valid(shell: str, tmp_path: Path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / f"completion.{shell}"
    script.write_text(completion_script(shell, SUMMARIES))
    checked = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and not checked.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["echoforge", "ev"], {"evaluate"}),
        (["echoforge", "train", "--conf"], {"--config="}),
        (["echoforge", "train", "--config", "=", "quick"], {"quickstart"}),
        (["echoforge", "train", "--config", "camus_s"], {"camus_semi", "camus_small"}),
        (["echoforge", "evaluate", "--split", "="], {"train", "validation", "test", "all"}),
        (["echoforge", "evaluate", "--data", "=", "tr"], {"tree", "tree two"}),
        (["echoforge", "completion", "z"], {"zsh"}),
    ],
)
def test_bash_completes_subcommands_flags_and_values(words: list[str], expected: set[str], tmp_path: Path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree two").mkdir()
    (tmp_path / "completion.bash").write_text(completion_script("bash", SUMMARIES))
    program = (
        "source completion.bash; compopt() { :; }; complete -p echoforge > /dev/null || exit 1\n"
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _echoforge; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program, "bash", *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.splitlines()) == expected
