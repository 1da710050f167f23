"""Tells systemd how the service is: READY, RELOADING, STOPPING, STATUS and WATCHDOG.

See sd_notify(3) and sd_watchdog_enabled(3). A message is one datagram; one that cannot be sent
never harms the service.
"""

import asyncio
import contextlib
import dataclasses
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, Protocol

from asyncrev.bridge.parts import progress_of
from asyncrev.server.liveness import Liveness
from asyncrev.states import ServerState

__all__ = ["Notified", "Notifier", "NotifyTarget", "take_notify_target"]

logger = logging.getLogger("asyncrev")

STATUS_S = 5.0  # at most one STATUS per this time
CLOSING_S = 5.0  # what a stop may take beside its delay and its drain

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@dataclasses.dataclass(frozen=True, slots=True)
class NotifyTarget:
    """Whom to notify.

    Attributes:
        address: of a datagram socket, as `socket.sendto` takes it; "" for nobody.
        watchdog_s: the time after which a service that has sent no WATCHDOG is killed, or None.
        warnings: what to log.
    """

    address: str = ""
    watchdog_s: float | None = None
    warnings: tuple[str, ...] = ()


def take_notify_target(environ: MutableMapping[str, str]) -> NotifyTarget:
    """Return whom this process is to notify; remove the variables, so that no child does.

    A value that cannot be used is a warning. Thread: main, before another thread starts a child.
    """
    where, usec, pid = (environ.pop(name, "") for name in VARIABLES)
    if not where:
        return NotifyTarget()
    if where[0] not in "/@" or len(where) < 2:
        return NotifyTarget(
            warnings=(
                f"NOTIFY_SOCKET is {where!r} (of the environment): nobody is notified; it must be "
                "an absolute path, or @ and a name",
            )
        )
    address = "\0" + where[1:] if where[0] == "@" else where
    if not usec or (pid and pid != str(os.getpid())):
        return NotifyTarget(address)
    if not (usec.isascii() and usec.isdecimal() and 0 < int(usec) < 1 << 63):
        warning = f"WATCHDOG_USEC is {usec!r} (of the environment): there are no pings; it must be "
        return NotifyTarget(address, warnings=(warning + "a number of microseconds above 0",))
    return NotifyTarget(address, int(usec) / 1e6)


class Counted(Protocol):
    """Connections: their number, and how many more are arriving."""

    @property
    def arriving(self) -> int: ...
    def __len__(self) -> int: ...


class Notified(Protocol):
    """Of whom systemd is notified: a `Server`, or a supervisor of several."""

    @property
    def state(self) -> ServerState: ...
    @property
    def accepting(self) -> bool: ...
    @property
    def bridges(self) -> Sequence[Any]: ...
    @property
    def connections(self) -> Counted: ...


class Notifier:
    """Notifies systemd of one server's life; without a target it does nothing.

    Thread: loop, but for `reloading`.
    """

    def __init__(self, target: NotifyTarget, server: Notified) -> None:
        """Prepare; nothing is sent before `ready`."""
        self._target = target
        self._server = server
        self._lock = threading.Lock()  # of the fields down to `_owed`, and of what is sent
        self._socket: socket.socket | None = None
        self._reloads = 0  # that run now
        self._is_ready = False  # between `ready` and `stopping`
        self._failed = False
        self._owed = ""  # what could not be sent and must be
        self._timer: asyncio.TimerHandle | None = None
        self._status = ""
        self._status_due_s = -math.inf
        self._liveness: Liveness | None = None
        self._told_stuck = False

    def ready(self) -> None:
        """Say that the service is up, and begin to send its status and the pings."""
        if not self._target.address:
            return
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            logger.warning("systemd is not notified: %s", error.strerror)
            return
        loop = asyncio.get_running_loop()
        self._liveness = Liveness(loop.time(), self._target.watchdog_s or math.inf)
        self._note_progress(loop.time())
        with self._lock:
            self._is_ready = True
            self._send("READY=1", must=True)
        self._tick()

    def stopping(self, stop_s: float) -> None:
        """Say that the service stops, which takes `stop_s` at most."""
        with self._lock:
            self._is_ready = False
            lines = "STOPPING=1"
            if math.isfinite(stop_s):
                lines += f"\nEXTEND_TIMEOUT_USEC={math.ceil((stop_s + CLOSING_S) * 1e6)}"
            self._send(lines, must=True)
        self._status_due_s = -math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._tick()

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that the configuration is reloaded, and at the end that the service is up again.

        Reloads may overlap; the end of the last one counts. Thread: any; it may be entered on one
        and left on another.
        """
        with self._lock:
            self._reloads += 1
            if self._is_ready:
                now_usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                self._send(f"RELOADING=1\nMONOTONIC_USEC={now_usec}", must=True)
        try:
            yield
        finally:
            with self._lock:
                self._reloads -= 1
                if self._is_ready and not self._reloads:
                    self._send("READY=1", must=True)

    def close(self) -> None:
        """Send nothing any more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            self._is_ready = False
            sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    # -- what is sent from time to time ------------------------------------------------------

    def _tick(self) -> None:
        """Send what is due. A loop that does not move calls this no more, hence sends no pings."""
        loop = asyncio.get_running_loop()
        now_s, watchdog_s = loop.time(), self._target.watchdog_s
        period_s = STATUS_S if watchdog_s is None else min(STATUS_S, watchdog_s / 2)
        self._timer = loop.call_later(period_s, self._tick)
        self._note_progress(now_s)
        lines = []
        if watchdog_s is not None and self._workers_move(now_s):
            lines.append("WATCHDOG=1")
        if now_s >= self._status_due_s and (status := self._status_now()) != self._status:
            lines.append(f"STATUS={status}")
            self._status, self._status_due_s = status, now_s + STATUS_S
        with self._lock:
            if self._owed:
                self._send(self._owed, must=True)
            if lines:
                self._send("\n".join(lines))

    def _note_progress(self, now_s: float) -> None:
        assert self._liveness is not None
        threads = [progress_of(bridge.parts) for bridge in self._server.bridges]
        self._liveness.note(now_s, {"threads": threads})

    def _workers_move(self, now_s: float) -> bool:
        assert self._liveness is not None
        stuck = self._liveness.stuck(now_s)
        if stuck and not self._told_stuck:
            logger.error("no watchdog pings for now: %s", "; ".join(stuck))
        self._told_stuck = bool(stuck)
        return not stuck

    def _status_now(self) -> str:
        server = self._server
        connections = len(server.connections) + server.connections.arriving
        what = f"{connections} connection{'' if connections == 1 else 's'}"
        if server.state is not ServerState.SERVING:
            return f"draining {what}"
        if not self._is_ready:
            return f"stopping, {what}"
        return f"{what}, {'accepting' if server.accepting else 'not accepting'}"

    def _send(self, lines: str, *, must: bool = False) -> None:
        """Send one message, under the lock; what `must` be sent is sent later if it fails."""
        if self._socket is None:
            return
        if must:
            self._owed = ""
        try:
            self._socket.sendto(lines.encode(), self._target.address)
        except OSError as error:
            if must:
                self._owed = lines
            if not self._failed:
                self._failed = True
                where = self._target.address.replace("\0", "@", 1)
                logger.warning(
                    "NOTIFY_SOCKET %r: systemd is not notified: %s", where, error.strerror
                )
