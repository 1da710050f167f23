"""Engine: what answers requests whose replies come later, such as coroutines or an executor."""

from typing import Any, Protocol

from asyncrev.connection_info import ConnectionInfo
from asyncrev.work.requests import Request

__all__ = ["Engine", "Job"]


class Job(Protocol):
    """One started request, as an engine sees it. Thread: loop."""

    request: Request
    engine_data: Any  # for the engine's use

    @property
    def state(self) -> Any:
        """What `open_lane` has returned for its connection."""

    @property
    def info(self) -> ConnectionInfo | None:
        """Who the peer is."""

    def finish(self, reply: bytes | None, error: BaseException | None = None) -> None:
        """Say what came of it, once, also after `Engine.cancel`; `reply` is ignored with an error.

        Until then the request counts as running (`Limits.pending_total`).
        """
        ...


class Engine(Protocol):
    """All methods: the loop's thread.

    Attributes:
        calls_connected, calls_eof: whether requests of these kinds are to be made.
        timeout_s: how long a request may run; None if the engine itself ends those that hang.
    """

    calls_connected: bool
    calls_eof: bool
    timeout_s: float | None

    def open_lane(self) -> Any:
        """Return what is kept of a new connection; `Job.state` of its requests."""
        ...

    def start(self, job: Job) -> None:
        """Begin to answer `job.request`. It must not block."""
        ...

    def cancel(self, job: Job) -> None:
        """Note that nobody wants the reply any more; `Job.finish` is still to be called."""
        ...

    def close_lane(self, state: Any) -> None:
        """Note that no request follows for a connection."""
        ...
