"""One worker, as the supervisor knows it: its state, its connections, what it was told.

A connection that was handed over stays open here until the worker says that it has taken it, and it
says so before it reads anything. So a worker that dies earlier loses none: `untaken` has them.
"""

import asyncio
import enum
import json
import logging
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from asyncrev.bridge.running_time import RunningTimer
from asyncrev.supervisor.causes import Cause
from asyncrev.supervisor.channel import Channel, plain_address
from asyncrev.supervisor.ledger import SLOW_TAKE_S, Ledger
from asyncrev.supervisor.plan import Plan
from asyncrev.supervisor.process import Command, WorkerProcess

__all__ = ["HandleState", "Owner", "WorkerHandle"]

logger = logging.getLogger("asyncrev")

LAST_PACKETS_S = 0.2  # how long the packets of a process that has ended may take
MUTE_S = 1.0  # how long a process may take to end after its packets have ended
END_S = 2.0  # from an order to end at once to SIGKILL


class HandleState(enum.Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"  # it drains, or was told to
    ENDED = "ended"


class Owner(Protocol):
    """Whom a handle tells what happens. Thread: the loop's."""

    def note_ready(self, worker: "WorkerHandle") -> None:
        """It serves."""

    def note_place(self) -> None:
        """Some worker may take a connection that could not before."""

    def note_untaken(self, connections: Sequence[tuple[socket.socket, Any]]) -> None:
        """A worker has no descriptors for these connections."""

    def note_leaving(self, worker: "WorkerHandle") -> None:
        """It drains, though nobody here has told it to."""

    def note_stop_word(self) -> None:
        """A client has asked for the end of the service."""

    def note_mute(self, worker: "WorkerHandle") -> None:
        """It says nothing any more, as it ends; it has not taken what `take_untaken` returns."""

    def note_end(self, worker: "WorkerHandle", cause: Cause) -> None:
        """Its process has ended."""


class WorkerHandle:
    """One worker from its start to its end. All methods: the loop's thread.

    Attributes:
        slot: the number of its place, from 0.
        plan: what it was started with.
        state: where it is in its life.
        fields: what it said of itself when it was ready.
        failure: why it could not start, in its own words, or "".
        started_s, ready_s: when it was started, and became ready, on the loop's clock; 0 if not.
        moved_s: when its loop last moved, on `clock`.
        thread_idle_s: for how long a worker thread of it that has something to do has not moved, as
            of its last beat.
        is_hung: whether it is ended because it did not move.
        ended: set when its process has ended and its last packets are read.
    """

    def __init__(
        self,
        command: Command,
        owner: Owner,
        *,
        slot: int,
        plan: Plan,
        workers: int,
        listening: Sequence[int] = (),
        clock: Callable[[], float],
    ) -> None:
        """Start its process.

        Args:
            command: what to start.
            owner: whom to tell.
            slot, plan: see above.
            workers: how many slots there are.
            listening: descriptors of listening sockets that it accepts from itself.
            clock: a time that stands still while this process does not run.

        Raises:
            OSError: there can be no such process.
        """
        self.slot = slot
        self.plan = plan
        self.state = HandleState.STARTING
        self.fields: dict[str, Any] = {}
        self.failure = ""
        self.started_s = asyncio.get_running_loop().time()
        self.ready_s = 0.0
        self.moved_s = clock()
        self.thread_idle_s = 0.0
        self.is_hung = False
        self.ended = asyncio.Event()
        self._owner = owner
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._ledger = Ledger(accepts_itself=bool(listening))
        self._owns_questions = True
        self._cause: Cause | None = None
        self._packets_end: asyncio.TimerHandle | None = None
        self._leaving_timer: RunningTimer | None = None
        self._process = WorkerProcess(command, listening, self._note_process_end)
        self._channel_open = True
        self._channel = Channel(self._process.control, self._receive, self._note_channel_end)
        self._setting_up = self._loop.create_task(
            self._set_up(plan.setup_of(slot, workers, listening))
        )

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def take_questions(self) -> socket.socket:
        """Return our end of the pair for questions, the caller's from now on, once it is ready."""
        self._owns_questions = False
        return self._process.questions

    @property
    def stacks(self) -> str:
        """The stacks of its threads, if it wrote some before it ended."""
        return self._process.stacks

    @property
    def connections(self) -> int:
        """How many connections it has or is about to have."""
        return self._ledger.load

    def take_untaken(self) -> list[tuple[socket.socket, Any]]:
        """Return the connections that it has not taken, once, in their order, with addresses."""
        return self._ledger.take_untaken()

    def load(self, *, at_the_end: bool = False) -> int | None:
        """Return how many connections it has or is about to have; None if it takes none now.

        `at_the_end`: it takes any number, because nobody will take them later.
        """
        load, is_ready = self._ledger.load, self.state is HandleState.READY
        if not is_ready or at_the_end:
            return load if is_ready else None
        is_full = load >= self.plan.most_connections
        return None if is_full or self._ledger.takes_nothing(self._loop.time()) else load

    @property
    def has_room(self) -> bool:
        """Whether a connection can be on its way to it; who has to wait for that is served soon."""
        return self._ledger.has_room

    # -- what it is told ---------------------------------------------------------------------

    def hand(self, sock: socket.socket, address: Any) -> None:
        """Give it a connection, whose socket is its own from now on."""
        self._ledger.give(sock, address, self._loop.time())
        if not self.has_room:  # the next one waits for it, but not for ever
            self._loop.call_later(SLOW_TAKE_S, self._owner.note_place)
        packet = {"kind": "connection", "address": plain_address(address)}
        self._channel.send(packet, [sock.fileno()])

    def drain(self) -> None:
        """Have it take what it was given, answer what has arrived, and end."""
        if self.state is HandleState.STARTING:
            self.close()
        elif self.state is HandleState.READY:
            self.state = HandleState.LEAVING
            self._channel.send({"kind": "drain"})
            self.bound_leaving()

    def bound_leaving(self) -> None:
        """Treat it as hung if its drain takes longer than the plan says."""
        if self._leaving_timer is None and math.isfinite(self.plan.drain_s):
            self._leaving_timer = RunningTimer(self._loop, self.plan.drain_s, self.end_hung)

    def close(self) -> None:
        """Have it end at once."""
        if self.state is HandleState.ENDED:
            return
        if self.state is HandleState.STARTING or not self._channel_open:  # it reads nothing
            self._process.end_soon(END_S)
        else:
            self._channel.send({"kind": "close"})
            self._process.kill_after(END_S)
        self.state = HandleState.LEAVING

    @property
    def name(self) -> str:
        """Its name in the log."""
        return f"worker {self.slot} (pid {self.pid})"

    def reopen(self) -> None:
        """Have it open its files again."""
        if self.state in (HandleState.READY, HandleState.LEAVING):
            self._channel.send({"kind": "reopen"})

    def end_hung(self) -> None:
        """End its process, which does not move."""
        if self.state is not HandleState.ENDED:
            self.state = HandleState.LEAVING
            self.is_hung = True
            self._process.end_hung()

    # -- what it says ------------------------------------------------------------------------

    async def _set_up(self, setup: Mapping[str, Any]) -> None:
        line = json.dumps({"setup": setup}).encode() + b"\n"
        try:
            await self._loop.sock_sendall(self._process.questions, line)
        except OSError:
            pass  # it has ended, which is seen elsewhere

    def _receive(self, packet: dict[str, Any], _: list[int]) -> None:
        self.moved_s = self._clock()
        match packet.get("kind"):
            case "ready":
                if self.state is HandleState.STARTING:
                    self.state = HandleState.READY
                    self.ready_s = self._loop.time()
                    self.fields = packet.get("fields", {})
                    self._owner.note_ready(self)
            case "beat":
                self.thread_idle_s = packet["thread_idle_s"]
                self._ledger.note_beat(packet["connections"], packet["ended"])
                self._owner.note_place()
            case "taken":
                self._ledger.note_taken(packet["total"], self._loop.time())
                self._owner.note_place()
            case "untaken":
                untaken = self._ledger.note_untaken(packet["total"], self._loop.time())
                self._owner.note_untaken(untaken)
            case "draining":
                if self.state is HandleState.READY:
                    self.state = HandleState.LEAVING
                    # It waits for this, which is behind all connections that it was given.
                    self._channel.send({"kind": "drain"})
                    self._owner.note_leaving(self)
            case "stop_service":
                self._owner.note_stop_word()
            case "failed":
                self.failure = str(packet.get("text", ""))
            case kind:
                logger.error("worker %d: a packet that is not known: %r", self.slot, kind)

    # -- its end -----------------------------------------------------------------------------

    def _note_channel_end(self) -> None:
        self._channel_open = False
        if self._cause is not None:
            self._finish()
            return
        self._owner.note_mute(self)
        self._packets_end = self._loop.call_later(MUTE_S, self._leave_mute)

    def _leave_mute(self) -> None:
        """Have another one take its place: it lives, and nobody can tell it anything."""
        if self.state is HandleState.READY:
            self.state = HandleState.LEAVING
            self._owner.note_leaving(self)

    def _note_process_end(self, cause: Cause) -> None:
        self._cause = cause
        if self._channel_open:  # what it sent last, such as why it failed, may not be read yet
            self._packets_end = self._loop.call_later(LAST_PACKETS_S, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        if self.state is HandleState.ENDED:
            return
        assert self._cause is not None
        self.state = HandleState.ENDED
        if self._packets_end is not None:
            self._packets_end.cancel()
        if self._leaving_timer is not None:
            self._leaving_timer.cancel()
        self._channel.close()
        self._setting_up.cancel()
        if self._owns_questions:
            self._process.questions.close()
        self.ended.set()
        self._owner.note_end(self, self._cause)
