"""Says what is in a data set, what is missing and what is suspicious: `python -m data_pipelines.doctor PATH`."""
