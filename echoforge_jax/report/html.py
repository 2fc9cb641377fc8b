"""The report of a run as one HTML file that needs nothing from anywhere.

Pictures are data URIs, the style and the few lines of script are inside the file, and its content security policy
forbids every request; it can be mailed, archived and opened without a network.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np

from data_pipelines.files import write_atomically
from echoforge_jax.evaluation.evaluator import DISTANCES
from echoforge_jax.evaluation.overlap import dice
from echoforge_jax.evaluation.patients import EF_METHODS
from echoforge_jax.report import figures
from echoforge_jax.report.overlays import Overlay, animation_webp, overlay_png
from echoforge_jax.report.selection import Pictures

TEMPLATE = "template.html"
PER_GROUP = 3  # overlays each of worst, median, best
METHOD_NAMES = {
    "biplane_discs": "biplane, 20 discs",
    "single_plane_discs": "single plane (4CH), 20 discs",
    "folland": "single plane (4CH), Folland's three segments",
    "camus_official": "biplane, CAMUS's one disc height",
}
BOUNDARY_F = ("boundary_f_1", "boundary_f_2")
MEASURES = {"dice_percent": "Dice, points"}
SORT_SCRIPT = """
document.querySelectorAll("input[data-filters]").forEach(input => input.addEventListener("input", () => {
  const wanted = input.value.trim().toLowerCase();
  for (const row of document.getElementById(input.dataset.filters).tBodies[0].rows)
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
}));
document.querySelectorAll("table.sortable").forEach(table => {
  table.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
    const heading = button.parentNode, up = heading.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
    table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.value ?? "";
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      return (up ? 1 : -1) * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
    });
    body.append(...rows);
  }));
});
"""


@dataclasses.dataclass(frozen=True)
class Published:
    """Numbers of the EchoForge paper (CVPR 2026, Tables 1-2). Its "HD" is taken to be the pooled HD95, its "ASD" the
    symmetric one, as in the same group's code."""

    data_set: str
    protocol: str
    dice_percent: float
    hd95: float
    assd: float
    unit: str


PUBLISHED = (
    Published("CAMUS", "semi", 94.89, 3.12, 1.18, "mm"),
    Published("CAMUS", "full", 94.36, 3.26, 1.22, "mm"),
    Published("EchoNet-Dynamic", "semi", 93.63, 3.05, 1.02, "px"),
)


