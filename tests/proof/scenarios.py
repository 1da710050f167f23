"""What is explored: the real code between a loop and a worker, in small sizes.

Each function returns a scenario: given a run, it spawns the loop's actor, whose program is a
coroutine on a stepped loop, and returns what tells the outcome. All checks are those of the table
in docs/proof.md.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Hashable, Iterator
from types import SimpleNamespace
from typing import Any

from asyncrev import Bridge, Channel, Limits
from asyncrev.bridge.lane import Lane
from asyncrev.errors import BridgeStopped, ChannelClosed, WorkerDied
from asyncrev.frames.registry import as_framing
from asyncrev.ring import channel
from asyncrev.ring.loop_side import LoopSide
from asyncrev.ring.plane import CREDIT, END, OTHER, Plane
from asyncrev.ring.ring import DATA, Ring
from asyncrev.ring.row import Row
from asyncrev.ring.thread_side import ThreadSide
from asyncrev.statistics import BridgeStatistics
from asyncrev.work import make_work
from asyncrev.work.tls_parameters import TlsParameters
from asyncrev.work.worker import Worker
from tests.proof.scheduler import Run
from tests.proof.stepped import LOOP, WORKER, HookedLoop, Scenario, SteppedLoop
from tests.support import results

__all__ = ["bridge", "channel_of", "limits_of", "pipe", "plane", "submissions"]

Main = Callable[[Run, SteppedLoop], Coroutine[Any, Any, Hashable]]


def on_loop(main: Main, *, hooked: bool) -> Scenario:
    """Return the scenario in which the loop's thread runs `main`; its result is the outcome."""

    def scenario(run: Run) -> Callable[[], Hashable]:
        loop = HookedLoop(run) if hooked else SteppedLoop(run)

        def body() -> None:
            run.outcome = loop.run_until_complete(main(run, loop))

        def conclude() -> Hashable:
            if loop.errors:
                run.forbid("LOST", f"the loop's exception handler got {loop.errors}")
            return run.outcome

        run.spawn(LOOP, body)
        return conclude

    return scenario


def read_slowly(run: Run, view: memoryview | bytes) -> bytes:
    """Return what is in `view`, looking twice; between, others may do what they must not."""
    before = bytes(view)
    run.point("read on")
    if bytes(view) != before:
        run.forbid("REUSED", f"{before!r} became {bytes(view)!r} while it was read")
    return before


def next_of(run: Run, chunks: Iterator[bytes], view: memoryview) -> bytes:
    """Return the chunk in `view`, which must be the next one."""
    chunk, expected = read_slowly(run, view), next(chunks, None)
    if chunk != expected:
        run.forbid("REORDERED", f"the worker got {chunk!r} instead of {expected!r}")
    return chunk


def judge(run: Run, got: list[bytes], wanted: list[bytes], *, whole: bool) -> None:
    """Forbid all that `got` must not be: the first of `wanted`, or with `whole` all of them."""
    if foreign := [reply for reply in got if reply not in wanted]:
        run.forbid("CROSSED", f"{foreign} came, of {wanted}")
    if len(set(got)) < len(got):
        run.forbid("DOUBLED", f"{got} came, of {wanted}")
    if got != sorted(got, key=wanted.index):
        run.forbid("REORDERED", f"{got} came, of {wanted}")
    if got != wanted[: len(got)] or (whole and len(got) < len(wanted)):
        run.forbid("LOST", f"only {got} came, of {wanted}")


# -- the ring and its sides ------------------------------------------------------------------------


class Job:
    """An owner in the ring: checks that its chunks come in order, and turns each round in place."""

    def __init__(self, run: Run, chunks: list[bytes]) -> None:
        self.run = run
        self.work = self
        self.plain = None
        self.chunks = iter(chunks)

    def do(self, entry: Any, *_: object) -> None:
        """Do what `LaneWork.do` is for."""
        view = entry.view[: entry.nbytes]
        view[:] = next_of(self.run, self.chunks, view)[::-1]
        entry.result = view


