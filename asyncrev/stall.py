"""Whether a peer still takes what is sent to it."""

__all__ = ["StallWatch"]


class StallWatch:
    """Tells when nothing of a backlog has been taken for a time. Thread: its owner's.

    Looks at totals from time to time, so that no write pays for it.
    """

    __slots__ = ("_since_s", "_taken_bytes", "timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._taken_bytes = -1
        self._since_s = 0.0

    def is_stalled(self, now_s: float, written_bytes: int, unsent_bytes: int) -> bool:
        """Return whether the peer took no byte for `timeout_s` although some were there to take.

        `written_bytes` is the total ever written, `unsent_bytes` what of it is still here.
        """
        taken_bytes = written_bytes - unsent_bytes
        if not unsent_bytes or taken_bytes != self._taken_bytes:
            self._taken_bytes = taken_bytes
            self._since_s = now_s
            return False
        return now_s - self._since_s >= self.timeout_s
