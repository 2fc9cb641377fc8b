"""The short table at the end of a training or an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def table(metrics: Mapping[str, Any]) -> str:
    """Formats the content of metrics.json as lines for a terminal."""
    lines = [f"split {metrics['split']}{', SIMULATED data' if metrics['simulated'] else ''}"]
    for protocol, summary in metrics["protocols"].items():
        dice = summary["dice_percent"]
        low, high = dice["ci95"] or (None, None)
        lines.append(
            f"  {protocol:5} mDice {_number(dice['mean'], '.2f')} % [{_number(low, '.2f')}, {_number(high, '.2f')}] "
            f"({dice['n_frames']} frames, {summary['n_patients']} patients)"
        )
        parts = (_groups, _distances, _network_resolution, _steadiness, _ejection_fraction)
        lines += [f"        {line}" for part in parts for line in part(summary)]
        lines += [f"        {line}" for line in _comparisons(metrics["comparisons"].get(protocol, {}))]
    return "\n".join(lines)


def _groups(summary: Mapping[str, Any]) -> Iterator[str]:
    for groups in (summary["by_phase"], summary["by_view"]):
        for name, scores in groups.items():
            yield f"{name:8} {_number(scores['dice_percent']['mean'], '.2f')} %"


def _distances(summary: Mapping[str, Any]) -> Iterator[str]:
    for unit, distances in summary["distances"].items():
        if distances["hd"]["n"] or distances["hd"]["n_undefined"]:
            parts = [
                f"{label} {_number(distances[name]['mean'], '.2f')} {unit}"
                for name, label in (("hd", "HD"), ("hd95", "HD95 (pooled)"), ("assd", "ASSD"))
            ]
            yield f"{', '.join(parts)}; {distances['hd']['n_undefined']} undefined"


def _network_resolution(summary: Mapping[str, Any]) -> Iterator[str]:
    if scores := summary.get("network_resolution"):
        mean = _number(scores["dice_percent"]["mean"], ".2f")
        yield f"at the network's {scores['size']}x{scores['size']}: mDice {mean} %"


def _steadiness(summary: Mapping[str, Any]) -> Iterator[str]:
    if temporal := summary["temporal"]:
        excess = _number(temporal["frame_to_frame_dice_excess"]["mean"], "+.4f")
        roughness = _number(temporal["area_roughness_ratio"]["mean"], ".2f")
        pieces = _number(temporal["frames_in_pieces"]["mean"], ".2f")
        yield (
            f"frame-to-frame Dice minus the reference's {excess}, area roughness {roughness} x its, "
            f"{pieces} frames in pieces a clip ({temporal['n_clips']} clips)"
        )


def _ejection_fraction(summary: Mapping[str, Any]) -> Iterator[str]:
    for method, ef in summary["ejection_fraction"].items():
        if agreement := ef["agreement"]:
            yield (
                f"EF {method}: r {_number(agreement['pearson_r'], '.3f')}, "
                f"bias {_number(agreement['bias'], '+.2f')} points, SD {_number(agreement['sd'], '.2f')}, "
                f"{agreement['n']} patients"
            )


def _comparisons(measures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for measure, runs in measures.items():
        for name, paired in runs.items():
            low, high = paired["ci95"]
            yield (
                f"{measure} against {name}: {paired['difference']:+.3f} [{low:.3f}, {high:.3f}], "
                f"signed-rank p {paired['p_signed_rank']:.3g} (Holm {paired['p_signed_rank_holm']:.3g}), "
                f"rank-sum p {paired['p_rank_sum']:.3g} (Holm {paired['p_rank_sum_holm']:.3g}), "
                f"{paired['n_patients']} patients"
            )


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)
