"""What the load generator does to each server."""

import dataclasses

__all__ = ["BULK", "PING_PONG", "SCENARIOS", "TLS_SCENARIOS", "Scenario"]

PING_PONG = "messages_per_s"
BULK = "mib_per_s"
LATENCY = "p50_us"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A load.

    Attributes:
        title: for people.
        headline: the figure that counts; all but latencies are better when larger.
        size_bytes: of a message on the wire, line end or length prefix included.
        depth: messages that each connection keeps under way.
        idle: further connections, which exchange one message at their beginning and stay.
        reconnect: each connection closes after one message, and a new one takes its place; a
            message is then all of it, from the connect to the reply.
    """

    title: str
    headline: str
    framing: str = "raw"
    connections: int
    size_bytes: int
    depth: int = 1
    idle: int = 0
    reconnect: bool = False

    @property
    def lower_is_better(self) -> bool:
        """Whether the headline is a latency."""
        return self.headline == LATENCY


SCENARIOS = {
    "small50": Scenario(
        title="50 connections, 64 B ping-pong",
        headline=PING_PONG,
        connections=50,
        size_bytes=64,
    ),
    "small500": Scenario(
        title="500 connections, 64 B ping-pong",
        headline=PING_PONG,
        connections=500,
        size_bytes=64,
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
        size_bytes=64,
    ),
    "idle": Scenario(
        title="100 connections, 64 B ping-pong, beside 10,000 idle ones",
        headline=PING_PONG,
        connections=100,
        size_bytes=64,
        idle=10_000,
    ),
    "len32": Scenario(
        title="16 connections, 64 B len32 frames, depth 64",
        headline=PING_PONG,
        framing="len32",
        connections=16,
        size_bytes=64,
        depth=64,
    ),
    "line": Scenario(
        title="16 connections, 64 B lines, depth 64",
        headline=PING_PONG,
        framing="line",
        connections=16,
        size_bytes=64,
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
}

# All of the above can be run over TLS, too.
TLS_SCENARIOS = {
    **SCENARIOS,
    "handshakes": Scenario(
        title="16 connections at a time, each with a full handshake and one message of 64 B",
        headline=PING_PONG,
        connections=16,
        size_bytes=64,
        reconnect=True,
    ),
}
