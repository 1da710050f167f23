"""When messages are due in an open loop: at a fixed rate, whatever the server does.

Theory of operation. Message k of connection g is due k * C + g intervals after the start, where C
is the number of connections of all processes and an interval is 1 / rate. So messages are evenly
spaced over all connections and processes, and the time that a message was due at can be computed
from its number alone. Latency is counted from it, however late the message was sent: a server that
stalls is charged for all messages that were due meanwhile (no coordinated omission; see
https://github.com/giltene/wrk2#acknowledgements, and its section on the subject).
"""

__all__ = ["Schedule"]

_NS_PER_S = 1_000_000_000


class Schedule:
    """The messages of one process's connections, in the order in which they are due.

    Attributes:
        next_ns: when the next one is due, on the clock of `start_ns`.
    """

    __slots__ = ("_all", "_cursor", "_numbers", "_rate_per_s", "_round", "_start_ns", "next_ns")

    MOST_AT_ONCE = 10_000  # a process that is this far behind receives between, and sends on then

    def __init__(self, rate_per_s: float, numbers: range, connections: int, start_ns: int) -> None:
        """Begin at `start_ns`.

        Args:
            rate_per_s: of all connections together.
            numbers: those of this process's connections.
            connections: how many there are in all processes.
        """
        self._rate_per_s = rate_per_s
        self._numbers = numbers
        self._all = connections
        self._start_ns = start_ns
        self._cursor = 0  # index into `numbers`
        self._round = 0  # which message of that connection
        self.next_ns = self.due_ns(numbers[0], 0)

    def due_ns(self, number: int, message: int) -> int:
        """Return when message `message`, from 0 on, of connection `number` is due."""
        intervals = message * self._all + number
        return self._start_ns + int(intervals * _NS_PER_S / self._rate_per_s)

    def untaken(self, now_ns: int) -> int:
        """Return how many messages have become due that `take` has not returned yet."""
        if self.next_ns > now_ns:
            return 0
        rounds, rest = divmod(
            int((now_ns - self._start_ns) * self._rate_per_s / _NS_PER_S), self._all
        )
        due = rounds * len(self._numbers) + sum(1 for number in self._numbers if number <= rest)
        return max(0, due - self._round * len(self._numbers) - self._cursor)

    def take(self, now_ns: int) -> list[tuple[int, int]]:
        """Return for each message that has become due an index into `numbers`, and when it was due.

        In that order; at most `MOST_AT_ONCE`; the others at the next call.
        """
        due: list[tuple[int, int]] = []
        while self.next_ns <= now_ns and len(due) < self.MOST_AT_ONCE:
            due.append((self._cursor, self.next_ns))
            self._cursor += 1
            if self._cursor == len(self._numbers):
                self._cursor = 0
                self._round += 1
            self.next_ns = self.due_ns(self._numbers[self._cursor], self._round)
        return due
