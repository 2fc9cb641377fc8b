"""The command line of every module: short help, configurations by name, faults as a message and exit code 2."""

import sys
from collections.abc import Callable

import pytest
from absl import flags
from ml_collections import config_flags

from echoforge_jax import errors
from echoforge_jax.config.files import find_config
from echoforge_jax.console import parse_flags

pytestmark = [
    pytest.mark.fast,
    pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning"),  # of ml_collections
]


@pytest.fixture(autouse=True)
def own_flags(monkeypatch: pytest.MonkeyPatch) -> flags.FlagValues:
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    monkeypatch.setattr(sys.modules["__main__"], "__doc__", "Does something useful.")
    config_flags.DEFINE_config_file("config", None, "The configuration of the run.", flag_values=values)
    flags.DEFINE_enum("dtype", "float32", ["float32", "float16"], "The type of the weights.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replaces the file that is there.", flag_values=values)
    flags.DEFINE_multi_string("against", [], "A folder to compare with.", flag_values=values)
    flags.DEFINE_string("of_a_library", None, "Nothing of ours.", flag_values=values, module_name="json")
    return values


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def parse(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [__name__, *arguments])  # ml_collections looks there for --config.* flags
        parse_flags(sys.argv)

    return parse


def refused(arguments: list[str], parse: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        parse(*arguments)
    assert stopped.value.code == errors.USAGE
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "Traceback" not in message
    return message


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help_is_what_the_module_does_and_its_own_flags(flag: str, parse, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse("--dtype=float16", flag)
    text = capsys.readouterr().out
    assert stopped.value.code == errors.OK
    assert text.startswith("Does something useful.\n\nFlags:\n  --config=CONFIG\n      The configuration of the run.\n")
    assert "  --dtype=float32|float16\n      The type of the weights. Default: float32.\n" in text
    assert "  --overwrite\n      Replaces the file that is there.\n" in text
    assert "      A folder to compare with.\n" in text
    assert "of_a_library" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config=camus_released:192"],
        ["--config", "camus_released:192"],
        ["--config=configs/camus_released.py:192"],
        [f"--config={find_config('camus_released')}:192"],
    ],
)
def test_a_configuration_is_given_by_name_or_path_with_its_argument(
    arguments: list[str], parse, own_flags, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    parse(*arguments, "--config.data.batch_clips=3")
    assert own_flags.config.data.size == 192
    assert own_flags.config.data.batch_clips == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtypes=float16"], "Did you mean: dtype"),
        (["--dtype=float8"], "float32|float16"),
        (["--config=quikstart"], "did you mean quickstart?"),
        (["--config=camus_released:100"], "stage '100' is not one of"),
        (["--config=quickstart", "--config.data.sise=3"], 'Did you mean "size"'),
        (["--config=quickstart", "--config.data.size=large"], "--config.data.size=large"),
    ],
)
def test_faults_are_a_message_and_exit_code_2(arguments: list[str], message: str, parse, capsys):
    assert message in refused(arguments, parse, capsys)
