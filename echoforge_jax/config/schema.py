"""The fields of a configuration: frozen dataclasses that check themselves and say what each field means.

None always means "off" or "not given". A value that cannot work raises `ConfigError`, with the field named.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from data_pipelines.local_path import NoLocalPath, local_path
from data_pipelines.settings import Augmentation
from echoforge_jax.config.strategy import STRATEGIES, PseudoLabelName, Strategy
from echoforge_jax.errors import ConfigError

Rematerialisable = Literal["encoder", "anchor_recalibration", "temporal_fusion"]
DataFormat = Literal["camus", "echonet_dynamic", "store"]
Split = Literal["train", "validation", "test"]
Protocol = Literal["semi", "full"]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network. Its switches are the rows of the paper's Tables 3 to 5.

    Attributes:
        encoder_depth: Layers of the ResNet encoder.
        encoder_width: Channels of the encoder's first convolution (64 in the original ResNet).
        encoder_stages: 3 ends the encoder at stride 16, 4 at stride 32.
        norm: Normalisation. "batch" uses the statistics of the global batch in training, "frozen" always the running
            statistics of the encoder, "group" groups of 8 channels and no statistics.
        stride_in_first_1x1: Puts the stride of a bottleneck block into its first 1x1 convolution (ResNet v1). A
            pretrained file sets it.
        pretrained: A .safetensors file with encoder weights under torchvision's names; None starts from Kaiming
            initialisation.
        input_mean: Mean of the grey levels (0..1) that is subtracted, one value for each input channel.
        input_std: Standard deviation that the grey levels are divided by, one value for each input channel.
        channels: Channels of the pyramid, ARC, TSF and CPR.
        heads: Attention heads in ARC and TSF.
        anchor_recalibration: Switches ARC on.
        anchors: Number of ARC's anchors (Table 4).
        neighbours: K, the number of nearest cells that refine an anchor (Fig. 7).
        patch: Side of ARC's patches, in cells of stride 8.
        temperature: Divides the cosine similarities of ARC's patches before the softmax.
        uncertain_interval: ARC moves the patches whose foreground probability lies in this interval.
        temporal_fusion: Switches TSF on.
        memory_frames: M, the number of earlier frames that TSF reads.
        decoder_layers: Layers of TSF's decoder.
        dtype: Type of the arithmetic. Parameters, losses and statistics are always float32.
        rematerialise: Parts whose intermediate results are computed again in the backward pass, which saves memory and
            costs time.
    """

    encoder_depth: Literal[18, 50] = 50
    encoder_width: int = 64
    encoder_stages: Literal[3, 4] = 3
    norm: Literal["batch", "frozen", "group"] = "batch"
    stride_in_first_1x1: bool = False
    pretrained: str | None = None
    input_mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    input_std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: int = 128
    heads: int = 8
    anchor_recalibration: bool = True
    anchors: Literal[1, 2, 3, 4] = 2
    neighbours: int = 16
    patch: int = 2
    temperature: float = 1.0
    uncertain_interval: tuple[float, float] = (0.4, 0.6)
    temporal_fusion: bool = True
    memory_frames: int = 3
    decoder_layers: int = 3
    dtype: Literal["float32", "bfloat16"] = "float32"
    rematerialise: tuple[Rematerialisable, ...] = ()

    @property
    def stride(self) -> int:
        """Stride of the encoder's last map: sides of the input must be multiples of it."""
        return 2 ** (1 + self.encoder_stages)

    def __post_init__(self) -> None:
        _take_local_paths(self, "config.model", "pretrained")
        _require_positive("config.model", neighbours=self.neighbours)
        if self.channels % 8 or self.channels % self.heads:
            raise ConfigError(
                f"config.model.channels is {self.channels}; expected a multiple of 8 and of heads ({self.heads})"
            )
        if len(self.input_mean) != len(self.input_std):
            raise ConfigError("config.model.input_mean and input_std must have one entry an input channel each")


@dataclasses.dataclass(frozen=True)
class SimulationConfig:
    """A population of simulated patients that is written into `data.root` before the training.

    Attributes:
        patients: Number of simulated patients; None reads the data that are in `data.root` already.
        frames: Frames from end-diastole to end-systole.
        size: Side of the simulated pictures in pixels.
        seed: Seed of the population.
        processes: Processes that simulate at the same time.
    """

    patients: int | None = None
    frames: int = 16
    size: int = 256
    seed: int = 0
    processes: int = 2

    def __post_init__(self) -> None:
        _require_positive("config.data.simulate", size=self.size, frames=self.frames, processes=self.processes)


