"""The histograms of a server's bridges, as the admin endpoint tells them."""

import asyncio
from typing import Any

from asyncrev.ring.durations import BOUNDS_S, BUCKETS, NAMES
from asyncrev.server.server import Server

__all__ = ["histograms_of"]


def histograms_of(server: Server) -> dict[str, Any]:
    """Return what `Durations` has counted of all bridges, as plain JSON types. Thread: loop.

    Turns of the loop are measured on a loop with iteration hooks only, by the first bridge.
    """
    found = [
        counts
        for bridge in server.bridges
        if (counts := bridge.parts.plane.durations()) is not None
    ]
    if not found:
        return {}
    has_turns = hasattr(asyncio.get_running_loop(), "add_iteration_hook")
    histograms = {}
    for index, name in enumerate(NAMES):
        of_bridges = [counts[index] for counts in found]
        if name == "loop_turn_s":
            if not has_turns:
                continue
            of_bridges = of_bridges[:1]
        histograms[name] = {
            "bounds_s": list(BOUNDS_S),
            "counts": [
                sum(counts[bucket] for counts, _ in of_bridges) for bucket in range(BUCKETS)
            ],
            "sum_s": sum(sum_ns for _, sum_ns in of_bridges) / 1e9,
        }
    return histograms
