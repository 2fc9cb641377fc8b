"""Trees of masks scored without a model, and runs compared, as a user would call them."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from data_pipelines.formats.camus import masks
from data_pipelines.formats.camus.writing import nifti_bytes
from data_pipelines.notes import note
from echoforge_jax.errors import ConfigError
from echoforge_jax.report.terminal import table
from echoforge_jax.scoring import evaluate_masks

SPACING = (0.5, 0.8)


def mask(radius, shift=0):
    rows, columns = np.mgrid[:120, :100]
    inside = ((columns - 50 - shift) / radius) ** 2 + ((rows - 65) / (2 * radius)) ** 2 <= 1
    return (inside & (rows <= 65 + radius)).astype(np.uint8)


def write(folder, patient, view, kind, pixels, *, gt=True, spacing=SPACING):
    path = folder / patient / f"{patient}_{view}_{kind}{'_gt' if gt else ''}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(nifti_bytes(pixels, spacing))


@pytest.fixture
def trees(tmp_path):
    """Six patients of two views: predictions one pixel to the right, without `_gt` and in no folder of their own."""
    references, predictions = tmp_path / "references", tmp_path / "predictions"
    for i in range(6):
        for view in ("2CH", "4CH"):
            radii = {"ED": 20 + i, "ES": 15 + i}
            for kind, radius in radii.items():
                write(
                    references, f"patient{i + 1:04d}", view, kind, mask(radius) + 2 * (mask(radius + 4) - mask(radius))
                )
                write(predictions, f"patient{i + 1:04d}", view, kind, mask(radius, 1), gt=False)
            radii = np.linspace(15 + i, 20 + i, 5)  # stored from ES to ED
            write(references, f"patient{i + 1:04d}", view, "half_sequence", np.stack([mask(r) for r in radii]))
            write(predictions, f"patient{i + 1:04d}", view, "half_sequence", np.stack([mask(r, 1) for r in radii]))
    return predictions, references


def test_a_shift_by_one_pixel_scores_as_drawn(trees, tmp_path):
    result = evaluate_masks(*trees, protocols=["semi", "full"], out=tmp_path / "out")
    semi, full = result["protocols"]["semi"], result["protocols"]["full"]
    assert (semi["n_frames"], full["n_frames"], semi["n_patients"]) == (24, 60, 6)
    assert semi["distances"]["mm"]["hd"]["mean"] == pytest.approx(0.8) and semi["distances"]["px"]["hd"]["n"] == 0
    assert semi["distances"]["mm"]["boundary_f_1"]["mean"] == 1
    assert 90 < semi["dice_percent"]["mean"] < 99
    for method in ("biplane_discs", "single_plane_discs", "folland", "camus_official"):
        agreement = semi["ejection_fraction"][method]["agreement"]
        assert agreement["n"] == 6 and abs(agreement["bias"]) < 0.5
    assert full["temporal"]["n_clips"] == 12 and full["temporal"]["area_roughness_ratio"]["mean"] == pytest.approx(1)
    assert full["by_phase"].keys() == {"ED", "ES", "between"}
    assert "semi" in table(result) and not result["skipped"]
    with (tmp_path / "out" / "per_frame.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 84
    json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "boundary F" in (tmp_path / "out" / "report.html").read_text()


def test_half_sequences_are_turned_to_begin_with_ed(trees):
    for pair in masks.read_pairs(*trees, sequences=True).pairs:
        areas = (pair.clip.label_map == 1).sum((1, 2))
        assert areas[0] > areas[-1] and np.count_nonzero(pair.prediction[0]) > np.count_nonzero(pair.prediction[-1])


def without_report(monkeypatch):
    """The report has tests of its own, and takes the longest."""
    monkeypatch.setattr("echoforge_jax.report.folder.write_report", lambda *_, **__: None)


def test_what_does_not_fit_is_named_and_skipped(trees, tmp_path, monkeypatch):
    without_report(monkeypatch)
    predictions, references = trees
    write(predictions, "patient0001", "2CH", "ED", mask(20)[:-2], gt=False)
    write(predictions, "patient0002", "2CH", "ED", 255 * mask(20), gt=False)
    next(predictions.rglob("patient0003_2CH_ES.nii.gz")).unlink()
    next(predictions.rglob("patient0004_2CH_ES.nii.gz")).write_bytes(b"no image")
    write(predictions, "patient0099", "4CH", "ED", mask(20), gt=False)
    result = evaluate_masks(predictions, references, protocols=["semi"], out=tmp_path / "out")
    assert {(s["record_id"], s["reason"]) for s in result["skipped"]} == {
        ("patient0001_2CH", "another size"),
        ("patient0002_2CH", "label out of range"),
        ("patient0003_2CH", "no prediction"),
        ("patient0004_2CH", "not an image"),
        ("patient0099_4CH", "no reference"),
    }
    assert result["protocols"]["semi"]["n_frames"] == 16
    with pytest.raises(FileNotFoundError, match="no file named like"):
        evaluate_masks(tmp_path / "out", references, protocols=["semi"], out=tmp_path / "again")


def test_runs_are_compared_by_patient(trees, tmp_path, monkeypatch):
    predictions, references = trees
    with monkeypatch.context() as patch:
        without_report(patch)
        evaluate_masks(predictions, references, protocols=["semi"], out=tmp_path / "shifted")
    result = evaluate_masks(
        references, references, protocols=["semi"], out=tmp_path / "same", against=[tmp_path / "shifted"]
    )
    found = result["comparisons"]["semi"]["dice_percent"][str(tmp_path / "shifted")]
    assert found["n_patients"] == 6 and found["difference"] > 1
    assert found["p_signed_rank"] == pytest.approx(2 / 2**6) == found["p_signed_rank_holm"]
    assert result["comparisons"]["semi"]["hd95_mm"][str(tmp_path / "shifted")]["difference"] == pytest.approx(-0.8)
    assert "Against other runs" in (tmp_path / "same" / "report.html").read_text()
    assert "signed-rank" in table(result)
    with pytest.raises(ConfigError, match="holds no per_frame"):
        evaluate_masks(predictions, references, protocols=["semi"], out=tmp_path / "other", against=[tmp_path])


def test_notes_on_masks_are_kept(trees, tmp_path, monkeypatch):
    """Those that stand on a clip, and those known of the pair alone."""
    without_report(monkeypatch)
    doubt, apart = note("uneven frame times", "Steps differ."), note("frames missing", "5 of 6.")
    read_pairs = masks.read_pairs

    def with_notes(*arguments, **options):
        paired = read_pairs(*arguments, **options)
        first = paired.pairs[0]
        pairs = [dataclasses.replace(first, clip=first.clip.with_notes([doubt])), *paired.pairs[1:]]
        return dataclasses.replace(paired, pairs=pairs, notes={"patient0001_2CH": (apart,), "patient0099": (apart,)})

    monkeypatch.setattr(masks, "read_pairs", with_notes)
    result = evaluate_masks(*trees, protocols=["semi", "full"], out=tmp_path / "out")
    codes = {record: [one["code"] for one in own] for record, own in result["notes"].items()}
    assert codes["patient0099"] == ["frames missing"]
    assert [code for code in codes["patient0001_2CH"] if code in (doubt.code, apart.code)] == [apart.code, doubt.code]
    for name, row in (("per_patient.csv", "2CH: uneven frame times"), ("per_clip.csv", "uneven frame times")):
        with (tmp_path / "out" / name).open() as stream:
            found = {line["warnings"] for line in csv.DictReader(stream) if line["patient_id"] == "patient0001"}
        assert any(row in text for text in found)
