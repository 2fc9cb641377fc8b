"""What a step compiled for a TPU slice says of one chip: collectives, memory, a time, and a row of the table.

A time is the compiler's estimate where it has one. For programs with loops it gives a negative number; then the time is
a roofline: the larger of FLOPs over peak and bytes over memory bandwidth, plus the collectives one after the other:
their bytes over the chip's links, and `HOP_US` for every hop of the torus ("How to Scale Your Model", Austin et al.
2025, about 1 us). Nothing of this is measured.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from echoforge_jax.config import Config, flatten

ECHONET_TRAINING_CLIPS, EPOCHS = 7465, 50  # Ouyang et al. 2020; the paper's 4.2
MEMORY_GIB = {"v4": 32, "v5e": 16, "v5p": 95, "v6e": 32}  # of one chip, vendor's figures
PEAK_TFLOPS = {"v4": 275, "v5e": 197, "v5p": 459, "v6e": 918}  # bfloat16, dense, of one chip
MEMORY_GB_PER_S = {"v4": 1228, "v5e": 819, "v5p": 2765, "v6e": 1640}
LINKS_GB_PER_S = {"v4": 300, "v5e": 200, "v5p": 600, "v6e": 448}  # between chips, all links of one
HOP_US = 1.0
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
WORD_BYTES = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s8": 1, "u8": 1, "pred": 1}
COMPARED = ("mesh", "dtype", "accumulate", "rematerialise", "clips_per_chip", "size", "frames", "parameters")


SHAPING = (
    "model.",
    "semi.",
    "optimizer.",
    "data.size",
    "data.frames",
    "training.mesh",
    "training.split_from",
    "training.accumulate",
)  # fields that a compiled step depends on


def program_key(config: Config, clips_per_chip: int, jax_version: str, libtpu_version: str) -> str:
    """Names a compiled step. Only fields that shape it and differ from their defaults count, so that a field that comes
    later, or where the data lie, does not make a finished result look like another one. Changed code keeps the name: to
    plan it anew, remove the result."""
    default = flatten(dataclasses.asdict(Config()))
    chosen = {
        name: value
        for name, value in sorted(flatten(dataclasses.asdict(config)).items())
        if name.startswith(SHAPING) and value != default[name]
    }
    about = json.dumps([chosen, clips_per_chip, jax_version, libtpu_version])
    return hashlib.sha256(about.encode()).hexdigest()[:8]


def collectives_of(program: str) -> dict[str, dict[str, int]]:
    """Of each kind in a compiled program (HLO text): how many, how many of them asynchronous, bytes that they give out.
    One in a loop counts once."""
    found: dict[str, dict[str, int]] = {}
    kinds = "|".join(COLLECTIVES)
    wrapped = set(re.findall(r"async-start\(.*calls=%?([\w.\-]+)", program))
    inside = ""
    for line in program.splitlines():
        if begins := re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{$", line):
            inside = begins[1]
        match = re.search(rf"= (\(.*?\)|\S+) ({kinds})(-start)?\(", line)
        if match is None:
            continue
        shapes, kind, start = match.groups()
        sizes = [
            WORD_BYTES.get(word, 4) * math.prod(int(n) for n in sides.split(",") if n)
            for word, sides in re.findall(r"([a-z]+[0-9]*)\[([0-9,]*)\]", shapes)
        ]
        if start and kind != "all-reduce":  # its result is (what goes in, what comes out, ...)
            sizes = sizes[1:2]
        of_kind = found.setdefault(kind, {"count": 0, "asynchronous": 0, "bytes": 0})
        of_kind["count"] += 1
        of_kind["asynchronous"] += bool(start) or inside in wrapped
        of_kind["bytes"] += sum(sizes)
    return found


def seconds_of(found: Mapping[str, Any]) -> tuple[float, str]:
    """Of a step, and where the number is from."""
    if found["seconds"] > 0:
        return found["seconds"], "compiler"
    kind, _, sides = found["topology"].partition(":")
    compute, memory = found["flops"] / PEAK_TFLOPS[kind] / 1e12, found["bytes_accessed"] / MEMORY_GB_PER_S[kind] / 1e9
    hops = sum(int(side) // 2 for side in sides.split("x"))  # to the farthest chip of a torus
    talking = 0.0
    for name, of_kind in found["collectives"].items():
        ways = 2 if name == "all-reduce" else 1  # a reduce-scatter, then an all-gather
        talking += ways * of_kind["bytes"] / LINKS_GB_PER_S[kind] / 1e9 + ways * of_kind["count"] * hops * HOP_US / 1e6
    return max(compute, memory) + talking, "roofline"


def row(found: dict[str, Any], all_found: Sequence[dict[str, Any]]) -> dict[str, str]:
    """One line of the table, from numbers of one chip. Weak scaling is against the smallest slice of the same chip with
    the same step."""
    kind, gib = found["topology"].split(":")[0], 2**30
    used = (found["argument_bytes"] + found["temporary_bytes"]) / gib
    held, per_clip = found["argument_bytes"] / gib, found["temporary_bytes"] / gib / found["clips_per_chip"]
    most = max(int((MEMORY_GIB[kind] - held) / per_clip), 0)
    seconds, source = seconds_of(found)
    clips_per_s = found["chips"] * found["clips_per_chip"] / seconds
    same = lambda other: all(found[name] == other[name] for name in COMPARED)
    smaller = [o for o in all_found if same(o) and o["topology"].split(":")[0] == kind]
    base = min(smaller, key=lambda o: o["chips"])
    sums = {name: sum(c[name] for c in found["collectives"].values()) for name in ("count", "asynchronous", "bytes")}
    share = found["flops"] / seconds / 1e12 / PEAK_TFLOPS[kind]
    return {
        "slice": f"{found['topology']} ({found['chips']} chips)",
        "variant": found["variant"],
        "clips a chip": str(found["clips_per_chip"]),
        "memory GiB": f"{used:.2f} of {MEMORY_GIB[kind]} ({'fits' if used <= MEMORY_GIB[kind] else 'does not fit'})",
        "about most clips a chip": str(most),
        "GFLOP": f"{found['flops'] / 1e9:.0f}",
        "GB moved": f"{found['bytes_accessed'] / 1e9:.1f}",
        "ms a step": f"{1e3 * seconds:.1f} ({source})",
        "of bf16 peak": f"{100 * share:.0f} %",
        "collectives": f"{sums['count']} ({sums['asynchronous']} async), {sums['bytes'] / 1e6:.1f} MB",
        "clips/s": f"{clips_per_s:.0f}",
        "h for 50 epochs": f"{EPOCHS * ECHONET_TRAINING_CLIPS / clips_per_s / 3600:.2g}",
        "weak scaling": f"{100 * seconds_of(base)[0] / seconds:.1f} % of {base['chips']} chips"
        if base is not found
        else "-",
    }
