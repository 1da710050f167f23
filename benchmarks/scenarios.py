"""What is done to each server: loads, and one start."""

import dataclasses

__all__ = [
    "BULK",
    "FULL",
    "LATENCY",
    "PING_PONG",
    "QUICK",
    "SCENARIOS",
    "START",
    "Scenario",
]

PING_PONG = "messages_per_s"
BULK = "mib_per_s"
LATENCY = "p50_us"
START = "start_ms"

# Those that are started for each turn, of which more would take minutes.
_FEW = ("asyncrev", "asyncrev-python", "asyncio", "uvloop")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A load, or a start.

    Attributes:
        title: for people.
        headline: the figure that counts. Rates are better when larger, times when smaller.
        connections: that are busy; 0 for a scenario that starts the server and does nothing else.
        size_bytes: of a message on the wire, line end or length prefix included.
        depth: messages that each connection keeps in flight.
        idle: further connections, which exchange one message at their beginning and stay.
        reconnect: each connection closes after one message, and a new one takes its place; a
            message is then all of it, from the connect to the reply.
        tls: whether it is over TLS.
        fresh: whether the server is started anew for each turn. Memory that a server gives back
            to its allocator is not given back to the system, so only the first idle connections
            of a process show what they take.
        servers: those that take part unless others are named; None for all.
    """

    title: str
    headline: str
    framing: str = "raw"
    connections: int
    size_bytes: int = 64
    depth: int = 1
    idle: int = 0
    reconnect: bool = False
    tls: bool = False
    fresh: bool = False
    servers: tuple[str, ...] | None = None

    @property
    def lower_is_better(self) -> bool:
        """Whether the headline is a time."""
        return self.headline in (LATENCY, START)


_PLAIN = {
    "small50": Scenario(
        title="50 connections, 64 B ping-pong",
        headline=PING_PONG,
        connections=50,
    ),
    "small500": Scenario(
        title="500 connections, 64 B ping-pong",
        headline=PING_PONG,
        connections=500,
    ),
    "kilo50": Scenario(
        title="50 connections, 1 KiB ping-pong",
        headline=PING_PONG,
        connections=50,
        size_bytes=1024,
    ),
    "kilo500": Scenario(
        title="500 connections, 1 KiB ping-pong",
        headline=PING_PONG,
        connections=500,
        size_bytes=1024,
    ),
    "bulk4": Scenario(
        title="4 connections, 64 KiB, depth 4",
        headline=BULK,
        connections=4,
        size_bytes=64 * 1024,
        depth=4,
    ),
    "bulk1": Scenario(
        title="1 connection, 256 KiB, depth 4",
        headline=BULK,
        connections=1,
        size_bytes=256 * 1024,
        depth=4,
    ),
    "latency": Scenario(
        title="1 connection, 64 B ping-pong, p50",
        headline=LATENCY,
        connections=1,
    ),
    "frame50": Scenario(
        title="50 connections, one 64 B len32 frame in ping-pong",
        headline=PING_PONG,
        framing="len32",
        connections=50,
    ),
    "len32": Scenario(
        title="16 connections, 64 B len32 frames, depth 64",
        headline=PING_PONG,
        framing="len32",
        connections=16,
        depth=64,
    ),
    "line": Scenario(
        title="16 connections, 64 B lines, depth 64",
        headline=PING_PONG,
        framing="line",
        connections=16,
        depth=64,
    ),
    "large": Scenario(
        title="4 connections, 1 MiB len32 frames, depth 2",
        headline=BULK,
        framing="len32",
        connections=4,
        size_bytes=1024 * 1024,
        depth=2,
    ),
    "handshakes": Scenario(
        title="16 connections at a time, each for one message of 64 B",
        headline=PING_PONG,
        connections=16,
        reconnect=True,
    ),
}

_ALONE = Scenario(
    title="100 connections, 64 B ping-pong, in a new process",
    headline=PING_PONG,
    connections=100,
    fresh=True,
    servers=("native", *_FEW),
)

SCENARIOS = {
    **_PLAIN,
    "busy100": _ALONE,
    "idle": dataclasses.replace(
        _ALONE, title="100 connections, 64 B ping-pong, beside 10,000 idle ones", idle=10_000
    ),
    "start": Scenario(
        title="from the start of the process to listening",
        headline=START,
        connections=0,
        fresh=True,
        servers=_FEW,
    ),
    **{
        f"tls-{name}": dataclasses.replace(plain, title=f"TLS, {plain.title}", tls=True)
        for name, plain in _PLAIN.items()
    },
}

QUICK = ("small50", "small500", "bulk4", "latency", "len32", "line")
FULL = (
    *(name for name in SCENARIOS if name != "handshakes" and not SCENARIOS[name].tls),
    *("tls-small50", "tls-small500", "tls-bulk4", "tls-latency", "tls-handshakes"),
)
