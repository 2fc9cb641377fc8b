"""The fields of a configuration: documented, checked, changed by name, and read from earlier versions."""

import dataclasses

import pytest

from echoforge_jax.config import Config, MixConfig, default_config, flatten, read_config, replace, stored_form
from echoforge_jax.config.renamed import RENAMED, RETIRED, rename_fields, with_numeric_none
from echoforge_jax.config.strategy import STRATEGIES
from echoforge_jax.errors import ConfigError

pytestmark = pytest.mark.fast


def test_the_defaults_survive_a_config_dict_and_json():
    assert read_config(default_config()) == Config() == read_config(stored_form(Config()))


def test_optional_fields_keep_their_type_in_a_config_dict():
    values = default_config()
    values.optimizer.ema_decay = 0.99
    values.model.pretrained = "r.safetensors"
    config = read_config(values)
    assert config.optimizer.ema_decay == 0.99 and config.model.pretrained == "r.safetensors"
    values.optimizer.ema_decay = None
    assert read_config(values).optimizer.ema_decay is None
    with pytest.raises(TypeError):
        values.training.max_steps = "many"


@pytest.mark.parametrize("text", ["none", "None"])
def test_a_command_line_can_say_none(text: str):
    changes = {"pseudo_labels.strategy": text, "training.start_from": text}
    assert replace(Config(), changes) == replace(Config(), dict.fromkeys(changes))


def test_a_command_line_can_say_none_for_a_number():
    assert with_numeric_none("--config.training.max_steps=None") == "--config.training.max_steps=0"
    assert replace(Config(), {"training.max_steps": 0}).training.max_steps is None
    for argument in ("--config.training.max_steps=5", "--config.pseudo_labels.strategy=none", "--out=None"):
        assert with_numeric_none(argument) == argument


def test_replace_changes_fields_and_sections_at_once():
    other = replace(Config(), {"data.size": 64, "optimizer.ema_decay": 0.9, "pseudo_labels.teacher": "average"})
    assert (other.data.size, other.pseudo_labels.teacher) == (64, "average") and Config().data.size == 256
    assert replace(Config(), {"data": other.data, "data.frames": 4}).data == dataclasses.replace(other.data, frames=4)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data.siz", 64, r"config\.data\.siz is not a field; did you mean config\.data\.size"),
        ("data.size", 63, r"config\.data\.size is 63; expected a multiple of 16"),
        ("data.size", "64", r"config\.data\.size is '64' \(str\); expected int"),
        ("data.workers", True, r"config\.data\.workers is True \(bool\); expected int"),
        ("model.norm", "layer", r"config\.model\.norm is 'layer'; expected one of 'batch', 'frozen', 'group'"),
        ("model.rematerialise", ("head",), r"config\.model\.rematerialise\[0\] is 'head'; expected one of"),
        ("evaluation.protocols", ("half",), r"config\.evaluation\.protocols\[0\] is 'half'; expected one of"),
        ("model.uncertain_interval", (0.4,), r"expected 2 entries"),
        ("optimizer.learning_rate", 0.0, r"config\.optimizer\.learning_rate is 0\.0, which is too small"),
        ("data.mix", ({"format": "cine"},), r"config\.data\.mix has root '' and share 0\.25; expected a folder"),
    ],
)
def test_a_value_that_cannot_work_is_named(name: str, value: object, message: str):
    with pytest.raises(ConfigError, match=message):
        replace(Config(), {name: value})


def test_names_and_values_of_earlier_versions_are_read():
    old = {
        "seed": 3,
        "model": {"pretrained": "", "surroundings": False, "separate_self_attention": False},
        "data": {
            "root": "",
            "split_scheme": "auto",
            "mix": [{"root": "cines", "split_scheme": "auto", "labels": "none"}],
        },
        "semi": {
            "pseudo_labels": "none",
            "flamerise": False,
            "dice_weight": 0.5,
            "teacher": "last",
            "surroundings_weight": 0.5,
        },
        "optimiser": {"clip_norm": 0.0, "ema_decay": 0.99},
        "training": {"max_steps": 0, "steps_per_epoch": 88},
        "evaluation": {"split": "auto"},
    }
    config = read_config(old)
    assert config == replace(
        Config(),
        {
            "seed": 3,
            "data.mix": (MixConfig(root="cines"),),
            "pseudo_labels.strategy": None,
            "flamerise.enabled": False,
            "loss.dice_weight": 0.5,
            "optimizer.ema_decay": 0.99,
            "training.steps_per_epoch": 88,
        },
    )


@pytest.mark.parametrize("name", RETIRED)
def test_a_removed_experiment_names_the_commit_that_knows_it(name: str):
    assert rename_fields({name: False}) == {}
    with pytest.raises(ConfigError, match="was removed; the last commit that knows it is 3c61959"):
        rename_fields({name: True})


def test_every_new_name_exists():
    fields = flatten(dataclasses.asdict(Config()))
    assert set(RENAMED.values()) <= set(fields)


def test_a_strategy_is_known_by_its_object():
    assert {strategy.name for strategy in STRATEGIES.values()} == set(STRATEGIES)
    assert replace(Config(), {"pseudo_labels.strategy": None}).pseudo_labels.rules is STRATEGIES[None]