@dataclasses.dataclass(frozen=True)
class MixConfig:
    """A further data set that fills a share of every batch.

    Attributes:
        format: Format of the files. "cine" reads whole recordings without labels (DICOM, video, NIfTI, PNG).
        root: Folder of the data set.
        split: Which of its splits is used. Cines have no splits.
        split_scheme: How its patients are split, as `DataConfig.split_scheme`.
        share: Share of the rows of a batch that it fills, at least one row.
        labels: Which of its labels the training may use; None uses no label.
    """

    format: Literal["cine", "camus", "echonet_dynamic", "store"] = "cine"
    root: str = ""
    split: str = "train"
    split_scheme: str | None = None
    share: float = 0.25
    labels: Literal["ed_es", "all"] | None = None

    def __post_init__(self) -> None:
        _take_local_paths(self, "config.data.mix", "root", "split_scheme")
        if not self.root or not 0 < self.share < 1:
            raise ConfigError(
                f"config.data.mix has root {self.root!r} and share {self.share}; expected a folder and 0 < share < 1"
            )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the clips come from, and what a batch is.

    Attributes:
        format: Format of the data set. "store" is what `python -m data_pipelines.prepare` made.
        root: Folder of the data set; None where `simulate` makes one in the run's folder.
        in_memory: Keeps all training clips in memory. False reads them from the store whenever they are needed.
        split_scheme: How patients are split: "official", "number" or "ratio" (CAMUS), or a file or folder that lists
            the patients of each split. None takes the official split where its files are there, else the numbers.
        views: The apical views that are read.
        frames: Frames of a training clip, the first at end-diastole and the last at end-systole.
        size: Side of the network's input in pixels.
        batch_clips: Clips of a batch, over all devices.
        training_labels: The labels that the training may use: end-diastole and end-systole, or every labelled frame.
        skip_unreadable: Leaves out records that cannot be read, and counts them. False stops at the first one.
        workers: Threads that read and augment clips.
        worker_processes: Processes that read and augment clips; 0 does it in this process. Each has `workers` threads
            and its own copy of the clips, so use them with a store.
        labelled_fraction: Share of the training patients whose labels are used; the clips of the others are unlabelled.
        labelled_seed: Seed that draws those patients. With one seed the patients of a smaller share are part of those
            of a larger share.
        labelled_clips_per_batch: Clips with labels in each global batch. None keeps the training split's proportion, at
            least one for each device. It has no effect if every clip is labelled.
        mix: Further data sets that fill a share of every batch.
        augment: Augmentation of the training clips.
        simulate: A simulated population to make first.
    """

    format: DataFormat = "camus"
    root: str | None = None
    in_memory: bool = True
    split_scheme: str | None = None
    views: tuple[str, ...] = ("2CH", "4CH")
    frames: int = 10
    size: int = 256
    batch_clips: int = 4
    training_labels: Literal["ed_es", "all"] = "ed_es"
    skip_unreadable: bool = True
    workers: int = 2
    worker_processes: int = 0
    labelled_fraction: float = 1.0
    labelled_seed: int = 0
    labelled_clips_per_batch: int | None = None
    mix: tuple[MixConfig, ...] = ()
    augment: Augmentation = dataclasses.field(default_factory=Augmentation)
    simulate: SimulationConfig = dataclasses.field(default_factory=SimulationConfig)

    def __post_init__(self) -> None:
        _take_local_paths(self, "config.data", "root", "split_scheme")
        if self.frames < 2:
            raise ConfigError(f"config.data.frames is {self.frames}, which is too small; expected at least 2")
        _require_positive("config.data", batch_clips=self.batch_clips, size=self.size, workers=self.workers)
        if not self.in_memory and self.format != "store":
            raise ConfigError(f"config.data.in_memory=False reads from a store; config.data.format is {self.format!r}")
        if not 0 < self.labelled_fraction <= 1:
            raise ConfigError(f"config.data.labelled_fraction is {self.labelled_fraction}; expected 0 < fraction <= 1")


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the terms of the loss (eq. 9 and the terms that this implementation adds).

    Attributes:
        dice_weight: Weight of the Dice term on labelled frames, relative to their binary cross-entropy.
        seed_weight: Weight of the binary cross-entropy of ARC's own coarse mask.
        reforging_weight: Weight of the term that trains CPR's Wq, Wk and Wv.
    """

    dice_weight: float = 1.0
    seed_weight: float = 0.3
    reforging_weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class PseudoLabelConfig:
    """Where the labels of unlabelled frames come from (Table 6).

    Attributes:
        strategy: "reforging" is the paper's CPR; "threshold" takes the network's own prediction, "mean_teacher" that of
            its moving average; "registration" and "deformation" carry the labels of end-diastole and end-systole to the
            frames between them by optical flow. None learns from labelled frames alone.
        cosine_temperature: Divides the cosine similarities of CPR's prototypes.
        own_weight: w in pseudo-label = w * p_frozen + (1 - w) / 2 * (p_head + p_cosine), where p_frozen is the frozen
            copy's own prediction. 0 is the paper.
        teacher: What the frozen copy of CPR holds: the "last" parameters, or their moving "average".
        strong_student: Shows the network a strongly changed view of clips that lack labels. The strategies "threshold"
            and "mean_teacher" always do.
    """

    strategy: PseudoLabelName | None = "reforging"
    cosine_temperature: float = 0.1
    own_weight: float = 0.0
    teacher: Literal["last", "average"] = "last"
    strong_student: bool = False

    @property
    def rules(self) -> Strategy:
        """What the chosen strategy needs and does."""
        return STRATEGIES[self.strategy]

    @property
    def changes_student_view(self) -> bool:
        """Whether the network sees a strongly changed view of clips that lack labels."""
        return self.strong_student or self.rules.changes_student_view

    def __post_init__(self) -> None:
        if self.strong_student and not self.rules.makes_pseudo_labels:
            raise ConfigError(
                "config.pseudo_labels.strong_student needs pseudo-labels; config.pseudo_labels.strategy is None"
            )
        if not 0 <= self.own_weight < 1:
            raise ConfigError(f"config.pseudo_labels.own_weight is {self.own_weight}; expected 0 <= own_weight < 1")


