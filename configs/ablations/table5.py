"""Table 5, CPR: `--config=configs/ablations/table5.py:without`, or channel_attention, flamerise.

Paper (CAMUS-Semi mDice): 93.43, 94.54, 94.89. Not measured at that scale.
"""

from echoforge_jax.config.files import load_config_file

ROWS = ("without", "channel_attention", "flamerise")


def get_config(row: str = "flamerise"):
    if row not in ROWS:
        raise ValueError(f"row {row!r} is not in Table 5; expected one of {', '.join(ROWS)}")
    config = load_config_file("camus_semi")
    config.semi.pseudo_labels = "none" if row == "without" else "reforging"
    config.semi.flamerise = row == "flamerise"
    return config
