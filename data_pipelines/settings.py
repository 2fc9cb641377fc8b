"""Settings that a configuration holds: ranges of the augmentation and names of methods. Imports no image library."""

from __future__ import annotations

import dataclasses

PROPAGATION_METHODS = ("registration", "deformation")  # what each one does: `data_pipelines.propagation`


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes to training clips; `data_pipelines.augment` applies them.

    The first four are the paper's (section 4.2), in the ranges of the same group's earlier code. The others model what
    an ultrasound machine and a chest do to a picture.

    Attributes:
        probability: Probability of each geometric or grey-level change: gamma, rotation, scale, contrast and shift.
        gamma: Range of gamma; grey levels 0..1 become image ** (1 / gamma).
        rotation_deg: Largest rotation about the centre of the picture, degrees, in either direction.
        scale: Range of the magnification about the centre of the picture.
        contrast: Range of the factor by which grey levels spread about the mean of the clip.
        shift: Largest shift up, down and sideways, as a fraction of the side of the picture; 0 never shifts.
        ultrasound_probability: Probability of each of speckle, shadow, gain and attenuation; 0 switches them off.
        speckle: Largest standard deviation of a grain that stands still, grey levels of 0..1.
        shadow: Largest depth of a shadow that starts at the probe (top centre of the picture), grey levels of 0..1.
        gain: Largest change of the grey level of the whole sector, up or down, grey levels of 0..1.
        attenuation: Largest difference between the top and the bottom of the picture, either sign, grey levels of 0..1.
        valve_probability: Probability that the mitral valve of a labelled frame, which is shut at ED and ES, is drawn
            open (`data_pipelines.valve`); each frame has its own draw; 0 never opens it.
        papillary_probability: Probability that papillary muscles are drawn into the cavity of a labelled frame.
        crop: Side of the training pictures in pixels, cut at a random position after the other moves; None trains on
            whole pictures. A step costs less with a crop; the network is fully convolutional.
    """

    probability: float = 0.5
    gamma: tuple[float, float] = (1.0, 2.4)
    rotation_deg: float = 30.0
    scale: tuple[float, float] = (1.0, 1.3)
    contrast: tuple[float, float] = (0.8, 2.0)
    shift: float = 0.0
    ultrasound_probability: float = 0.0
    speckle: float = 0.08
    shadow: float = 0.5
    gain: float = 0.12
    attenuation: float = 0.3
    valve_probability: float = 0.0
    papillary_probability: float = 0.0
    crop: int | None = None
