"""Configuration: frozen dataclasses, and the only reader of a `ConfigDict`.

A config file has `get_config()`, starts from `default_config()` and changes fields; the dict is locked, so a field that
does not exist fails with its name. Every field can be set on the command line: `--config.data.size=128`.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from typing import Any

import ml_collections

from data_pipelines.augment import Augmentation
from data_pipelines.propagation import WAYS


class ConfigError(ValueError):
    """A configuration that cannot work: says which field, what was found, what was expected."""


PARTS = ("encoder", "anchor_recalibration", "temporal_fusion")  # that can be rematerialised


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network. Switches are the rows of the paper's Tables 3-5; defaults are docs/method.md's."""

    encoder_depth: int = 50  # 18 | 50
    encoder_width: int = 64  # channels of conv1
    encoder_stages: int = 3  # 3: stop at stride 16; 4: stride 32
    norm: str = "batch"  # encoder: batch | frozen | group
    stride_in_first_1x1: bool = False  # ResNet v1; set by the pretrained file where there is one
    pretrained: str = ""  # a .safetensors file in torchvision's key layout; "" starts from Kaiming
    input_mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # of grey levels 0..1, one entry an input channel
    input_std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: int = 128
    heads: int = 8
    anchor_recalibration: bool = True  # ARC
    anchors: int = 2  # Table 4: 1..4
    neighbours: int = 16  # Fig. 7: K
    patch: int = 2  # cells a side
    temperature: float = 1.0
    uncertain_interval: tuple[float, float] = (0.4, 0.6)
    temporal_fusion: bool = True  # TSF
    memory_frames: int = 3
    decoder_layers: int = 3
    separate_self_attention: bool = False
    surroundings: bool = False  # further heads for myocardium and left atrium, taught where they are labelled
    dtype: str = "float32"  # of the arithmetic; parameters are float32
    rematerialise: tuple[str, ...] = ()  # encoder | anchor_recalibration | temporal_fusion: computed anew backwards


@dataclasses.dataclass(frozen=True)
class SimulationConfig:
    """A population to simulate into `data.root` before training; 0 patients: the data are there already."""

    patients: int = 0
    frames: int = 16
    size: int = 256
    seed: int = 0
    processes: int = 2


@dataclasses.dataclass(frozen=True)
class MixConfig:
    """A further source of clips that fills a share of every batch."""

    format: str = "cine"  # cine | camus | echonet_dynamic | store
    root: str = ""
    split: str = "train"  # of that data set; cines have none
    split_scheme: str = "auto"
    share: float = 0.25  # of the rows of a batch, at least one
    labels: str = "none"  # none | ed_es | all: which of its labels may be used


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where clips come from and what a batch is."""

    format: str = "camus"  # camus | echonet_dynamic | store (what data_pipelines.prepare made)
    root: str = ""
    in_memory: bool = True  # False: training clips are read from the store whenever they are needed
    split_scheme: str = "auto"  # camus: official | number | ratio | auto | a file or folder with the patients by split
    views: tuple[str, ...] = ("2CH", "4CH")
    frames: int = 10  # ED first, ES last
    size: int = 256
    batch_clips: int = 4  # over all devices
    training_labels: str = "ed_es"  # ed_es | all
    skip_unreadable: bool = True  # False: the first unreadable record stops the run
    workers: int = 2  # reader threads
    worker_processes: int = 0  # besides; each with its own threads and its own copy of the clips
    labelled_fraction: float = 1.0  # of the training patients: the labels of the others are not used
    labelled_seed: int = 0  # which patients; the same seed's smaller fractions are part of the larger ones
    labelled_clips_per_batch: int = 0  # where some clips are unlabelled; 0: in proportion, at least one a device
    mix: tuple[MixConfig, ...] = ()
    augment: Augmentation = dataclasses.field(default_factory=Augmentation)
    simulate: SimulationConfig = dataclasses.field(default_factory=SimulationConfig)


@dataclasses.dataclass(frozen=True)
class SemiConfig:
    """CPR, FlameRise and the loss weights (eq. 5-9)."""

    pseudo_labels: str = "reforging"  # or none; Table 6: threshold | mean_teacher | registration | deformation
    flamerise: bool = True  # False: lambda_max and tau_end from the first epoch
    lambda_max: float = 1.0
    tau_start: float = 0.95
    tau_end: float = 0.75
    burn_in: float = 0.1  # E0 as a fraction of the epochs
    ramp_end: float = 0.6  # E1
    per_step: bool = False  # schedules by step instead of by whole epoch
    cosine_temperature: float = 0.1
    dice_weight: float = 1.0  # of eq. 9's Dice term on labelled frames, beside the BCE
    seed_weight: float = 0.3  # BCE on ARC's own mask
    surroundings_weight: float = 0.5  # BCE + Dice on myocardium and left atrium, where the model has their heads
    reforging_weight: float = 1.0  # the term that trains Wq, Wk, Wv
    reforging_residual: bool = False  # F^_U = F_U + A V^T instead of eq. 6's A V^T
    own_weight: float = 0.0  # of the frozen copy's own prediction beside the two reforged ones, which share the rest
    teacher: str = "last"  # the frozen copy holds the last parameters or their average (config.optimiser.ema_decay)
    strong_student: bool = False  # sees clips that lack labels with strong changes (threshold, mean_teacher: always)


@dataclasses.dataclass(frozen=True)
class OptimiserConfig:
    """Adam with polynomial decay (paper, 4.2)."""

    learning_rate: float = 1e-4
    power: float = 0.9
    warmup_steps: int = 0
    encoder_rate: float = 1.0  # the encoder learns at this multiple of the learning rate
    weight_decay: float = 0.0  # decoupled (AdamW), of the kernels alone
    clip_norm: float = 0.0  # global gradient norm; 0: off
    ema_decay: float = 0.0  # 0: no moving average; else evaluation uses it


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The loop."""

    epochs: int = 50
    steps_per_epoch: int = 0  # 0: as many as cover the training clips once; else clips go round and round
    start_from: str = ""  # a trained network to start from: a run, an inference folder or a .safetensors file
    mesh: tuple[tuple[str, int], ...] = (("data", -1),)  # (("data", -1), ("fsdp", 4)): large arrays split four ways
    split_from: int = 2**16  # elements of the smallest array that the axis fsdp splits
    accumulate: int = 1  # each device takes its rows in so many parts, one after the other, and adds their gradients
    keep_checkpoints: int = 2
    checkpoint_every_epochs: int = 1
    checkpoint_every_steps: int = 0  # besides; 0: never
    validate_every_epochs: int = 1
    log_every_steps: int = 10
    max_steps: int = 0  # stop early and resumably after this many steps; 0: never


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is scored after training."""

    split: str = "auto"  # auto: test, or validation where the data hold no test split
    protocols: tuple[str, ...] = ("semi", "full")
    batch_clips: int = 4
    scales: tuple[float, ...] = (1.0,)  # test-time augmentation: probabilities are averaged over enlarged pictures
    threshold: float = 0.5  # a pixel is foreground from this probability on
    processes: int = 2  # that score masks, where there are enough of them to be worth starting


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on."""

    seed: int = 0
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    semi: SemiConfig = dataclasses.field(default_factory=SemiConfig)
    optimiser: OptimiserConfig = dataclasses.field(default_factory=OptimiserConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)


