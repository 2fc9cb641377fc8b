"""Measurements of a cine from its masks: the beats in the area curve, volumes and ejection fractions.

Masks -> areas and discs of every frame (`frames`) -> beats in the area curve (`area_curve`, `cycle`, `turns`, `limbs`,
`beats`) -> ejection fraction of every beat (`cine`) -> its interval (`interval`).
"""
