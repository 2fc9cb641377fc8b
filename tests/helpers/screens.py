"""Drawn screens of ultrasound machines: a sector of speckle with texts and scales around it."""

import cv2
import numpy as np

SHAPE = (240, 320)


def fan(shape=SHAPE, tip=(20.0, 160.0), radii=(8.0, 190.0), half_angle=0.7):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    down, across = rows - tip[0], columns - tip[1]
    radius = np.hypot(down, across)
    return (np.abs(np.arctan2(across, down)) <= half_angle) & (radius >= radii[0]) & (radius <= radii[1])


def speckle(area, n=12, seed=0, mean=90.0):
    noise = np.random.default_rng(seed).normal(0, 60, (n, *area.shape)).astype(np.float32)
    grey = mean + np.stack([cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in noise])
    return (np.clip(grey, 1, 255) * area).astype(np.uint8)


def screen(frames):
    """Text, depth scale, probe mark, grey bar and a logo around the sector: all still."""
    for frame in frames:
        for row, text in enumerate(("GENERAL HOSPITAL", "MI 1.2 TIS 0.8", "S5-1")):
            cv2.putText(frame, text, (2, 12 + 14 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
        for depth in range(20, 220, 20):
            cv2.line(frame, (310, depth), (318, depth), 200, 1)
        frame[40:160, 295:303] = np.linspace(255, 0, 120, dtype=np.uint8)[:, None]
        cv2.circle(frame, (200, 10), 5, 230, -1)
        frame[205:232, 4:40] = 180
    return frames