def default_config() -> ml_collections.ConfigDict:
    """The defaults as a locked `ConfigDict`, for a `get_config()` to change."""
    return ml_collections.ConfigDict(dataclasses.asdict(Config())).lock()


def read_config(values: ml_collections.ConfigDict | dict[str, Any]) -> Config:
    """`ConfigDict` or nested dict -> checked `Config`.

    Raises:
        ConfigError: an unknown or missing field, a value of another type, or values that cannot go together.
    """
    if isinstance(values, ml_collections.ConfigDict):
        values = values.to_dict()
    config = _build(Config, values, "config")
    _check(config)
    return config


def _build(cls: Any, values: Any, path: str) -> Any:
    if not isinstance(values, dict):
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
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, path)
    origin = typing.get_origin(kind)
    if origin is tuple:
        inner = typing.get_args(kind)
        if not isinstance(value, (tuple, list)):
            raise ConfigError(f"{path} is {value!r}; expected a tuple")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise ConfigError(f"{path} is {value!r}; expected {len(kinds)} entries")
        return tuple(_value(k, v, f"{path}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if isinstance(kind, types.UnionType):
        raise TypeError(f"{path}: unions are not used in configs")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{path} is {value!r} ({type(value).__name__}); expected {kind.__name__}")
    return value


def _check(c: Config) -> None:
    choices = {
        "config.model.norm": (c.model.norm, ("batch", "frozen", "group")),
        "config.model.encoder_depth": (c.model.encoder_depth, (18, 50)),
        "config.model.encoder_stages": (c.model.encoder_stages, (3, 4)),
        "config.model.anchors": (c.model.anchors, (1, 2, 3, 4)),
        "config.model.dtype": (c.model.dtype, ("float32", "bfloat16")),
        "config.data.format": (c.data.format, ("camus", "echonet_dynamic", "store")),
        "config.data.training_labels": (c.data.training_labels, ("ed_es", "all")),
        "config.semi.pseudo_labels": (
            c.semi.pseudo_labels,
            ("reforging", "none", "threshold", "mean_teacher", *WAYS),
        ),
        "config.semi.teacher": (c.semi.teacher, ("last", "average")),
        "config.evaluation.split": (c.evaluation.split, ("auto", "train", "validation", "test")),
    }
    for path, (found, allowed) in choices.items():
        if found not in allowed:
            raise ConfigError(f"{path} is {found!r}; expected one of {', '.join(map(repr, allowed))}")
    for i, mix in enumerate(c.data.mix):
        known = {"format": ("cine", "camus", "echonet_dynamic", "store"), "labels": ("none", "ed_es", "all")}
        for name, allowed in known.items():
            if getattr(mix, name) not in allowed:
                raise ConfigError(f"config.data.mix[{i}].{name} is {getattr(mix, name)!r}; expected one of {allowed}")
        if not mix.root or not 0 < mix.share < 1:
            raise ConfigError(
                f"config.data.mix[{i}] has root {mix.root!r} and share {mix.share}; expected a folder and 0 < share < 1"
            )
    if not c.data.in_memory and c.data.format != "store":
        raise ConfigError(f"config.data.in_memory=False reads from a store; config.data.format is {c.data.format!r}")
    if not c.data.in_memory and c.semi.pseudo_labels in WAYS:
        raise ConfigError(
            f"config.semi.pseudo_labels={c.semi.pseudo_labels!r} carries labels through the clips before training and "
            "needs config.data.in_memory=True"
        )
    if c.semi.pseudo_labels == "mean_teacher" and not c.optimiser.ema_decay:
        raise ConfigError("config.semi.pseudo_labels='mean_teacher' needs config.optimiser.ema_decay, e.g. 0.99")
    if c.semi.teacher == "average" and not c.optimiser.ema_decay:
        raise ConfigError("config.semi.teacher='average' needs config.optimiser.ema_decay, e.g. 0.99")
    if c.semi.strong_student and c.semi.pseudo_labels == "none":
        raise ConfigError("config.semi.strong_student needs pseudo-labels; config.semi.pseudo_labels is 'none'")
    if not 0 <= c.semi.own_weight < 1:
        raise ConfigError(f"config.semi.own_weight is {c.semi.own_weight}; expected 0 <= own_weight < 1")
    if not 0 < c.data.labelled_fraction <= 1:
        raise ConfigError(f"config.data.labelled_fraction is {c.data.labelled_fraction}; expected 0 < fraction <= 1")
    for part in c.model.rematerialise:
        if part not in PARTS:
            raise ConfigError(f"config.model.rematerialise holds {part!r}; expected some of {', '.join(PARTS)}")
    for protocol in c.evaluation.protocols:
        if protocol not in ("semi", "full"):
            raise ConfigError(f"config.evaluation.protocols holds {protocol!r}; expected 'semi' and/or 'full'")
    stride = 2 ** (1 + c.model.encoder_stages)
    positive = {
        "config.data.frames": c.data.frames - 1, "config.data.batch_clips": c.data.batch_clips,
        "config.training.epochs": c.training.epochs, "config.training.accumulate": c.training.accumulate,
        "config.model.neighbours": c.model.neighbours,
        "config.training.keep_checkpoints": c.training.keep_checkpoints,
        "config.training.log_every_steps": c.training.log_every_steps,
        "config.training.validate_every_epochs": c.training.validate_every_epochs,
        "config.training.checkpoint_every_epochs": c.training.checkpoint_every_epochs,
        "config.optimiser.learning_rate": c.optimiser.learning_rate,
    }  # fmt: skip
    for path, value in positive.items():
        if value <= 0:
            least = 2 if path.endswith("frames") else "more than 0"
            raise ConfigError(f"{path} is too small; expected {least}")
    if c.data.size % stride:
        raise ConfigError(f"config.data.size is {c.data.size}; expected a multiple of {stride} (the encoder's stride)")
    crop = c.data.augment.crop
    if crop % stride or crop > c.data.size:
        raise ConfigError(
            f"config.data.augment.crop is {crop}; expected a multiple of {stride} up to config.data.size, {c.data.size}"
        )
    if c.model.channels % 8 or c.model.channels % c.model.heads:
        raise ConfigError(
            f"config.model.channels is {c.model.channels}; expected a multiple of 8 and of heads ({c.model.heads})"
        )
    if len(c.model.input_mean) != len(c.model.input_std):
        raise ConfigError("config.model.input_mean and input_std must have one entry an input channel each")
    if not 0 <= c.semi.burn_in <= c.semi.ramp_end <= 1:
        raise ConfigError(
            f"config.semi.burn_in is {c.semi.burn_in} and ramp_end {c.semi.ramp_end}; "
            "expected 0 <= burn_in <= ramp_end <= 1"
        )
    if not c.evaluation.scales or not all(0.5 <= scale <= 2 for scale in c.evaluation.scales):
        raise ConfigError(f"config.evaluation.scales is {c.evaluation.scales}; expected numbers from 0.5 to 2")
    if not 0 < c.evaluation.threshold < 1:
        raise ConfigError(f"config.evaluation.threshold is {c.evaluation.threshold}; expected 0 < threshold < 1")
    if not 0 <= c.optimiser.ema_decay < 1:
        raise ConfigError(f"config.optimiser.ema_decay is {c.optimiser.ema_decay}; expected 0 <= ema_decay < 1")
