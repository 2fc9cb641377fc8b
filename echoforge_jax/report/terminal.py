"""The short table a training or an evaluation ends with."""

from __future__ import annotations

from typing import Any


def table(result: dict[str, Any]) -> str:
    """What metrics.json holds, as lines for a terminal."""
    lines = [f"split {result['split']}{', SIMULATED data' if result['simulated'] else ''}"]
    number = lambda value, form: "n/a" if value is None else format(value, form)
    for protocol, s in result["protocols"].items():
        dice = s["dice_percent"]
        low, high = dice["ci95"] or (None, None)
        lines.append(
            f"  {protocol:5} mDice {number(dice['mean'], '.2f')} % [{number(low, '.2f')}, {number(high, '.2f')}] "
            f"({dice['n_frames']} frames, {s['n_patients']} patients)"
        )
        for phase, scores in s["by_phase"].items():
            lines.append(f"        {phase:8} {number(scores['dice_percent']['mean'], '.2f')} %")
        for view, scores in s["by_view"].items():
            lines.append(f"        {view:8} {number(scores['dice_percent']['mean'], '.2f')} %")
        for unit, distances in s["distances"].items():
            if distances["hd"]["n"] or distances["hd"]["n_undefined"]:
                parts = [
                    f"{label} {number(distances[key]['mean'], '.2f')} {unit}"
                    for key, label in (("hd", "HD"), ("hd95", "HD95 (pooled)"), ("assd", "ASSD"))
                ]
                lines.append(f"        {', '.join(parts)}; {distances['hd']['n_undefined']} undefined")
        if small := s.get("network_resolution"):
            lines.append(
                f"        at the network's {small['size']}x{small['size']}: mDice "
                f"{number(small['dice_percent']['mean'], '.2f')} %"
            )
        if steady := s["temporal"]:
            excess, rough, pieces = (
                number(steady[key]["mean"], form)
                for key, form in (
                    ("frame_to_frame_dice_excess", "+.4f"),
                    ("area_roughness_ratio", ".2f"),
                    ("frames_in_pieces", ".2f"),
                )
            )
            lines.append(
                f"        frame-to-frame Dice minus the reference's {excess}, area roughness {rough} x its, "
                f"{pieces} frames in pieces a clip ({steady['n_clips']} clips)"
            )
        for method, ef in s["ejection_fraction"].items():
            if ef["agreement"]:
                a = ef["agreement"]
                lines.append(
                    f"        EF {method}: r {number(a['pearson_r'], '.3f')}, bias {number(a['bias'], '+.2f')} points, "
                    f"SD {number(a['sd'], '.2f')}, {a['n']} patients"
                )
        for measure, others in result["comparisons"].get(protocol, {}).items():
            for name, c in others.items():
                lines.append(
                    f"        {measure} against {name}: {c['difference']:+.3f} "
                    f"[{c['ci95'][0]:.3f}, {c['ci95'][1]:.3f}], "
                    f"signed-rank p {c['p_signed_rank']:.3g} (Holm {c['p_signed_rank_holm']:.3g}), "
                    f"rank-sum p {c['p_rank_sum']:.3g} (Holm {c['p_rank_sum_holm']:.3g}), {c['n_patients']} patients"
                )
    return "\n".join(lines)
