"""One connection of a load, and what all of them have exchanged."""

import collections
import dataclasses
import socket
import ssl

from asyncrev.bench.messages import Cycle
from asyncrev.bench.schedule import Schedule
from asyncrev.bench.verification import verifier

__all__ = [
    "CLOSED",
    "MISMATCH",
    "NO_CONNECTION",
    "NO_REPLY",
    "RESET",
    "TLS",
    "Flow",
    "Totals",
    "kind_of",
    "would_block",
]

# Kinds of errors.
CLOSED = "closed"  # the server ended a connection
RESET = "reset"  # or reset it
TLS = "tls"
MISMATCH = "mismatch"  # a reply was wrong
NO_REPLY = "no_reply"  # a message had none within the time limit
NO_CONNECTION = "no_connection"  # a message was due on a connection that was lost


@dataclasses.dataclass(slots=True)
class Totals:
    """What all flows of a process have exchanged. Its writers are `ordinary`, `hot` and `traffic`.

    Attributes:
        messages, sent_bytes, received_bytes: how much so far.
        notes: latencies in units of 100 ns that nobody has counted yet.
        lags: the same of delays by this program: how late it saw that a message was due.
        errors: how many there were of each kind.
        mismatch: what was wrong with a reply, or None.
        begin_ns: only messages from then on have latencies that count.
        budget: how many messages may still be started, or None.
        is_stopping: whether none may be started.
        schedule: when messages are due; None in a closed loop, and when stopping.
        has_other_event: whether there was an event of a descriptor that is no flow's.
    """

    messages: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    notes: list[int] = dataclasses.field(default_factory=list)
    lags: list[int] = dataclasses.field(default_factory=list)
    errors: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    mismatch: str | None = None
    begin_ns: int = 0
    budget: int | None = None
    is_stopping: bool = False
    schedule: Schedule | None = None
    has_other_event: bool = False


class Flow:
    """One connection, with its place in the cycle of messages.

    Attributes:
        number: of the connection, among those of all processes.
        started, answered: how many messages were sent, and how many replies were whole. Those
            between are in flight. While the flow is hot, `started` is out of date.
        released: how many messages were sent or due so far; open loop only.
        scheduled_from: the first message of the schedule; open loop only.
        starts: when each message in flight was sent or due; empty while the flow is hot.
        unsent: what the kernel did not take of messages that count as sent.
        verified: how many replies `verifier` knows of.
        next: while it is hot, the message that is in flight or the next to be.
        sent_ns: while it is hot, when the message in flight was sent or due; -1 without one.
    """

    __slots__ = (
        "answered",
        "fd",
        "first",
        "next",
        "number",
        "released",
        "scheduled_from",
        "sent_ns",
        "sock",
        "started",
        "starts",
        "unsent",
        "verified",
        "verifier",
    )

    def __init__(self, number: int, sock: socket.socket, cycle: Cycle) -> None:
        self.number = number
        self.sock = sock
        self.fd = sock.fileno()
        self.first = number % len(cycle.requests)
        self.verifier = verifier(cycle, number)
        self.started = self.answered = self.verified = 0
        self.released = self.scheduled_from = 0
        self.starts: collections.deque[int] = collections.deque()
        self.unsent: memoryview | None = None
        self.next = 0
        self.sent_ns = -1

    @property
    def in_flight(self) -> int:
        """How many messages have no reply yet."""
        return self.started - self.answered

    def due_ns(self, schedule: Schedule, message: int) -> int:
        """Return when a message of this connection is due."""
        return schedule.due_ns(self.number, message - self.scheduled_from)


def would_block(error: OSError) -> bool:
    """Return whether a call has only to be made again later."""
    return isinstance(error, BlockingIOError | ssl.SSLWantReadError | ssl.SSLWantWriteError)


def kind_of(error: OSError) -> str:
    """Return the kind of an error after which a connection is lost."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return CLOSED
    return TLS if isinstance(error, ssl.SSLError) else RESET
