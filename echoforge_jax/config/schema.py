"""Configuration: frozen dataclasses, and the only reader of a `ConfigDict`.

A config file has `get_config()`, starts from `default_config()` and changes fields; the dict is locked, so a field that
does not exist fails with its name. Every field can be set on the command line: `--config.data.size=128`.
"""

from __future__ import annotations

import dataclasses

from data_pipelines.augment import Augmentation

REMATERIALISABLE = ("encoder", "anchor_recalibration", "temporal_fusion")  # that can be rematerialised


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network. Switches are the rows of the paper's Tables 3-5; defaults are docs/explanation/method.md's."""

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
    teacher: str = "last"  # the frozen copy holds the last parameters or their average (config.optimizer.ema_decay)
    strong_student: bool = False  # sees clips that lack labels with strong changes (threshold, mean_teacher: always)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
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
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
