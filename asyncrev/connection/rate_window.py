"""How fast a total grows while it is owed; time is an argument, as for all deadlines."""

from collections.abc import Hashable

__all__ = ["RATE_WINDOW_S", "RateWindow"]

# A rate is judged when it was owed for this long: so much may a peer pause at its beginning, and
# after it has been fast. Shorter ones would take a lost packet or two for slowness (RFC 6298).
RATE_WINDOW_S = 10.0


class RateWindow:
    """Counts what came of one debt, and the time for which it was owed. Thread: its owner's.

    A window that was fast enough is followed by another, so what came in one is no credit for the
    next. Time counts between two looks at both of which the debt was owed.

    Attributes (written here only):
        owed_s: how much of such time this window has.
        come_bytes: what came in it.
    """

    __slots__ = ("_debt", "_from_bytes", "_looked_s", "_was_owed", "come_bytes", "owed_s")

    def __init__(self) -> None:
        self._debt: Hashable = None
        self._from_bytes = 0
        self._looked_s = 0.0
        self._was_owed = False
        self.owed_s = 0.0
        self.come_bytes = 0

    def is_slow(
        self,
        now_s: float,
        total_bytes: int,
        least_bytes_per_s: int,
        *,
        debt: Hashable,
        owed: bool = True,
        step_bytes: int = 0,
    ) -> bool:
        """Look; return whether less came than was owed in a window that was long enough.

        Args:
            now_s: the time, on any clock that does not go back.
            total_bytes: the total that grows.
            least_bytes_per_s: how fast it should.
            debt: what is owed; another than before begins a window. Not None.
            owed: whether it is the peer who has to do something, now.
            step_bytes: the total grows by up to so much at a time, even if all goes steadily.
        """
        if debt != self._debt:
            self._debt = debt
            self._begin(total_bytes)
        elif owed and self._was_owed:
            self.owed_s += now_s - self._looked_s
        self._looked_s, self._was_owed = now_s, owed
        self.come_bytes = total_bytes - self._from_bytes
        if not owed or self.owed_s < RATE_WINDOW_S:
            return False
        owed_bytes = least_bytes_per_s * self.owed_s
        if self.come_bytes >= owed_bytes:
            self._begin(total_bytes)
            return False
        return self.come_bytes + step_bytes < owed_bytes

    def _begin(self, total_bytes: int) -> None:
        self._from_bytes = total_bytes
        self.owed_s = 0.0
        self.come_bytes = 0
