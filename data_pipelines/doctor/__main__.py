"""Runs the doctor: `python -m data_pipelines.doctor PATH`."""

import sys

from data_pipelines.doctor.report import main

if __name__ == "__main__":
    sys.exit(main())
