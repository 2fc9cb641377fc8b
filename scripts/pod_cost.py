"""What a step compiled for a TPU slice says of one chip: collectives, memory, a time, and a row of the table.

The time is the compiler's estimate where it has one. For programs with loops it gives a negative number; then the time
is a roofline: the larger of FLOPs over peak and bytes over memory bandwidth, plus the collectives one after the other,
which take their bytes over the chip's links and `HOP_US` for every hop of the torus ("How to Scale Your Model", Austin
et al. 2025, about 1 us). Nothing of this is measured.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from echoforge_jax.config import Config, flatten

ECHONET_TRAINING_CLIPS, EPOCHS = 7465, 50  # Ouyang et al. 2020; the paper's 4.2
GIB = 2**30
HOP_US = 1.0
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
WORD_BYTES = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s8": 1, "u8": 1, "pred": 1}
SHAPING = (  # the fields that a compiled step depends on begin with one of these
    "model.",
    "loss.",
    "pseudo_labels.",
    "flamerise.",
    "optimizer.",
    "data.size",
    "data.frames",
    "training.mesh",
    "training.split_from",
    "training.accumulate",
)
COMPARED = ("mesh", "dtype", "accumulate", "rematerialise", "clips_per_chip", "size", "frames", "parameters")


@dataclasses.dataclass(frozen=True)
class Chip:
    """The vendor's figures for one chip.

    Attributes:
        memory_gib: size of its memory.
        peak_tflops: dense arithmetic in bfloat16.
        memory_gb_per_s: bandwidth of its memory.
        links_gb_per_s: bandwidth to other chips, all its links together.
    """

    memory_gib: int
    peak_tflops: int
    memory_gb_per_s: int
    links_gb_per_s: int


CHIPS = {
    "v4": Chip(memory_gib=32, peak_tflops=275, memory_gb_per_s=1228, links_gb_per_s=300),
    "v5e": Chip(memory_gib=16, peak_tflops=197, memory_gb_per_s=819, links_gb_per_s=200),
    "v5p": Chip(memory_gib=95, peak_tflops=459, memory_gb_per_s=2765, links_gb_per_s=600),
    "v6e": Chip(memory_gib=32, peak_tflops=918, memory_gb_per_s=1640, links_gb_per_s=448),
}


@dataclasses.dataclass(frozen=True)
class Collectives:
    """The collectives of one kind in a compiled program.

    Attributes:
        count: how many there are; one in a loop counts once.
        asynchronous: how many of them run beside other work.
        bytes: what they return.
    """

    count: int = 0
    asynchronous: int = 0
    bytes: int = 0


@dataclasses.dataclass(frozen=True)
class PlannedStep:
    """A training step compiled for a TPU slice. The names of the attributes are those of its JSON file.

    Attributes:
        topology: the slice, e.g. "v5e:4x4".
        variant: name of the configuration in the table.
        chips: chips of the slice.
        clips_per_chip: clips of the batch on each chip.
        frames: frames of a clip.
        size: side of a frame in pixels.
        dtype: type of the arithmetic.
        accumulate: micro-batches of a step.
        rematerialise: parts that are computed again in the backward pass.
        mesh: axes of the device mesh and their sizes.
        parameters: parameters of the network.
        argument_bytes: state and batch on one chip.
        temporary_bytes: further memory of the step on one chip.
        flops: FLOPs of one chip.
        bytes_accessed: bytes that one chip moves.
        seconds: the compiler's estimate; negative where it has none.
        collectives: what the chips exchange, by kind.
        compile_minutes: time that the compilation took.
        jax: version of JAX.
        libtpu: version of the compiler.
        commit: the first digits of the commit; None in the oldest files.
    """

    topology: str
    variant: str
    chips: int
    clips_per_chip: int
    frames: int
    size: int
    dtype: str
    accumulate: int
    rematerialise: Sequence[str]
    mesh: Sequence[Sequence[str | int]]
    parameters: int
    argument_bytes: int
    temporary_bytes: int
    flops: float
    bytes_accessed: float
    seconds: float
    collectives: Mapping[str, Collectives]
    compile_minutes: float
    jax: str
    libtpu: str
    commit: str | None = None

    @classmethod
    def read(cls, file: Path) -> PlannedStep:
        """Reads a plan's JSON file."""
        values = json.loads(file.read_text(encoding="utf-8"))
        collectives = {kind: Collectives(**numbers) for kind, numbers in values["collectives"].items()}
        return cls(**{**values, "collectives": collectives})

    def write(self, file: Path) -> None:
        """Writes the plan's JSON file."""
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @property
    def chip(self) -> Chip:
        """The figures of the slice's chips."""
        return CHIPS[self.topology.partition(":")[0]]

    @property
    def estimated_seconds(self) -> float:
        """Time of a step: the compiler's estimate, or else the roofline of the module's docstring."""
        if self.seconds > 0:
            return self.seconds
        compute = self.flops / self.chip.peak_tflops / 1e12
        memory = self.bytes_accessed / self.chip.memory_gb_per_s / 1e9
        sides = self.topology.partition(":")[2].split("x")
        hops = sum(int(side) // 2 for side in sides)  # to the farthest chip of a torus
        exchange = 0.0
        for kind, collectives in self.collectives.items():
            passes = 2 if kind == "all-reduce" else 1  # a reduce-scatter, then an all-gather
            exchange += passes * collectives.bytes / self.chip.links_gb_per_s / 1e9
            exchange += passes * collectives.count * hops * HOP_US / 1e6
        return max(compute, memory) + exchange

    @property
    def clips_per_s(self) -> float:
        """Clips per second of the whole slice."""
        return self.chips * self.clips_per_chip / self.estimated_seconds

    def is_comparable(self, other: PlannedStep) -> bool:
        """Says whether another plan is the same step on a slice of the same kind of chip."""
        return self.chip is other.chip and all(getattr(self, name) == getattr(other, name) for name in COMPARED)


def program_key(config: Config, clips_per_chip: int, *, jax_version: str, libtpu_version: str) -> str:
    """Names a compiled step by what shapes it.

    Only fields that shape the step and differ from their defaults count, so that a field that a later version adds, or
    where the data lie, does not make a finished plan look like another one. A change of the code keeps the name: to
    plan such a step anew, remove its file.

    Args:
        config: the configuration of the training.
        clips_per_chip: clips of the batch on each chip.
        jax_version: version of JAX.
        libtpu_version: version of the compiler.
    """
    default = flatten(dataclasses.asdict(Config()))
    chosen = {
        name: value
        for name, value in sorted(flatten(dataclasses.asdict(config)).items())
        if name.startswith(SHAPING) and value != default[name]
    }
    text = json.dumps([chosen, clips_per_chip, jax_version, libtpu_version])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def count_collectives(program: str) -> dict[str, Collectives]:
    """Counts the collectives of a compiled program (HLO text) by kind."""
    counted: dict[str, Collectives] = {}
    kinds = "|".join(COLLECTIVES)
    asynchronous_computations = set(re.findall(r"async-start\(.*calls=%?([\w.\-]+)", program))
    computation = ""
    for line in program.splitlines():
        if begins := re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{$", line):
            computation = begins[1]
        match = re.search(rf"= (\(.*?\)|\S+) ({kinds})(-start)?\(", line)
        if match is None:
            continue
        shapes, kind, start = match.groups()
        sizes = [
            WORD_BYTES.get(word, 4) * math.prod(int(side) for side in sides.split(",") if side)
            for word, sides in re.findall(r"([a-z]+[0-9]*)\[([0-9,]*)\]", shapes)
        ]
        if start and kind != "all-reduce":  # its result is (what goes in, what comes out, ...)
            sizes = sizes[1:2]
        before = counted.get(kind, Collectives())
        counted[kind] = Collectives(
            count=before.count + 1,
            asynchronous=before.asynchronous + (bool(start) or computation in asynchronous_computations),
            bytes=before.bytes + sum(sizes),
        )
    return counted


def table_row(plan: PlannedStep, plans: Sequence[PlannedStep]) -> dict[str, str]:
    """Makes one line of the table from the numbers of one chip.

    Args:
        plan: the line's plan.
        plans: all plans. Weak scaling is against the smallest slice of the same chip with the same step.

    Returns:
        The cells of the line by the heads of their columns.
    """
    memory_gib = plan.chip.memory_gib
    used = (plan.argument_bytes + plan.temporary_bytes) / GIB
    temporary_per_clip = plan.temporary_bytes / GIB / plan.clips_per_chip
    most_clips = max(int((memory_gib - plan.argument_bytes / GIB) / temporary_per_clip), 0)
    seconds, source = plan.estimated_seconds, "compiler" if plan.seconds > 0 else "roofline"
    smallest = min((other for other in plans if plan.is_comparable(other)), key=lambda other: other.chips)
    count, asynchronous, exchanged = (
        sum(getattr(collectives, name) for collectives in plan.collectives.values())
        for name in ("count", "asynchronous", "bytes")
    )
    share_of_peak = plan.flops / seconds / 1e12 / plan.chip.peak_tflops
    scaling = f"{100 * smallest.estimated_seconds / seconds:.1f} % of {smallest.chips} chips"
    return {
        "slice": f"{plan.topology} ({plan.chips} chips)",
        "variant": plan.variant,
        "clips a chip": str(plan.clips_per_chip),
        "memory GiB": f"{used:.2f} of {memory_gib} ({'fits' if used <= memory_gib else 'does not fit'})",
        "about most clips a chip": str(most_clips),
        "GFLOP": f"{plan.flops / 1e9:.0f}",
        "GB moved": f"{plan.bytes_accessed / 1e9:.1f}",
        "ms a step": f"{1e3 * seconds:.1f} ({source})",
        "of bf16 peak": f"{100 * share_of_peak:.0f} %",
        "collectives": f"{count} ({asynchronous} async), {exchanged / 1e6:.1f} MB",
        "clips/s": f"{plan.clips_per_s:.0f}",
        "h for 50 epochs": f"{EPOCHS * ECHONET_TRAINING_CLIPS / plan.clips_per_s / 3600:.2g}",
        "weak scaling": "-" if smallest is plan else scaling,
    }
