"""What workers are started with, which a reload makes anew. Pure."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Plan"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What workers are started with.

    Attributes:
        generation: the number of the reload that made it, from 1.
        setup: what a worker is told, in plain JSON types; what is its own is added.
        most_connections: how many each may have.
        drain_s: the time that a drain may take; whoever takes longer is ended.
    """

    generation: int
    setup: Mapping[str, Any]
    most_connections: int
    drain_s: float

    def setup_of(self, slot: int, workers: int, listening: Sequence[int]) -> dict[str, Any]:
        """Return what the worker of a slot is told.

        Args:
            slot: its number, from 0.
            workers: how many slots there are.
            listening: descriptors of the listening sockets that it accepts from.
        """
        own = {"worker": str(slot), "index": slot, "workers": workers, "listen": [*listening]}
        return {**self.setup, "generation": self.generation, **own}