def pipe(nchunks: int, nentries: int, *, hooked: bool, most: int = 64, apart: bool) -> Scenario:
    """The real ring, sides, wake-ups and worker; chunks come one per iteration (`apart`), or all.

    A delivery takes at most `most` entries; the next chunks are published as soon as they fit.
    """
    chunks = [bytes([65 + n, 97 + n]) for n in range(nchunks)]
    wanted = [chunk[::-1] for chunk in chunks]

    async def main(run: Run, loop: SteppedLoop) -> Hashable:
        ring, parker = channel.Ring(nentries, 2), channel.Parker()
        side = LoopSide(ring, parker)
        job, got = Job(run, chunks), []
        left = iter(chunks)
        room, ended = asyncio.Event(), asyncio.Event()

        def on_results() -> bool:
            entries = results(ring, most)
            for entry in entries:
                got.append(read_slowly(run, entry.result))
            ring.release(len(entries))
            room.set()
            return ring.processed_seq != ring.released_seq

        def on_end(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(ended.set)
            if error is not None:
                raise error

        pool: Any = SimpleNamespace(reclaim=lambda: None, lent_bytes=0)
        thread_side = ThreadSide(ring, parker, side.signal, Plane(ring, nentries, 1 << 20))
        worker = Worker(thread_side, pool, on_end, name=WORKER)
        worker.start()
        side.bind(loop, on_results)
        for chunk in left:
            while (slot := ring.try_claim()) is None:
                room.clear()
                await room.wait()
            slot[:] = chunk
            ring.publish(job, DATA, slot, 2)
            if not side.flush_is_due:
                side.flush_soon()
            if apart:
                await asyncio.sleep(0)
        while len(got) < nchunks:
            room.clear()
            await room.wait()
        side.close()
        await ended.wait()
        side.unbind()
        judge(run, got, wanted, whole=True)
        return len(got)

    return on_loop(main, hooked=hooked)


# -- the plane -------------------------------------------------------------------------------------


class Socket:
    """A connection's socket: gives a chunk per receive, and takes of the first reply a part."""

    def __init__(self, run: Run, number: int, nchunks: int) -> None:
        self.run = run
        self.chunks = [bytes([65 + number, 48 + n]) for n in range(nchunks)]
        self.left = iter(self.chunks)
        self.got = b""
        self.is_short = True
        # `make_work` is the one that the exploration has a stand-in for.
        work = make_work.RawWork(lambda: Turner(run, self.chunks), views_allowed=True)
        self.row = Row(work)

    def recv_into(self, view: memoryview) -> int:
        """Give the next chunk."""
        chunk = next(self.left, None)
        if chunk is None:
            raise BlockingIOError
        view[:2] = chunk
        return 2

    def send(self, data: memoryview | bytes) -> int:
        """Take a reply; of the first only a byte."""
        sent = read_slowly(self.run, data)
        if self.is_short:
            self.is_short, sent = False, sent[:1]
        self.got += sent
        return len(sent)

    def take(self, plane: Plane, ring: Ring, outcome: Any) -> None:
        """Do what is left of an entry at which the plane has stopped."""
        if outcome != CREDIT:
            _, _, nbytes, _ = ring.returned(ring.delivered_seq - 1)
            result = ring.result(ring.delivered_seq - 1)
            sent_bytes = 0 if outcome == OTHER else outcome
            assert isinstance(result, memoryview)
            self.got += read_slowly(self.run, result[sent_bytes:])
            self.row.in_flight_entries -= 1
            self.row.in_flight_bytes -= nbytes
        self.row.waits_for_credit = False
        self.row.reads = True


def plane(chunks: tuple[int, ...], nentries: int, *, hooked: bool, most_entries: int) -> Scenario:
    """The real plane between scripted sockets, one for each of `chunks`, which is how many come.

    Each may have `most_entries` in flight. What does not fit is received when it does.
    """

    async def main(run: Run, loop: SteppedLoop) -> Hashable:
        ring, parker = channel.Ring(nentries, 2), channel.Parker()
        side, one = LoopSide(ring, parker), Plane(ring, most_entries, 1 << 20)
        sockets = [Socket(run, number, nchunks) for number, nchunks in enumerate(chunks)]
        of_row = {sock.row: sock for sock in sockets}
        room, ended = asyncio.Event(), asyncio.Event()
        for number, sock in enumerate(sockets):
            one.open(number, sock.row, sock.recv_into, sock.send)
            sock.row.reads = sock.row.sends = True

        def on_results() -> bool:
            while (outcome := one.deliver(ring.processed_seq)) != END:
                owner = ring.owner(ring.delivered_seq - 1)
                of_row[owner].take(one, ring, outcome)
            ring.release(ring.delivered_seq - ring.released_seq)
            room.set()
            return ring.processed_seq != ring.released_seq

        def on_end(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(ended.set)
            if error is not None:
                raise error

        pool: Any = SimpleNamespace(reclaim=lambda: None, lent_bytes=0)
        thread_side = ThreadSide(ring, parker, side.signal, one)
        worker = Worker(thread_side, pool, on_end, name=WORKER)
        worker.start()
        side.bind(loop, on_results)
        events, index = [(number, 1) for number in range(len(sockets))], 0
        while ring.released_seq < sum(chunks):
            index, outcome = one.receive(events, index)
            if not side.flush_is_due:
                side.flush_soon()
            if outcome != END:
                sockets[index].row.reads = outcome == OTHER
                index += 1
                continue
            index = 0
            if any(sock.row.in_flight_entries for sock in sockets):
                room.clear()
                await room.wait()
        side.close()
        await ended.wait()
        side.unbind()
        for sock in sockets:
            parts = [sock.got[off : off + 2] for off in range(0, len(sock.got), 2)]
            judge(run, parts, [chunk[::-1] for chunk in sock.chunks], whole=True)
        return ring.released_seq

    return on_loop(main, hooked=hooked)


# -- the bridge ------------------------------------------------------------------------------------


class Turner:
    """A processor that turns its chunks round in place, and answers the end with a full stop."""

    def __init__(self, run: Run, chunks: list[bytes]) -> None:
        self.run = run
        self.chunks = iter(chunks)

    def process(self, chunk: memoryview) -> memoryview:
        """Answer a chunk, which must be the next one."""
        chunk[:] = next_of(self.run, self.chunks, chunk)[::-1]
        return chunk

    def eof(self) -> bytes:
        """Answer the end, before which all chunks must have come."""
        if next(self.chunks, None) is not None:
            self.run.forbid("EARLY_END", "the processor was told the end before the last chunk")
        return b"."


class Peer:
    """One connection: sends its chunks as it gets credit, then the end; checks what comes back."""

    engine: Any = None  # answers later, in the place of the processor

    def __init__(
        self,
        run: Run,
        bridge: Bridge,
        number: int,
        nchunks: int,
        framed: bool,
        tls: TlsParameters | None = None,
    ) -> None:
        self.run = run
        self.bridge = bridge
        # Framed, every two chunks are a line: it begins in one and ends in the next.
        self.chunks = [bytes([65 + number, 48 + n]) for n in range(nchunks)]
        payloads = self.chunks
        if framed:
            payloads = [chunk * 2 for chunk in payloads]
            self.chunks = [cut for line in payloads for cut in (line[:2], line[2:] + b"\n")]
        self.wanted = [chunk[::-1] + b"\n" * framed for chunk in payloads]
        self.wanted.append(b"." + b"\n" * framed)
        self.got: list[bytes] = []
        self.end = ""
        self.changed = asyncio.Event()
        self.has_credit = True
        self.payloads = payloads
        self.lane: Lane = bridge.open(
            self,
            self.factory(),
            views_allowed=True,
            framing=as_framing("line" if framed else "raw"),
            tls=tls,
            engine=self.engine,
        )

    def factory(self) -> Callable[[], Turner]:
        """Return what makes the processor for the payloads."""
        return lambda: Turner(self.run, self.payloads)

    async def send(self) -> None:
        """Send all, and wait for the end, or for an error."""
        admission = self.bridge.parts.admission
        for chunk in self.chunks:
            while not self.has_credit and not self.end:
                self.changed.clear()
                await self.changed.wait()
            if self.end or self.lane.sink is None:
                break
            view = admission.claim(self.lane)
            view[: len(chunk)] = chunk
            self.has_credit = admission.publish(self.lane, len(chunk))
            await asyncio.sleep(0)
        if not self.end and self.lane.sink is not None:
            admission.publish_eof(self.lane)
        while not self.end:
            self.changed.clear()
            await self.changed.wait()

    def close(self) -> None:
        """Give the lane up."""
        self.bridge.close_lane(self.lane)
        self.end = self.end or "closed"
        self.changed.set()

    def check(self) -> None:
        """Look at what came: after the end of input everything, else the beginning of it."""
        judge(self.run, self.got, self.wanted, whole=self.end == "end")

    def _alive(self, call: str) -> None:
        if self.end:
            self.run.forbid("AFTER_END", f"{call} after {self.end}")

    def on_reply(self, reply: Any) -> None:
        """Read it slowly."""
        self._alive("on_reply")
        pieces = reply if isinstance(reply, tuple) else (reply,)
        self.got.append(b"".join([read_slowly(self.run, piece) for piece in pieces]))

    def on_end(self) -> None:
        """Take note; everything must have come."""
        self._alive("on_end")
        judge(self.run, self.got, self.wanted, whole=False)
        if self.got != self.wanted:
            self.run.forbid("EARLY_END", f"the end came after {self.got}, of {self.wanted}")
        self.end = "end"
        self.changed.set()

    def on_error(self, error: BaseException) -> None:
        """Take note. A lane whose end was told may hear of the bridge's end."""
        if self.end != "end" or not isinstance(error, (BridgeStopped, WorkerDied)):
            self._alive("on_error")
        self.end = self.end or type(error).__name__
        self.changed.set()

    def on_credit(self) -> None:
        """Go on sending."""
        self._alive("on_credit")
        self.has_credit = True
        self.changed.set()

    def on_sweep(self, now_s: float) -> None:
        """Time stands still."""


def defect_at(nth: int) -> Callable[[], None]:
    """Return a function that raises when it is called the nth time."""
    calls = itertools.count(1)

    def defect() -> None:
        if next(calls) == nth:
            raise RuntimeError("a defect")

    return defect


def limits_of(slots: int, entries: int, slot_bytes: int = 2, **more: Any) -> Limits:
    """Return the settings of a bridge with a small ring; the longest chunk of a line has three."""
    return Limits(
        slots=slots, entries=entries, slot_bytes=slot_bytes, overflow_bytes=slot_bytes, **more
    )


def bridge(
    chunks: tuple[int, ...],
    *,
    limits: Limits,
    hooked: bool,
    meanwhile: str = "",
    framed: bool = False,
) -> Scenario:
    """A real bridge, and a connection for each of `chunks`, which is how many it sends.

    `meanwhile`, at every moment: "close" of the first connection's lane, "stop" of the bridge, or
    "die", a defect by which the worker dies in the second chunk of the first connection.
    """

    async def main(run: Run, loop: SteppedLoop) -> Hashable:
        one = Bridge(limits)
        one.start()
        peers = [Peer(run, one, n, nchunks, framed) for n, nchunks in enumerate(chunks)]
        if meanwhile == "close":
            run.spawn("user", lambda: loop.call_soon_threadsafe(peers[0].close))
        elif meanwhile == "stop":
            run.spawn("user", lambda: one.stop(1))
        elif meanwhile == "die":
            one.parts.worker._pool = SimpleNamespace(  # type: ignore[assignment]
                reclaim=defect_at(2), lent_bytes=0
            )
        await asyncio.gather(*(peer.send() for peer in peers))
        for peer in peers:
            peer.close()
        await one.close()
        for peer in peers:
            peer.check()
        if meanwhile == "die":
            loop.errors.clear()
            return tuple((peer.end, len(peer.got)) for peer in peers)
        pool = nothing_is_left(run, one).pool
        if framed and not (pool.reclaimed and pool.allocations):
            run.forbid("LOST", "no block was lent, so nothing was tried")
        return tuple((peer.end, len(peer.got)) for peer in peers)

    return on_loop(main, hooked=hooked)


def nothing_is_left(run: Run, one: Bridge) -> BridgeStatistics:
    """Return the statistics of a bridge that was closed; forbid what it must not have any more."""
    statistics = one.statistics()
    if not statistics.published == statistics.processed == statistics.released:
        run.forbid("LOST", f"entries were left in the ring: {statistics}")
    if statistics.lanes or statistics.waiting_lanes:
        run.forbid("ASLEEP", f"lanes were left: {statistics}")
    return statistics


def submissions(nchunks: int, *, limits: Limits, hooked: bool, cancelled: bool) -> Scenario:
    """Two submissions of `nchunks` chunks each on a bridge; the first is cancelled at any moment.

    Whether it is in time or not, the second gets its whole answer, and the bridge forgets both.
    """
    data = [b"".join(bytes([65 + n, 97 + k]) for k in range(nchunks)) for n in range(2)]

    async def main(run: Run, loop: SteppedLoop) -> Hashable:
        one = Bridge(limits)
        one.start()

        def turner(n: int) -> Callable[[], Turner]:
            chunks = [data[n][off : off + 2] for off in range(0, 2 * nchunks, 2)]
            return lambda: Turner(run, chunks)

        tasks = [loop.create_task(one.submit(data[n], turner(n))) for n in range(2)]
        if cancelled:
            run.spawn("user", lambda: loop.call_soon_threadsafe(tasks[0].cancel))
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        if any(lane.sink is not None for lane in one.parts.lanes):
            run.forbid("LOST", "the lane of a submission that is over was left open")
        await one.close()
        for n, answer in enumerate(answers):
            turned = b"".join(data[n][off : off + 2][::-1] for off in range(0, 2 * nchunks, 2))
            if isinstance(answer, bytes):
                judge(run, [answer], [turned + b"."], whole=True)
            elif n or not isinstance(answer, asyncio.CancelledError):
                run.forbid("LOST", f"submission {n} came to {answer!r}")
        statistics = one.statistics()
        if statistics.lanes or statistics.published != statistics.released:
            run.forbid("LOST", f"something of the submissions is left: {statistics}")
        return tuple(type(answer).__name__ for answer in answers)

    return on_loop(main, hooked=hooked)


# -- the channel -----------------------------------------------------------------------------------


def channel_of(
    nbuffers: int, nslots: int, *, hooked: bool, meanwhile: str = "", answers: int = -1
) -> Scenario:
    """A real channel: one coroutine puts, one gets, a thread answers.

    `meanwhile`, at every moment: "cancel put" or "cancel get", of the coroutine, which then goes on
    where it was; "close" of the loop's side by the putter, before it has put all. The thread closes
    its side after `answers` answers, if that is not negative.
    """
    buffers = [bytes([65 + n, 97 + n]) for n in range(nbuffers)]
    wanted = [buffer[::-1] for buffer in buffers]

    async def main(run: Run, loop: SteppedLoop) -> Hashable:
        one = Channel(nslots, 2)
        put, got = [], []
        left = iter(buffers)

        async def putter() -> None:
            while len(put) < nbuffers:
                await one.loop_side.put(buffers[len(put)])
                put.append(buffers[len(put)])

        async def getter() -> None:
            while True:
                got.append(await one.loop_side.get())

        def thread() -> None:
            side = one.thread_side
            try:
                for n in itertools.count():
                    if n == answers:
                        side.close()
                        return
                    view = side.get()
                    side.put(next_of(run, left, view)[::-1])
            except ChannelClosed:
                side.close()

        async def stubborn(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
            victims.append(loop.create_task(work()))
            with contextlib.suppress(ChannelClosed):
                try:
                    await victims[-1]
                except asyncio.CancelledError:
                    await work()

        victims: list[asyncio.Task[None]] = []
        run.spawn(WORKER, thread)
        tasks = [loop.create_task(stubborn(work)) for work in (putter, getter)]
        await asyncio.sleep(0)
        if meanwhile.startswith("cancel"):
            victim = victims[meanwhile == "cancel get"]
            run.spawn("user", lambda: loop.call_soon_threadsafe(victim.cancel))
        elif meanwhile == "close":
            run.spawn("user", lambda: loop.call_soon_threadsafe(one.loop_side.close))
        await tasks[0]
        one.loop_side.close()
        await tasks[1]
        judge(run, got, wanted[: len(put)], whole=answers < 0)
        return len(put), len(got)

    return on_loop(main, hooked=hooked)
