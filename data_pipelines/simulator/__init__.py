"""Simulated apical echocardiography: hearts of known volume, their ultrasound, and whole cohorts on disk."""
