"""The doctor says what is in a data set, what is missing and what is suspicious: `python -m data_pipelines.doctor`.

`layouts` recognises a data set, `checks` examines one clip, `comparison` all of them, `diagnosis` does it in parallel,
`report` is the command, `sheet` draws pictures. `findings` lists what can be found.
"""
