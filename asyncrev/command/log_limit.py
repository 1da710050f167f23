"""A limit of log lines per reason and second, so that peers cannot fill a disk."""

from typing import NamedTuple

__all__ = ["LeftOut", "LineLimit"]

MOST_LINES = 10  # per reason and window
WINDOW_S = 1.0
MOST_REASONS = 256  # all further ones count as one; some libraries' texts always differ


class LeftOut(NamedTuple):
    """The number and the level of the lines of a reason that were left out."""

    reason: str
    level: int
    lines: int


class _Window:
    __slots__ = ("end_s", "left_out", "lines")

    def __init__(self, end_s: float) -> None:
        self.end_s = end_s
        self.lines = 0
        self.left_out = 0


class LineLimit:
    """Lets `MOST_LINES` lines per reason and `WINDOW_S` pass, and counts the others.

    A window begins with the first line of its reason. The time is an argument. Not thread-safe: the
    owner holds a lock.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, int], _Window] = {}
        self._over: list[LeftOut] = []
        self.next_s: float | None = None  # when the first window with lines left out ends

    def passes(self, reason: str, level: int, now_s: float) -> bool:
        """Return whether one more line of `reason` may be written at `now_s`."""
        key = (reason, level)
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= MOST_REASONS:
                self._forget(now_s)
            if len(self._windows) >= MOST_REASONS:
                key = ("other reasons", level)
                window = self._windows.get(key)
        if window is not None and now_s >= window.end_s:
            self._close(key, window)
            window = None
        if window is None:
            window = self._windows[key] = _Window(now_s + WINDOW_S)
        if window.lines < MOST_LINES:
            window.lines += 1
            return True
        if not window.left_out:
            end_s = window.end_s
            self.next_s = end_s if self.next_s is None else min(self.next_s, end_s)
        window.left_out += 1
        return False

    def take_left_out(self, now_s: float) -> list[LeftOut]:
        """Return what was left out in the windows that have ended, each once."""
        if self._over or (self.next_s is not None and now_s >= self.next_s):
            self._forget(now_s)
            ends_s = [w.end_s for w in self._windows.values() if w.left_out]
            self.next_s = min(ends_s, default=None)
        over, self._over = self._over, []
        return over

    def _forget(self, now_s: float) -> None:
        for key, window in list(self._windows.items()):
            if now_s >= window.end_s:
                self._close(key, window)

    def _close(self, key: tuple[str, int], window: _Window) -> None:
        del self._windows[key]
        if window.left_out:
            self._over.append(LeftOut(*key, window.left_out))
