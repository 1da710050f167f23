"""What is explored of replies that come later: real lanes; an engine answers the last first."""

import asyncio
from collections.abc import Hashable
from typing import Any

from asyncrev import Bridge, Limits
from tests.proof.scenarios import Peer, Turner, nothing_is_left, on_loop
from tests.proof.scheduler import Run
from tests.proof.stepped import Scenario, SteppedLoop

__all__ = ["pending"]

LOST = "the executor's worker was lost"


class ReversingEngine:
    """Answers the request that was started last, then the one before; by the loop, or a thread."""

    calls_connected = False
    calls_eof = True
    timeout_s = None

    def __init__(self, run: Run, loop: SteppedLoop, fails_at: int) -> None:
        self.run = run
        self.loop = loop
        self.jobs: list[Any] = []
        self.nth = 0
        self.fails_at = fails_at
        self.by_thread = False
        self.running_high = 0

    def open_lane(self) -> None: ...

    def close_lane(self, state: None) -> None: ...

    def start(self, job: Any) -> None:
        self.jobs.append(job)
        self.running_high = max(self.running_high, len(self.jobs))
        if not self.by_thread:
            self.loop.call_soon(self.answer)

    def cancel(self, job: Any) -> None:
        if job in self.jobs:
            self.loop.call_soon(job.finish, None, RuntimeError("cancelled"))
            self.jobs.remove(job)

    def answer(self) -> None:
        """Answer one, if there is one."""
        if not self.jobs:
            return
        job = self.jobs.pop()
        self.nth += 1
        if self.nth == self.fails_at:
            job.finish(None, RuntimeError(LOST))
        else:
            job.finish(job.request.payload[::-1] or b".")

    def answer_all(self) -> None:
        """Answer everything, and what is begun from now on soon."""
        self.by_thread = False
        for _ in range(len(self.jobs)):
            self.loop.call_soon(self.answer)


class PendingPeer(Peer):
    """One connection whose replies come later."""

    def __init__(
        self, run: Run, bridge: Bridge, number: int, nchunks: int, framed: bool, engine: Any
    ) -> None:
        self.engine = engine
        super().__init__(run, bridge, number, nchunks, framed)

    def factory(self) -> Any:
        """Return what nobody calls."""
        return Turner

    def on_reply(self, reply: Any) -> None:
        """Several replies may come together: take them apart."""
        super().on_reply(reply)
        together = self.got.pop()
        while together:
            nbytes = min(len(self.wanted[0]), len(together))
            self.got.append(together[:nbytes])
            together = together[nbytes:]


def pending(
    chunks: tuple[int, ...],
    *,
    limits: Limits,
    hooked: bool,
    meanwhile: str = "",
    framed: bool = True,
    fails_at: int = 0,
) -> Scenario:
    """A real bridge, and a connection for each of `chunks`, which is how many it sends.

    `meanwhile`, at every moment: "close" of the first connection's lane, "stop" of the bridge, or
    "answer", all replies, by a thread. `fails_at`: which request fails.
    """

    async def main(run: Run, loop: SteppedLoop) -> Hashable:
        one = Bridge(limits)
        one.start()
        engine = ReversingEngine(run, loop, fails_at)
        peers = [
            PendingPeer(run, one, n, nchunks, framed, engine) for n, nchunks in enumerate(chunks)
        ]
        if meanwhile == "close":
            run.spawn("user", lambda: loop.call_soon_threadsafe(peers[0].close))
        elif meanwhile == "stop":
            run.spawn("user", lambda: one.stop(1))
        elif meanwhile == "answer":
            engine.by_thread = True

            def answer() -> None:
                loop.call_soon_threadsafe(engine.answer)
                loop.call_soon_threadsafe(engine.answer_all)

            run.spawn("user", answer)
        await asyncio.gather(*(peer.send() for peer in peers))
        for peer in peers:
            peer.close()
        await one.close()
        for peer in peers:
            peer.check()
        nothing_is_left(run, one)
        while engine.jobs:
            engine.answer()
        await asyncio.sleep(0)  # what was cancelled has ended now
        left = one.parts.pending
        if left.count or left.running or left.held_bytes or left.waiting_lanes:
            run.forbid("LOST", f"{left.statistics()} were left")
        if engine.running_high > limits.pending_total:
            run.forbid("CROSSED", f"{engine.running_high} requests ran at once")
        return tuple((peer.end, len(peer.got)) for peer in peers)

    return on_loop(main, hooked=hooked)
