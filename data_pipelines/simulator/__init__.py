"""Simulates apical echocardiography: hearts with exactly known volumes, their ultrasound pictures, whole data sets.

How one clip is made, module by module:

    population -> heart       the shape of one patient's heart and its motion through a beat (mm, s)
    placement, section        where the probe stands, and the plane that it cuts out of the heart: outlines and labels
    motion                    how the tissue, which carries the speckle, moves with the heart
    tissue, reflectivity      how strongly each point of the plane reflects (dB)
    polar_grid, speckle       the echoes of many small scatterers, blurred by the probe
    quality, acquisition      what a scanner adds: uneven gain, shadows, haze and noise (dB)
    scan, pixels              one frame: echo levels, then grey pixels
    rhythm, timing            which beats a clip shows, and how far the heart has contracted in every frame (s)
    drift, clip               all frames of a clip
    patient, cohort           many patients, written to disk

`coordinates` defines the two coordinate systems and `curves` the small functions that several modules use. `realism`
compares simulated frames with real ones.
"""
