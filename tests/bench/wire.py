"""One flow of a load, whose peer is the test."""

import select
import socket
from collections.abc import Callable

from asyncrev.bench.messages import Cycle, make_cycle
from asyncrev.bench.plan import Plan, Share
from asyncrev.bench.traffic import Traffic
from tests.support import receive_exactly


class Wire:
    """One flow and its peer's end."""

    def __init__(self, *, clock: Callable[[], int] | None = None, **settings: object) -> None:
        """Without `clock`, the time is `now_ns`; with the real one native code may serve."""
        self.plan = Plan(connections=1, expect="echo", **settings)  # type: ignore[arg-type]
        self.cycle: Cycle = make_cycle(self.plan)
        self.epoll = select.epoll()
        self.now_ns = 0
        self.traffic = Traffic(self.plan, self.cycle, self.epoll, clock or (lambda: self.now_ns))
        listening = socket.create_server(("127.0.0.1", 0))
        ours = socket.create_connection(listening.getsockname())
        ours.setblocking(False)
        self.peer, _ = listening.accept()
        self.peer.settimeout(10)
        listening.close()
        self.traffic.add(0, ours)
        (self.flow,) = self.traffic.flows.values()

    def start(self, start_ns: int = 0) -> None:
        self.traffic.start(Share(), start_ns, None)

    def exchange(self) -> None:
        """Serve the events that there are within a second."""
        self.traffic.exchange(self.epoll.poll(1), self.now_ns)

    def asked(self) -> bytes:
        return receive_exactly(self.peer, self.cycle.request_bytes)

    def close(self) -> None:
        self.traffic.finish()
        self.peer.close()
        self.epoll.close()
