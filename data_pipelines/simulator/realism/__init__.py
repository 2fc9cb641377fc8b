"""Measures how like real frames the simulated ones are: the same statistics, by the same code, on both sides.

    frames              a frame with its label map, cut to its sector
    frame_statistics    all statistics of a frame: grey levels (0..255), depth and lateral profiles
    geometry            place and shape of the ventricle and of the sector (%, mm, degrees)
    texture             local variation, size of the speckle (mm)
    border              the step of grey level across the endocardial border
    comparison          both groups of frames side by side, and the verdict
    results             files for a reader

`python -m data_pipelines.simulator.realism` runs the comparison.
"""
