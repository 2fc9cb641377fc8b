"""The two protocols of the paper: which frames of a clip a network sees, and which of them are scored."""

from __future__ import annotations

import dataclasses

from data_pipelines.records import Clip
from data_pipelines.sampling import ed_to_es, uniform_frames


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One protocol.

    Attributes:
        name: "semi" (CAMUS-Semi) or "full" (CAMUS-Full).
        every_frame: whether the network sees every frame from ED to ES and every frame with a reference is scored;
            otherwise it sees as many frames as in training, and ED and ES are scored.
    """

    name: str
    every_frame: bool

    def select(self, clip: Clip, frames: int) -> Clip:
        """Selects the frames that the network sees.

        Args:
            clip: a clip whose ED and ES are known.
            frames: number of frames, from ED to ES, of a protocol that does not take every frame.

        Returns:
            The selected frames, ED first and ES last.

        Raises:
            UnreadableRecord: ED or ES is not known.
        """
        half_cycle = ed_to_es(clip)
        if self.every_frame or len(half_cycle) <= frames:
            return half_cycle
        indices = uniform_frames(0, len(half_cycle) - 1, frames)
        return dataclasses.replace(
            half_cycle,
            frames=half_cycle.frames[indices],
            label_map=half_cycle.label_map[indices],
            has_reference=half_cycle.has_reference[indices],
            es_index=frames - 1,
        )

    def scored_frames(self, clip: Clip) -> list[int]:
        """Returns the indices of the frames that are scored, of a clip that starts with ED and ends with ES."""
        candidates = range(len(clip)) if self.every_frame else (0, len(clip) - 1)
        return [frame for frame in candidates if clip.has_reference[frame]]


SEMI, FULL = Protocol("semi", every_frame=False), Protocol("full", every_frame=True)
PROTOCOLS = {protocol.name: protocol for protocol in (SEMI, FULL)}
