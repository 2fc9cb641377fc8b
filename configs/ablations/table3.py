"""Table 3, the modules: `--config=configs/ablations/table3.py:baseline`, or tsf, tsf_arc, tsf_arc_cpr.

Paper (CAMUS-Semi mDice): 88.52, 92.36, 93.43, 94.89. Not measured at that scale.
"""

from echoforge_jax.config.files import load_config_file

ROWS = ("baseline", "tsf", "tsf_arc", "tsf_arc_cpr")


def get_config(row: str = "tsf_arc_cpr"):
    if row not in ROWS:
        raise ValueError(f"row {row!r} is not in Table 3; expected one of {', '.join(ROWS)}")
    config = load_config_file("camus_semi")
    config.model.temporal_fusion = row != "baseline"
    config.model.anchor_recalibration = row in ("tsf_arc", "tsf_arc_cpr")
    config.semi.pseudo_labels = "reforging" if row == "tsf_arc_cpr" else "none"
    return config
