"""The short table at the end of a training or an evaluation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_pipelines.notes_by_record import notes_from_json, summarise_notes
from data_pipelines.records import Skipped, summarise_skipped
from echoforge_jax.evaluation.limits import FEWEST


def table(metrics: Mapping[str, Any]) -> str:
    """Formats the content of metrics.json as lines for a terminal."""
    lines = [f"split {metrics['split']}{', SIMULATED data' if metrics['simulated'] else ''}"]
    for protocol, summary in metrics["protocols"].items():
        dice = summary["dice_percent"]
        lines.append(
            f"  {protocol:5} mDice {_number(dice['mean'], '.2f')} % {_interval(dice['ci95'], '.2f')} "
            f"({dice['n_frames']} frames, {summary['n_patients']} patients)"
        )
        parts = (_empty, _groups, _distances, _network_resolution, _steadiness, _ejection_fraction)
        lines += [f"        {line}" for part in parts for line in part(summary)]
        lines += [f"        {line}" for line in _comparisons(metrics["comparisons"].get(protocol, {}))]
    if skipped := [Skipped(**record) for record in metrics["skipped"]]:
        lines += [f"  {len(skipped)} records left out", textwrap.indent(summarise_skipped(skipped), "        ")]
    if notes := notes_from_json(metrics.get("notes", {})):
        lines += [f"  notes on {len(notes)} records", textwrap.indent(summarise_notes(notes), "        ")]
    return "\n".join(lines)


def _empty(summary: Mapping[str, Any]) -> Iterator[str]:
    for name in ("prediction", "reference"):
        if count := summary["empty"][f"n_empty_{name}"]:
            yield f"empty {name}s: {count} of {summary['n_frames']} frames"


def _groups(summary: Mapping[str, Any]) -> Iterator[str]:
    for groups in (summary["by_phase"], summary["by_view"]):
        for name, scores in groups.items():
            yield f"{name:8} {_number(scores['dice_percent']['mean'], '.2f')} %"


def _distances(summary: Mapping[str, Any]) -> Iterator[str]:
    for unit, distances in summary["distances"].items():
        defined, undefined = distances["hd"]["n"], distances["hd"]["n_undefined"]
        if defined or undefined:
            parts = [
                f"{label} {_number(distances[name]['mean'], '.2f')} {unit}"
                for name, label in (("hd", "HD"), ("hd95", "HD95 (pooled)"), ("assd", "ASSD"))
            ]
            yield f"{', '.join(parts)}; of {_n_of(defined, defined + undefined, 'frames')}"


def _network_resolution(summary: Mapping[str, Any]) -> Iterator[str]:
    if scores := summary.get("network_resolution"):
        mean = _number(scores["dice_percent"]["mean"], ".2f")
        yield f"at the network's {scores['size']}x{scores['size']}: mDice {mean} %"


def _steadiness(summary: Mapping[str, Any]) -> Iterator[str]:
    if temporal := summary["temporal"]:
        excess = _number(temporal["frame_to_frame_dice_excess"]["mean"], "+.4f")
        roughness, pieces = (temporal[name] for name in ("area_roughness_ratio", "frames_in_pieces"))
        yield (
            f"frame-to-frame Dice minus the reference's {excess}, area roughness {_number(roughness['mean'], '.2f')} x "
            f"its{_where_defined(roughness, 'clips')}, {_number(pieces['mean'], '.2f')} frames in pieces a clip; of "
            f"{_n_of(temporal['n_clips'], summary['n_clips'], 'clips')}"
        )


def _ejection_fraction(summary: Mapping[str, Any]) -> Iterator[str]:
    for method, ef in summary["ejection_fraction"].items():
        measured = f"measured in {_n_of(ef['n'], summary['n_patients'], 'patients')}{_why_not(ef)}"
        if agreement := ef["agreement"]:
            numbers = [f"MAE {_number(agreement['mae'], '.2f')}, bias {_number(agreement['bias'], '+.2f')} points"]
            numbers += [
                f"{label} {_number(agreement[name], form)}"
                for name, label, form in (("sd", "SD", ".2f"), ("pearson_r", "r", ".3f"))
                if agreement[name] is not None
            ]
            measured = f"{', '.join(numbers)}; {measured}"
        yield f"EF {method}: {measured}"


def _why_not(ef: Mapping[str, Any]) -> str:
    reasons = {**ef["failures"], **ef["not_applicable"]}
    return f" ({', '.join(f'{count} x {reason}' for reason, count in reasons.items())})" if reasons else ""


def _comparisons(measures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for measure, runs in measures.items():
        for name, paired in runs.items():
            shared, apart = paired["n_patients"], paired["n_left_out"]
            difference = f"{_number(paired['difference'], '+.3f')} {_interval(paired['ci95'], '.3f')}"
            yield (
                f"{measure} against {name}: {difference}, "
                f"signed-rank p {_p_values(paired, 'p_signed_rank')}, rank-sum p {_p_values(paired, 'p_rank_sum')}; of "
                f"{_n_of(shared, shared + apart, 'patients')}"
            )


def _p_values(paired: Mapping[str, Any], test: str) -> str:
    if paired[test] is None:
        return f"not given below {FEWEST[test]} patients"
    return f"{paired[test]:.3g} (Holm {_number(paired[f'{test}_holm'], '.3g')})"


def _where_defined(measure: Mapping[str, Any], what: str) -> str:
    """Says of how many a mean is, where it is not of all."""
    if not measure["n_undefined"]:
        return ""
    return f" ({_n_of(measure['n'], measure['n'] + measure['n_undefined'], what)})"


def _n_of(count: int, total: int, what: str) -> str:
    return f"{total} {what}" if count == total else f"{count} of {total} {what}"


def _interval(ends: Sequence[float | None] | None, form: str) -> str:
    if ends is None or None in ends:
        return f"[no interval below {FEWEST['ci95']} patients]"
    return f"[{_number(ends[0], form)}, {_number(ends[1], form)}]"


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)
