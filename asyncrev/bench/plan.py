"""What a load is: the target, the messages, how many at a time and for how long."""

import dataclasses
import math
from typing import Any

from asyncrev.addresses import port_number, split_host_port
from asyncrev.errors import SettingsError
from asyncrev.frames.registry import FRAMINGS

__all__ = ["ECHO", "RAW", "REVERSE", "Plan", "Share", "parse_target"]

RAW = "raw"
REVERSE = "reverse"
ECHO = "echo"

MOST_CONNECTIONS = 60_000  # of one client address to one port there are no more
MOST_PROCESSES = 64
MOST_SIZE_BYTES = 64 * 1024 * 1024
MOST_IN_FLIGHT_BYTES = 64 * 1024 * 1024  # of one connection
MOST_RATE_PER_S = 1_000_000.0
MOST_SECONDS = 86_400.0
MOST_MESSAGES = 10**12

# A run is measured in so many intervals, so that there is a spread; none is shorter than the least,
# because a percentile of few messages says little.
_INTERVALS = 10
_LONGEST_INTERVAL_S = 1.0
_LEAST_INTERVAL_S = 0.1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of a run. Checked when it is made.

    Attributes:
        host, port: the target; with `path` they are not used.
        path: of a UNIX socket, or None.
        framing: "raw" or the name of a grammar.
        size_bytes: payload of a message, without prefix or line end.
        connections: of all processes together.
        depth: how many messages a connection has in flight at most.
        duration_s: how long is measured, or None for as long as `count` takes.
        warmup_s: for how long before that messages are sent, but not counted.
        count: how many messages are measured at most, or None.
        rate_per_s: messages per second of all connections, or None for a closed loop.
        expect: "reverse", "echo" or the name of a function from payload to reply.
        tls: whether to speak TLS.
        insecure: whether the server's certificate is left unchecked.
        ca_certs: a file of certificates to trust, or None for those of the system.
        server_hostname: whose certificate is expected; None: `host`.
        timeout_s: for connecting, and for the last replies.
        processes: how many processes send.
    """

    host: str = "127.0.0.1"
    port: int = 9090
    path: str | None = None
    framing: str = RAW
    size_bytes: int = 64
    connections: int = 50
    depth: int = 1
    duration_s: float | None = 10.0
    warmup_s: float = 1.0
    count: int | None = None
    rate_per_s: float | None = None
    expect: str = REVERSE
    tls: bool = False
    insecure: bool = False
    ca_certs: str | None = None
    server_hostname: str | None = None
    timeout_s: float = 5.0
    processes: int = 1

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: one is out of range, or two do not go together.
        """
        if self.framing != RAW and self.framing not in FRAMINGS:
            names = ", ".join((RAW, *FRAMINGS))
            raise SettingsError(f"--framing is {self.framing!r}; it must be one of {names}")
        least_size = 1 if self.framing == RAW else 0
        _whole("--size", self.size_bytes, least_size, MOST_SIZE_BYTES)
        _whole("-c", self.connections, 1, MOST_CONNECTIONS)
        _whole("-P", self.depth, 1, 1_000_000)
        _whole("--processes", self.processes, 1, MOST_PROCESSES)
        if self.count is not None:
            _whole("-n", self.count, 1, MOST_MESSAGES)
        _seconds("--warmup", self.warmup_s, 0.0)
        _seconds("--timeout", self.timeout_s, 0.001)
        if self.duration_s is not None:
            _seconds("-z", self.duration_s, _LEAST_INTERVAL_S)
        elif self.count is None:
            raise SettingsError("neither -z nor -n says when to end; give one of them")
        if self.rate_per_s is not None and not 0.001 <= self.rate_per_s <= MOST_RATE_PER_S:
            raise SettingsError(
                f"--rate is {self.rate_per_s:g} messages per second; give 0.001 to "
                f"{MOST_RATE_PER_S:g}"
            )
        if self.processes > self.connections:
            raise SettingsError(
                f"--processes is {self.processes}, and -c {self.connections}; each process needs a "
                "connection"
            )
        in_flight_bytes = self.depth * (self.size_bytes + 16)
        if in_flight_bytes > MOST_IN_FLIGHT_BYTES + 16:
            raise SettingsError(
                f"-P {self.depth} messages of --size {self.size_bytes} are {in_flight_bytes} bytes "
                f"in flight per connection; at most {MOST_IN_FLIGHT_BYTES} can be verified"
            )

    @property
    def interval_s(self) -> float:
        """How long one interval of the measurement is."""
        if self.duration_s is None:
            return _LEAST_INTERVAL_S
        return max(_LEAST_INTERVAL_S, min(_LONGEST_INTERVAL_S, self.duration_s / _INTERVALS))

    @property
    def target(self) -> str:
        """The target as it is written on the command line."""
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Plan":
        """Return the plan that `as_dict` described."""
        return cls(**values)


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """Which part of a plan one process does: every `processes`-th connection from `index` on."""

    index: int = 0
    processes: int = 1

    def connections(self, plan: Plan) -> range:
        """Return the numbers of this process's connections."""
        return range(self.index, plan.connections, self.processes)

    def count(self, plan: Plan) -> int | None:
        """Return how many messages this process measures at most, or None."""
        if plan.count is None:
            return None
        return plan.count // self.processes + (self.index < plan.count % self.processes)


def parse_target(text: str) -> tuple[str, int, str | None]:
    """Return host, port and UNIX path that `text` names; a path makes the others meaningless.

    Raises:
        SettingsError: it names no target.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise SettingsError(f"{text!r} names no path; give unix:PATH")
        return "", 0, path
    host, colon, port = split_host_port(text, repr(text), 9090)
    if not colon or not host:
        raise SettingsError(
            f"{text!r} is no target; give HOST:PORT, as 127.0.0.1:9090, or unix:PATH"
        )
    return host, port_number(port, repr(text)), None


def _whole(option: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise SettingsError(f"{option} is {value}; give {least} to {most}")


def _seconds(option: str, value: float, least_s: float) -> None:
    if math.isnan(value) or not least_s <= value <= MOST_SECONDS:
        raise SettingsError(f"{option} is {value:g} s; give {least_s:g} to {MOST_SECONDS:g} s")
