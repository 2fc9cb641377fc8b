"""The paper's tables and figures from finished cells: `scripts/reproduce.py`."""
