"""The lanes of one bridge: those that are open, and those whose close is on its way."""

from collections.abc import Iterator

from asyncrev.bridge.lane import Lane

__all__ = ["Lanes"]


class Lanes:
    """A bridge's lanes. All methods: the loop's thread, unless said."""

    __slots__ = ("_lanes",)

    def __init__(self) -> None:
        self._lanes: set[Lane] = set()

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    def add(self, lane: Lane) -> None:
        """Take a lane in that was opened."""
        self._lanes.add(lane)

    def discard(self, lane: Lane) -> None:
        """Let a lane go whose close has come back; idempotent."""
        self._lanes.discard(lane)

    def clear(self) -> None:
        """Let all go."""
        self._lanes.clear()

    def copy(self) -> set[Lane]:
        """Return a set of them. Thread: any.

        The loop may take lanes out meanwhile, and only `set.copy` holds the set's own lock on a
        free-threaded build; `tuple` and `list` iterate.
        """
        return self._lanes.copy()

    def due(self, now_s: float) -> list[Lane]:
        """Return those that the sweep must look at (`Lane.look_at_s`)."""
        # Most of ten thousand idle lanes are passed over here, at 50 ns each.
        return [lane for lane in self._lanes if lane.look_at_s <= now_s]

    def any_being_answered(self) -> bool:
        """Return whether the worker has, or will have, work of one without its peer."""
        return any(lane.is_being_answered for lane in self._lanes)
