"""Measurements of a cine from its masks: the beats in the area curve, volumes and ejection fractions.

Area curve -> beats (`area_curve`, `beats`).
"""