@dataclasses.dataclass(frozen=True)
class FlameRiseConfig:
    """How weight and confidence threshold of the pseudo-labels change during the training (eq. 7 and 8).

    Attributes:
        enabled: False uses `lambda_max` and `tau_end` from the first epoch on.
        lambda_max: Weight of the pseudo-labels at the end of the ramp.
        tau_start: Confidence threshold up to the end of the burn-in.
        tau_end: Confidence threshold at the end of the ramp.
        burn_in: E0 as a share of the epochs: until then pseudo-labels have no weight.
        ramp_end: E1 as a share of the epochs: from then on weight and threshold stay as they are.
        per_step: Changes both with every step instead of once an epoch.
    """

    enabled: bool = True
    lambda_max: float = 1.0
    tau_start: float = 0.95
    tau_end: float = 0.75
    burn_in: float = 0.1
    ramp_end: float = 0.6
    per_step: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.burn_in <= self.ramp_end <= 1:
            raise ConfigError(
                f"config.flamerise.burn_in is {self.burn_in} and ramp_end {self.ramp_end}; "
                "expected 0 <= burn_in <= ramp_end <= 1"
            )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Adam with polynomial decay of the learning rate (paper, 4.2).

    Attributes:
        learning_rate: Learning rate at the start, or at the end of the warm-up.
        power: Exponent of the polynomial decay to 0.
        warmup_steps: Steps in which the learning rate rises from 0.
        encoder_rate: The encoder's learning rate as a multiple of `learning_rate`.
        weight_decay: Decoupled weight decay (AdamW) of the kernels; biases, norms and scalars have none.
        clip_norm: Largest global norm of the gradient; None does not clip.
        ema_decay: Decay of the moving average of the parameters, which is then what is evaluated; None keeps no
            average.
    """

    learning_rate: float = 1e-4
    power: float = 0.9
    warmup_steps: int = 0
    encoder_rate: float = 1.0
    weight_decay: float = 0.0
    clip_norm: float | None = None
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        _require_positive("config.optimizer", learning_rate=self.learning_rate)
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(f"config.optimizer.ema_decay is {self.ema_decay}; expected 0 < ema_decay < 1, or None")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The training loop.

    Attributes:
        epochs: Number of epochs.
        steps_per_epoch: Steps of an epoch; the clips then repeat in new orders. None takes as many steps as cover the
            training clips once.
        start_from: A trained network to start from: a run, an inference folder, a .safetensors file, or None.
        mesh: Axes of the device mesh and their sizes; -1 takes the devices that are left. (("data", -1), ("fsdp", 4))
            also splits large arrays of the state four ways.
        split_from: Number of elements from which on the axis "fsdp" splits an array.
        accumulate: Micro-batches into which each device cuts its rows; their gradients are averaged.
        keep_checkpoints: Number of last checkpoints that are kept.
        checkpoint_every_epochs: Epochs between checkpoints.
        checkpoint_every_steps: Steps between additional checkpoints, or None.
        validate_every_epochs: Epochs between validations.
        log_every_steps: Steps between lines of metrics.jsonl.
        max_steps: Stops after this step, in a way that can be resumed; None trains to the end.
    """

    epochs: int = 50
    steps_per_epoch: int | None = None
    start_from: str | None = None
    mesh: tuple[tuple[str, int], ...] = (("data", -1),)
    split_from: int = 2**16
    accumulate: int = 1
    keep_checkpoints: int = 2
    checkpoint_every_epochs: int = 1
    checkpoint_every_steps: int | None = None
    validate_every_epochs: int = 1
    log_every_steps: int = 10
    max_steps: int | None = None

    def __post_init__(self) -> None:
        _take_local_paths(self, "config.training", "start_from")
        _require_positive(
            "config.training",
            epochs=self.epochs,
            accumulate=self.accumulate,
            keep_checkpoints=self.keep_checkpoints,
            log_every_steps=self.log_every_steps,
            validate_every_epochs=self.validate_every_epochs,
            checkpoint_every_epochs=self.checkpoint_every_epochs,
        )
        for name in ("steps_per_epoch", "max_steps", "checkpoint_every_steps"):
            if (steps := getattr(self, name)) is not None:
                _require_positive("config.training", **{name: steps})


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is scored after the training, and how masks are made.

    Attributes:
        split: The split that is scored; None takes the test split, or validation where the data hold no test split.
        protocols: "semi" scores end-diastole and end-systole of clips sampled as in training, "full" every frame that
            has a reference.
        batch_clips: Clips that are predicted together.
        scales: Test-time augmentation: probabilities are averaged over pictures enlarged by these factors.
        threshold: A pixel belongs to the cavity from this probability on.
        processes: Processes that score masks, where there are enough of them.
    """

    split: Split | None = None
    protocols: tuple[Protocol, ...] = ("semi", "full")
    batch_clips: int = 4
    scales: tuple[float, ...] = (1.0,)
    threshold: float = 0.5
    processes: int = 2

    def __post_init__(self) -> None:
        if not self.scales or not all(0.5 <= scale <= 2 for scale in self.scales):
            raise ConfigError(f"config.evaluation.scales is {self.scales}; expected numbers from 0.5 to 2")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"config.evaluation.threshold is {self.threshold}; expected 0 < threshold < 1")


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that a run depends on.

    Attributes:
        seed: Seed of initialisation, order of the clips and augmentation.
        model: The network.
        data: Clips and batches.
        loss: Weights of the loss.
        pseudo_labels: Labels of unlabelled frames.
        flamerise: Schedules of the pseudo-labels.
        optimizer: The optimizer.
        training: The training loop.
        evaluation: The evaluation after the training.
    """

    seed: int = 0
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    pseudo_labels: PseudoLabelConfig = dataclasses.field(default_factory=PseudoLabelConfig)
    flamerise: FlameRiseConfig = dataclasses.field(default_factory=FlameRiseConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        self._check_pseudo_labels()
        stride, size, crop = self.model.stride, self.data.size, self.data.augment.crop
        if size % stride:
            raise ConfigError(f"config.data.size is {size}; expected a multiple of {stride} (the encoder's stride)")
        if crop and (crop % stride or crop > size):
            raise ConfigError(
                f"config.data.augment.crop is {crop}; expected a multiple of {stride} up to config.data.size, {size}"
            )

    def _check_pseudo_labels(self) -> None:
        rules, has_average = self.pseudo_labels.rules, self.optimizer.ema_decay is not None
        if rules.carries_labels and not self.data.in_memory:
            raise ConfigError(
                f"config.pseudo_labels.strategy={rules.name!r} carries labels through the clips before training and "
                "needs config.data.in_memory=True"
            )
        if rules.needs_average and not has_average:
            raise ConfigError(
                f"config.pseudo_labels.strategy={rules.name!r} needs config.optimizer.ema_decay, e.g. 0.99"
            )
        if self.pseudo_labels.teacher == "average" and not has_average:
            raise ConfigError("config.pseudo_labels.teacher='average' needs config.optimizer.ema_decay, e.g. 0.99")


def _take_local_paths(part: Any, section: str, *names: str) -> None:
    """Refuses fields that hold a URL, and turns those with `file://` into paths.

    Args:
        part: the part of the configuration, which is being made.
        section: how its fields are named, e.g. "config.data".
        names: the fields that hold paths.
    """
    for name in names:
        if text := getattr(part, name):
            try:
                object.__setattr__(part, name, local_path(text))
            except NoLocalPath as error:
                raise ConfigError(f"{section}.{name}: {error}") from error


def _require_positive(section: str, **values: int | float) -> None:
    for name, value in values.items():
        if value <= 0:
            raise ConfigError(f"{section}.{name} is {value}, which is too small; expected more than 0")