def write_report(
    path: Path,
    *,
    title: str,
    summaries: dict[str, dict],
    frame_rows: dict[str, list[dict]],
    ef_rows: dict[str, list[dict]],
    history: list[dict],
    card: dict[str, str],
    simulated: bool,
    pictures: Pictures,
    comparisons: Mapping[str, Mapping[str, Mapping[str, Mapping]]] | None = None,
) -> None:
    """Writes the report; the file appears whole or not at all.

    Args:
        path: of the HTML file; its folder is made if need be.
        title: heading of the page.
        summaries: protocol -> `evaluator.summarise`.
        frame_rows: protocol -> rows of `evaluator.score_clip`.
        ef_rows: protocol -> rows of `patients.score_ejection_fraction`.
        history: one mapping an epoch; keys may be missing.
        card: rows of the method card. The row "data set" ("CAMUS" or "EchoNet-Dynamic") chooses the published numbers
            to compare with.
        pictures: frames, moving clips and volume curves to show.
        comparisons: protocol -> `comparison.compare_rows`.
        simulated: the data are simulated: says so at the top and compares with nothing.

    Raises:
        ValueError: the three mappings do not name the same protocols.
    """
    if not set(summaries) == set(frame_rows) == set(ef_rows):
        raise ValueError(
            f"protocols differ: summaries {sorted(summaries)}, frame_rows {sorted(frame_rows)}, ef_rows "
            f"{sorted(ef_rows)}: give each protocol all three"
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("echoforge_jax", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, signed=_signed, interval=_interval)
    page = environment.get_template(TEMPLATE).render(
        title=title,
        simulated=simulated,
        protocols={
            name: {
                "summary": summary,
                "comparison": _comparison(summary, name, card, simulated),
                "box_plot": _picture(figures.dice_by_phase_view, frame_rows[name], columns=None)
                if frame_rows[name]
                else None,
                "ef_figures": _ef_figures(summary, ef_rows[name]),
                "patients": _patients(frame_rows[name], ef_rows[name]),
            }
            for name, summary in summaries.items()
        },
        distances=(*DISTANCES, *BOUNDARY_F),
        comparisons=comparisons or {},
        measures=MEASURES,
        methods=METHOD_NAMES,
        definitions=next((summary["definitions"] for summary in summaries.values()), {}),
        curves=_picture(figures.learning_curves, history) if _has_values(history) else None,
        n_epochs=len(history),
        gallery=_gallery(pictures.overlays),
        animations=[
            {
                "moving": _data_uri(animation_webp(a.frames), "image/webp"),
                "still": _data_uri(overlay_png(a.frames[0], 240), "image/png"),
                "caption": a.caption,
                "remarks": "; ".join(a.remarks),
            }
            for a in pictures.animations
        ],
        volumes=_picture(figures.volume_curves, pictures.curves) if pictures.curves else None,
        card=card,
        script=SORT_SCRIPT,
        script_hash=base64.b64encode(hashlib.sha256(SORT_SCRIPT.encode()).digest()).decode(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())


def _comparison(summary: Mapping, protocol: str, card: Mapping[str, str], simulated: bool) -> dict:
    """The paper's numbers beside ours, or the reason why they must not stand beside each other."""
    if simulated:
        return {"reason": "The data are simulated: these numbers cannot be compared with any published result."}
    data_set = next((v for k, v in card.items() if k.lower().replace("_", " ") in ("data set", "dataset", "data")), "")
    same = [p for p in PUBLISHED if p.protocol == protocol and data_set.lower().startswith(p.data_set.lower())]
    if not same:
        return {"reason": f"The paper has no result for the data set {data_set!r} under the protocol {protocol!r}."}
    if summary["split"] != "test":
        return {"reason": f"The split is {summary['split']!r}; the paper reports the test split, so nothing compares."}
    (published,) = same
    rows = [("Dice, %", summary["dice_percent"]["mean"], published.dice_percent, 2)]
    if published.unit == "mm":
        ours = summary["distances"]["mm"]
        rows.append(("HD95, mm", ours["hd95"]["mean"], published.hd95, 2))
        rows.append(("ASSD, mm", ours["assd"]["mean"], published.assd, 2))
    return {"reason": None, "rows": rows, "data_set": published.data_set, "pixels": published.unit == "px"}


def _ef_figures(summary: Mapping, rows: Sequence[Mapping]) -> dict[str, dict[str, str]]:
    pictures = {}
    for method in EF_METHODS:
        found = summary["ejection_fraction"][method]
        agreement, ci95 = found["agreement"], found["agreement_ci95"]
        keys = f"{method}_prediction_ef_percent", f"{method}_reference_ef_percent"
        pairs = [[row[key] for key in keys] for row in rows if None not in (row[keys[0]], row[keys[1]])]
        if agreement and pairs:
            x, y = np.array(pairs, np.float64).T
            pictures[method] = _picture(
                figures.regression_and_bland_altman, x, y, agreement, ci95, method=METHOD_NAMES[method]
            )
    return pictures


def _patients(frame_rows: Sequence[Mapping], ef_rows: Sequence[Mapping]) -> list[dict]:
    """One row a patient, worst mean Dice first; distances are means of the defined values in the patient's one unit."""
    ef_of = {row["patient_id"]: row for row in ef_rows}
    frames_of: dict[str, list[Mapping]] = {}
    for row in frame_rows:
        frames_of.setdefault(row["patient_id"], []).append(row)
    patients = []
    for patient_id in dict.fromkeys([*frames_of, *ef_of]):
        frames, ef = frames_of.get(patient_id, []), ef_of.get(patient_id, {})
        units = {row["unit"] for row in frames}
        notes = dict.fromkeys(f"EF: {ef[f'{m}_failure']}" for m in EF_METHODS if ef.get(f"{m}_failure"))
        patients.append(
            {
                "patient_id": patient_id,
                "quality": next((row["quality"] for row in frames if row["quality"]), None),
                "n_frames": len(frames),
                "dice_percent": _mean([100 * row["dice"] for row in frames]),
                "worst_dice_percent": min((100 * row["dice"] for row in frames), default=None),
                **{key: _mean([r[key] for r in frames]) if len(units) == 1 else None for key in ("hd95", "assd")},
                "unit": " and ".join(sorted(units)),
                "n_undefined": sum(not np.isfinite(row["hd95"]) for row in frames),
                **{
                    f"{m}_{side}": ef.get(f"{m}_{side}_ef_percent")
                    for m in EF_METHODS
                    for side in ("reference", "prediction")
                },
                "ef_stated_percent": ef.get("ef_stated_percent"),
                "notes": "; ".join(notes),
            }
        )
    return sorted(patients, key=lambda row: np.inf if row["dice_percent"] is None else row["dice_percent"])


def _gallery(overlays: Sequence[Overlay]) -> list[dict]:
    """Groups of pictures, worst Dice first; all of them, in one group, where there are no more than a few."""
    ranked = sorted(overlays, key=lambda o: dice(o.prediction, o.reference))
    middle = max((len(ranked) - PER_GROUP) // 2, 0)
    groups = (
        {"Worst": ranked[:PER_GROUP], "Median": ranked[middle : middle + PER_GROUP], "Best": ranked[-PER_GROUP:]}
        if len(ranked) > 3 * PER_GROUP
        else {"All picked": ranked}
    )
    return [
        {
            "name": name,
            "pictures": [
                {
                    "source": _data_uri(overlay_png(overlay), "image/png"),
                    "caption": overlay.caption,
                    "remarks": "; ".join(overlay.remarks),
                    "dice_percent": 100 * dice(overlay.prediction, overlay.reference),
                }
                for overlay in group
            ],
        }
        for name, group in groups.items()
        if group
    ]


def _picture(draw: Callable[..., bytes], *arguments, columns: int | None = 2, **options) -> dict[str, str]:
    """One figure; where it has several panels, for wide and for narrow pages."""
    layouts: dict[str, dict[str, int]] = (
        {"wide": {}} if columns is None else {"wide": {"columns": columns}, "narrow": {"columns": 1}}
    )
    return {
        width: _data_uri(figures.for_light_and_dark(draw(*arguments, **layout, **options)), "image/svg+xml")
        for width, layout in layouts.items()
    }


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _has_values(history: Sequence[Mapping]) -> bool:
    keys = [key for _, series in figures.CURVES for key, _ in series]
    return any(row.get(key) is not None and np.isfinite(row[key]) for row in history for key in keys)


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def _number(value: float | int | None, digits: int = 2) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"  # noqa: RUF001


def _signed(value: float | int | None, digits: int = 2) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:+.{digits}f}"  # noqa: RUF001


def _interval(ends: Sequence | None, digits: int = 2) -> str:
    return "–" if ends is None or None in ends else f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"  # noqa: RUF001
