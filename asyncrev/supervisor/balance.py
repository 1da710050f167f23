"""The choice of the worker that gets the next connection. Pure."""

from collections.abc import Sequence

__all__ = ["Balance"]


class Balance:
    """Chooses the least loaded of several places, in turn where loads are equal.

    In turn, because a service without load would otherwise give every connection to the first, as
    long as each ends before the next one comes.
    """

    def __init__(self) -> None:
        self._last = -1  # the number that was chosen

    def choose(self, loads: Sequence[int | None]) -> int | None:
        """Return the index of the next place, or None if there is none.

        Args:
            loads: of each place; None for one that takes nothing now. An index means the same
                place in every call.
        """
        least = min((load for load in loads if load is not None), default=None)
        if least is None:
            return None
        ahead = (number for number in range(self._last + 1, len(loads)) if loads[number] == least)
        self._last = next(ahead, -1)
        if self._last < 0:
            self._last = loads.index(least)
        return self._last
