"""One really broken file for each reason of a refusal, and one file for each note, by the kind of file.

Each module holds `BROKEN` (reason -> a function that makes the file and returns the path to examine) and `NOTED` (the
same by the code of a note). `tests/data_pipelines/test_reasons.py` shows them to the doctor.
"""
