"""The state machines: small tables, and the one function that moves along them.

Several small machines, not one product of them. A pair of state and event that a table does not
have is a defect, and says so. docs/modules.md shows these tables; a test compares the two.
"""

import enum
from collections.abc import Mapping
from typing import TypeVar

from asyncrev.errors import LocalError

__all__ = [
    "CONNECTION_TRANSITIONS",
    "INPUT_TRANSITIONS",
    "SERVER_TRANSITIONS",
    "TABLES",
    "TRANSPORT_TRANSITIONS",
    "WORKER_TRANSITIONS",
    "ConnectionEvent",
    "ConnectionState",
    "InputEvent",
    "InputState",
    "ServerEvent",
    "ServerState",
    "TransportEvent",
    "TransportState",
    "WorkerEvent",
    "WorkerState",
    "advance",
]

State = TypeVar("State", bound=enum.Enum)
Event = TypeVar("Event", bound=enum.Enum)


class WorkerState(enum.Enum):
    """Where the worker thread is in its life."""

    NEW = "new"
    RUNNING = "running"
    ENDED = "ended"
    DEAD = "dead"


class WorkerEvent(enum.Enum):
    """What moves a worker on."""

    START = "start"
    END = "end of input"
    FAIL = "error outside any processor"


WORKER_TRANSITIONS: Mapping[tuple[WorkerState, WorkerEvent], WorkerState] = {
    (WorkerState.NEW, WorkerEvent.START): WorkerState.RUNNING,
    (WorkerState.RUNNING, WorkerEvent.END): WorkerState.ENDED,
    (WorkerState.RUNNING, WorkerEvent.FAIL): WorkerState.DEAD,
}


class ConnectionState(enum.Enum):
    """Where a connection is between its first byte and its end."""

    NEW = "new"
    OPEN = "open"  # reads, answers
    ANSWERING = "answering"  # reads no more; replies are still owed
    FINISHED = "finished"  # owes nothing; what is written goes out, then it closes
    LOST = "lost"


class ConnectionEvent(enum.Enum):
    """What moves a connection on."""

    MADE = "connection made"
    INPUT_ENDED = "input ended"
    ANSWERED = "last reply handed over"
    FAILED = "no more replies"
    LOST = "connection lost"


CONNECTION_TRANSITIONS: Mapping[tuple[ConnectionState, ConnectionEvent], ConnectionState] = {
    (ConnectionState.NEW, ConnectionEvent.MADE): ConnectionState.OPEN,
    (ConnectionState.OPEN, ConnectionEvent.INPUT_ENDED): ConnectionState.ANSWERING,
    (ConnectionState.OPEN, ConnectionEvent.FAILED): ConnectionState.FINISHED,
    (ConnectionState.OPEN, ConnectionEvent.LOST): ConnectionState.LOST,
    (ConnectionState.ANSWERING, ConnectionEvent.ANSWERED): ConnectionState.FINISHED,
    (ConnectionState.ANSWERING, ConnectionEvent.FAILED): ConnectionState.FINISHED,
    (ConnectionState.ANSWERING, ConnectionEvent.LOST): ConnectionState.LOST,
    (ConnectionState.FINISHED, ConnectionEvent.LOST): ConnectionState.LOST,
}


class InputState(enum.Enum):
    """Whether more of a connection's input is processed, and who ended it."""

    OPEN = "open"
    DRAINING = "draining"  # what had arrived when the graceful shutdown began is still read
    ENDED = "ended"  # by this side: what the peer still sends is not processed
    PEER_ENDED = "ended by the peer"  # nothing more can come


class InputEvent(enum.Enum):
    """What changes the state of a connection's input."""

    DRAIN = "graceful shutdown began"
    END = "this side processes no more input"
    PEER_END = "the peer's end of stream was received"


INPUT_TRANSITIONS: Mapping[tuple[InputState, InputEvent], InputState] = {
    (InputState.OPEN, InputEvent.DRAIN): InputState.DRAINING,
    (InputState.OPEN, InputEvent.END): InputState.ENDED,
    (InputState.OPEN, InputEvent.PEER_END): InputState.PEER_ENDED,
    (InputState.DRAINING, InputEvent.END): InputState.ENDED,
    (InputState.DRAINING, InputEvent.PEER_END): InputState.PEER_ENDED,
    (InputState.ENDED, InputEvent.PEER_END): InputState.PEER_ENDED,
}


class ServerState(enum.Enum):
    """Where a server is in its life."""

    NEW = "new"
    SERVING = "serving"
    DRAINING = "draining"
    CLOSED = "closed"


class ServerEvent(enum.Enum):
    """What moves a server on."""

    START = "start"
    DRAIN = "drain"
    CLOSE = "close"


SERVER_TRANSITIONS: Mapping[tuple[ServerState, ServerEvent], ServerState] = {
    (ServerState.NEW, ServerEvent.START): ServerState.SERVING,
    (ServerState.NEW, ServerEvent.CLOSE): ServerState.CLOSED,
    (ServerState.SERVING, ServerEvent.DRAIN): ServerState.DRAINING,
    (ServerState.SERVING, ServerEvent.CLOSE): ServerState.CLOSED,
    (ServerState.DRAINING, ServerEvent.CLOSE): ServerState.CLOSED,
}


class TransportState(enum.Enum):
    """Where a stream transport of `EpollEventLoop` is in its life."""

    OPEN = "open"
    CLOSING = "closing"  # close() was called; the write buffer is still being sent
    LOST = "lost"  # connection_lost is scheduled
    CLOSED = "closed"


class TransportEvent(enum.Enum):
    """What changes the state of a transport."""

    CLOSE = "close() called"
    LOSE = "connection_lost scheduled"
    REPORT = "connection_lost returned"


TRANSPORT_TRANSITIONS: Mapping[tuple[TransportState, TransportEvent], TransportState] = {
    (TransportState.OPEN, TransportEvent.CLOSE): TransportState.CLOSING,
    (TransportState.OPEN, TransportEvent.LOSE): TransportState.LOST,
    (TransportState.CLOSING, TransportEvent.LOSE): TransportState.LOST,
    (TransportState.LOST, TransportEvent.REPORT): TransportState.CLOSED,
}

TABLES = {
    "worker": WORKER_TRANSITIONS,
    "connection": CONNECTION_TRANSITIONS,
    "input": INPUT_TRANSITIONS,
    "server": SERVER_TRANSITIONS,
    "transport": TRANSPORT_TRANSITIONS,
}


def advance(table: Mapping[tuple[State, Event], State], state: State, event: Event) -> State:
    """Return the state that `event` leads to from `state`.

    Raises:
        LocalError: the table has no such pair; names both.
    """
    try:
        return table[state, event]
    except KeyError:
        raise LocalError(
            f"{type(state).__name__}.{state.name} does not allow {event.name} ({event.value})"
        ) from None
