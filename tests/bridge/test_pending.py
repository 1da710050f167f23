"""pending: replies that come later keep order and bounds, whatever order they come in."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Bridge, Limits
from asyncrev.errors import FrameTooLarge, PeerRefused, ProcessorError, ProcessorTimeout
from asyncrev.work.requests import RequestKind
from tests.pending import PendingSink, ScriptedEngine
from tests.strategies import QUICK
from tests.support import until

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])
LIMITS = Limits(
    slots=8,
    slot_bytes=512,
    in_flight_bytes=2048,
    max_frame_bytes=400,
    partial_frame_bytes=1024,
    pool_connection_bytes=4096,
    pool_bytes=8192,
    pending_per_connection=4,
    pending_total=6,
    pending_total_bytes=2000,
)


def len32(*payloads: bytes) -> bytes:
    return b"".join(len(one).to_bytes(4, "big") + one for one in payloads)


def assert_nothing_is_left(bridge: Bridge) -> None:
    pending = bridge.parts.pending
    assert (pending.count, pending.running, pending.held_bytes) == (0, 0, 0)
    assert pending.waiting_lanes == 0


@EPOLL
async def test_replies_go_out_in_the_order_of_their_frames() -> None:
    """The last one is ready first, and waits for all others."""
    engine = ScriptedEngine()
    async with Bridge(LIMITS) as bridge:
        sink = PendingSink(bridge, engine, "len32")
        sink.send(len32(b"a", b"b", b"c"))
        await until(lambda: len(engine.jobs) == 3, "all three run")
        for job in reversed(engine.jobs[1:]):
            engine.finish(job, job.request.payload.upper())
        await asyncio.sleep(0)
        assert not sink.received
        assert sink.lane.is_owed
        engine.finish_all()
        await until(lambda: sink.received == len32(b"A", b"B", b"C"), "all are answered")
        assert not sink.lane.is_owed
        assert_nothing_is_left(bridge)


@EPOLL
async def test_one_connection_has_a_number_of_requests_and_no_more() -> None:
    """What is beyond it stays input, and is begun as replies are given out."""
    engine = ScriptedEngine()
    async with Bridge(LIMITS) as bridge:
        sink = PendingSink(bridge, engine, "line")
        sink.send(b"".join(b"%d\n" % number for number in range(100)))
        await until(lambda: len(engine.jobs) == 4, "as many run as one lane may have")
        await until(lambda: sink.lane.in_flight_entries == 0, "the entries are back")
        assert sink.lane.in_flight_bytes > 0
        assert bridge.parts.pending.count == 4
        for _ in range(200):
            engine.finish_all()
            await asyncio.sleep(0.001)
            if sink.received.count(b"\n") == 100:
                break
        assert sink.received == b"".join(b"%d\n" % number for number in range(100))
        assert engine.running_high == 4
        assert_nothing_is_left(bridge)


@EPOLL
async def test_all_connections_have_a_number_together_and_take_turns() -> None:
    """The place that becomes free goes to the lane that has waited longest."""
    engine = ScriptedEngine()
    async with Bridge(LIMITS) as bridge:
        first, second, third = (PendingSink(bridge, engine, "line") for _ in range(3))
        for sink, name in ((first, b"a"), (second, b"b"), (third, b"c")):
            sink.send((name + b"\n") * 4)
            await until(lambda sink=sink: sink.lane.pending.is_owed, "its requests are here")
        assert len(engine.jobs) == 6
        assert engine.running_high == 6
        began = [job.request.payload for job in engine.jobs]
        while engine.jobs:
            engine.finish(engine.jobs[0], b"x")
            began += [job.request.payload for job in engine.jobs[5:]]
        assert began.count(b"c") == 4
        assert b"c" in began[6:8], "the lane that came last starts next"
        await until(
            lambda: all(sink.received == b"x\n" * 4 for sink in (first, second, third)),
            "all are answered",
        )
        assert engine.running_high == 6
        assert_nothing_is_left(bridge)


@EPOLL
async def test_bytes_have_a_bound_but_a_lane_without_any_may_start_one() -> None:
    """What a peer does not take holds bytes, and stops its own lane, not others."""
    engine = ScriptedEngine()
    limits = LIMITS.replace(pending_total_bytes=500, pending_total=100)
    async with Bridge(limits) as bridge:
        hog, other = PendingSink(bridge, engine, "len32"), PendingSink(bridge, engine, "len32")
        bridge.set_stalled(hog.lane, True)
        hog.send(len32(b"h" * 10, b"h" * 10, b"h" * 10))
        await until(lambda: len(engine.jobs) == 3, "all run")
        engine.finish(engine.jobs[0], b"H" * 390)
        engine.finish(engine.jobs[0], b"H" * 390)
        hogged = engine.jobs.pop()
        assert bridge.parts.pending.held_bytes > 500
        other.send(len32(b"o", b"p"))
        await until(lambda: engine.jobs, "the other one has started")
        await until(lambda: bridge.parts.pending.waiting_lanes == 1, "it waits for bytes")
        assert [job.request.payload for job in engine.jobs] == [b"o"]
        engine.finish(engine.jobs[0], b"O")
        await until(lambda: engine.jobs, "its next one")
        assert [job.request.payload for job in engine.jobs] == [b"p"]
        engine.finish(engine.jobs[0], b"P")
        await until(lambda: other.received == len32(b"O", b"P"), "it is answered")
        assert not hog.received
        bridge.set_stalled(hog.lane, False)
        engine.jobs.append(hogged)
        engine.finish_all()
        await until(lambda: hog.received.endswith(len32(b"H" * 10)), "all is answered")
        assert_nothing_is_left(bridge)


@EPOLL
async def test_an_error_ends_its_lane_behind_the_replies_before_it() -> None:
    """What comes later is not called, and what runs is cancelled."""
    engine = ScriptedEngine()
    async with Bridge(LIMITS) as bridge:
        sink, other = PendingSink(bridge, engine, "line"), PendingSink(bridge, engine, "line")
        sink.send(b"a\nb\nc\n")
        other.send(b"o\n")
        await until(lambda: len(engine.jobs) == 4, "all run")
        a, b, c = engine.jobs[:3]
        engine.finish(b, None, ValueError("no"))
        engine.finish(a, b"A")
        await until(lambda: sink.errors, "the error is told")
        assert sink.received == b"A\n"
        assert isinstance(sink.errors[0], ValueError)
        sink.close()
        assert engine.cancelled == [c]
        engine.finish(c, b"late")
        engine.finish_all()
        await until(lambda: other.received == b"O\n", "the other lane goes on")
        assert sink.received == b"A\n"
        assert_nothing_is_left(bridge)


@EPOLL
async def test_a_refused_peer_is_told_last() -> None:
    """The reply of PeerRefused is framed, behind the others."""
    engine = ScriptedEngine()
    async with Bridge(LIMITS) as bridge:
        sink = PendingSink(bridge, engine, "line")
        sink.send(b"a\nb\n")
        await until(lambda: len(engine.jobs) == 2, "both run")
        engine.finish(engine.jobs[1], None, PeerRefused("enough", reply=b"bye"))
        engine.finish(engine.jobs[0], b"A")
        await until(lambda: sink.errors, "it is ended")
        assert sink.received == b"A\nbye\n"
        assert_nothing_is_left(bridge)


@EPOLL
async def test_a_bad_frame_ends_the_lane_behind_the_replies_that_are_still_to_come() -> None:
    """They may come much later."""
    engine = ScriptedEngine()
    async with Bridge(LIMITS) as bridge:
        sink = PendingSink(bridge, engine, "len32")
        sink.send(len32(b"a", b"b") + (5000).to_bytes(4, "big"))
        await until(lambda: len(engine.jobs) == 2, "both run")
        await until(lambda: sink.lane.in_flight_entries == 0, "the entry is back")
        assert not sink.errors
        engine.finish_all()
        await until(lambda: sink.errors, "the error is told")
        assert sink.received == len32(b"A", b"B")
        assert isinstance(sink.errors[0], FrameTooLarge)


@EPOLL
async def test_the_end_comes_behind_all_replies_and_eof_is_called_last() -> None:
    """`eof` is asked for when everything else has been answered."""
    engine = ScriptedEngine(calls_eof=True)
    async with Bridge(LIMITS) as bridge:
        sink = PendingSink(bridge, engine, "line")
        sink.send(b"a\nlast")
        sink.end()
        await until(lambda: len(engine.jobs) == 2, "both run")
        engine.finish(engine.jobs[1], b"LAST")
        await asyncio.sleep(0)
        assert [job.request.payload for job in engine.jobs] == [b"a"]
        engine.finish(engine.jobs[0], b"A")
        await until(lambda: engine.jobs, "eof is asked for")
        assert engine.jobs[0].request.kind is RequestKind.EOF
        await until(lambda: sink.received == b"A\nLAST", "both are here")
        assert "end" not in sink.calls
        engine.finish(engine.jobs[0], b"bye")
        await until(lambda: "end" in sink.calls, "the end")
        assert sink.received == b"A\nLAST\nbye\n"
        assert_nothing_is_left(bridge)


@EPOLL
async def test_replies_that_no_frame_can_have_end_the_lane() -> None:
    """As of a processor that answers at once."""
    engine = ScriptedEngine()
    async with Bridge(LIMITS) as bridge:
        sink = PendingSink(bridge, engine, "line")
        sink.send(b"a\nb\n")
        await until(lambda: len(engine.jobs) == 2, "both run")
        engine.finish(engine.jobs[0], b"A")
        engine.finish(engine.jobs[0], b"two\nlines")
        await until(lambda: sink.errors, "it is ended")
        assert isinstance(sink.errors[0], ProcessorError)
        assert sink.received == b"A\n"


@EPOLL
async def test_a_request_that_takes_too_long_ends_its_lane_and_keeps_its_place() -> None:
    """Until the engine says that it has ended."""
    engine = ScriptedEngine(timeout_s=0.1)
    async with Bridge(LIMITS) as bridge:
        sink = PendingSink(bridge, engine, "line")
        sink.send(b"a\n")
        await until(lambda: sink.errors, "it is ended")
        assert isinstance(sink.errors[0], ProcessorTimeout)
        assert len(engine.cancelled) == bridge.parts.pending.running == 1
        assert bridge.parts.pending.timeouts == 1
        sink.close()
        engine.finish(engine.cancelled[0], b"late")
        assert_nothing_is_left(bridge)
        assert sink.received == b""


@EPOLL
async def test_closing_the_bridge_waits_for_replies() -> None:
    """As far as they come."""
    engine = ScriptedEngine()
    bridge = Bridge(LIMITS)
    bridge.start()
    sink = PendingSink(bridge, engine, "line")
    sink.send(b"a\nb\n")
    await until(lambda: len(engine.jobs) == 2, "both run")
    closing = asyncio.ensure_future(bridge.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    engine.finish_all()
    await closing
    assert sink.received == b"A\nB\n"
    assert_nothing_is_left(bridge)


@EPOLL
async def test_stopping_the_bridge_cancels_what_runs() -> None:
    """Nobody is left to take the replies."""
    engine = ScriptedEngine()
    bridge = Bridge(LIMITS)
    bridge.start()
    sink = PendingSink(bridge, engine, "line")
    sink.send(b"a\n")
    await until(lambda: engine.jobs, "it runs")
    bridge.stop()
    await until(lambda: sink.errors, "the lane is told")
    assert len(engine.cancelled) == 1
    assert engine.opened == engine.closed == 1
    engine.finish(engine.cancelled[0], b"late")
    assert_nothing_is_left(bridge)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 2), st.integers(1, 60)),
        st.tuples(st.just("finish"), st.integers(0, 10), st.sampled_from([0, 1, 7, 300])),
        st.tuples(st.just("fail"), st.integers(0, 10), st.none()),
        st.tuples(st.just("close"), st.integers(0, 2), st.none()),
        st.tuples(st.just("stall"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("end"), st.integers(0, 2), st.none()),
        st.tuples(st.just("wait"), st.integers(0, 5), st.none()),
    ),
    max_size=40,
)
PAYLOADS = st.binary(max_size=90).map(lambda data: data.translate(None, b"\r\n"))
FRAMES = st.lists(PAYLOADS, max_size=30)


class Run:
    """One schedule on three lanes, and the oracle: replies in order, up to the first failure."""

    def __init__(self, bridge: Bridge, framing: str, inputs: list[list[bytes]]) -> None:
        self.bridge = bridge
        self.framing = framing
        self.engine = ScriptedEngine()
        self.sinks = [PendingSink(bridge, self.engine, framing) for _ in inputs]
        self.left = [self.wire(frames) for frames in inputs]
        self.sent: list[list[bytes]] = inputs
        self.outcomes: dict[int, Any] = {}  # by request, which Python keeps alive in `order`
        self.order: list[list[Any]] = [[] for _ in inputs]
        self.closed: set[int] = set()
        self.ended: set[int] = set()

    def wire(self, frames: list[bytes]) -> bytes:
        if self.framing == "line":
            return b"".join(frame + b"\n" for frame in frames)
        return len32(*frames)

    def watch(self) -> None:
        pending = self.bridge.parts.pending
        assert self.engine.running == pending.running <= LIMITS.pending_total
        for sink in self.sinks:
            assert sink.lane.pending is not None
            made = sink.lane.pending.requests.made_count
            assert made - sink.lane.pending.requests.given_count <= LIMITS.pending_per_connection

    async def step(self, what: str, which: int, how: Any) -> None:
        engine = self.engine
        if what == "send" and which not in self.closed | self.ended:
            sink = self.sinks[which]
            if sink.may_publish and self.left[which]:
                sink.send(self.left[which][:how])
                self.left[which] = self.left[which][how:]
        elif what in ("finish", "fail") and engine.running:
            job = (engine.jobs + engine.cancelled)[which % engine.running]
            if what == "fail":
                reply, error = None, ValueError("no")
            else:
                reply, error = job.request.payload[:how] * 3 + b"x" * how, None
            self.outcomes[id(job.request)] = (job.request, error or reply)
            engine.finish(job, reply, error)
        elif what == "close" and which not in self.closed:
            self.closed.add(which)
            self.sinks[which].close()
        elif what == "stall" and which not in self.closed:
            self.bridge.set_stalled(self.sinks[which].lane, how)
        elif what == "end" and which not in self.closed | self.ended and not self.left[which]:
            self.ended.add(which)
            self.sinks[which].end()
        elif what == "wait":
            await asyncio.sleep(which * 0.0002)
        self.watch()

    async def finish(self) -> None:
        """Send the rest, and answer all that is left."""
        for which, sink in enumerate(self.sinks):
            if which not in self.closed:
                self.bridge.set_stalled(sink.lane, False)
        for _ in range(2_000):
            busy = False
            for which, sink in enumerate(self.sinks):
                if which in self.closed or sink.errors:
                    continue
                await self.step("send", which, 100)
                await self.step("end", which, None)
                busy = busy or which not in self.ended or "end" not in sink.calls
            while self.engine.running:
                await self.step("finish", 0, 2)
            if not busy and not self.engine.running:
                return
            await asyncio.sleep(0.0002)
        raise AssertionError("the lanes have not come to their ends")

    def check(self, inputs: list[list[bytes]], requests: list[list[Any]]) -> None:
        for which, sink in enumerate(self.sinks):
            received = bytes(sink.received)
            expected, error = bytearray(), None
            for request in requests[which]:
                found = self.outcomes.get(id(request))
                if found is None:
                    break
                if isinstance(found[1], ValueError):
                    error = found[1]
                    break
                expected += self.wire([found[1]])
            payloads = [request.payload_seen for request in requests[which]]
            assert payloads == inputs[which][: len(payloads)]
            if which in self.closed or sink.errors:
                assert bytes(expected).startswith(received)
            else:
                assert received == expected
                assert len(payloads) == len(inputs[which])
            if sink.errors:
                assert sink.errors == [error]
                assert received == expected


@QUICK
@given(st.sampled_from(["line", "len32"]), st.lists(FRAMES, min_size=3, max_size=3), STEPS)
def test_any_schedule_keeps_order_and_bounds(
    framing: str, inputs: list[list[bytes]], steps: list[tuple[str, int, Any]]
) -> None:
    """Completions in any order, failures, stalls, and connections that go at any moment."""

    async def run() -> None:
        async with Bridge(LIMITS) as bridge:
            one = Run(bridge, framing, inputs)
            requests: list[list[Any]] = [[], [], []]
            start = one.engine.start

            def noting_start(job: Any) -> None:
                which = next(
                    index for index, sink in enumerate(one.sinks) if sink.lane.pending is job.lane
                )
                request = _Seen(job.request)
                requests[which].append(request)
                one.outcomes.setdefault(id(job.request), None)
                start(job)

            one.engine.start = noting_start  # type: ignore[method-assign]
            for what, which, how in steps:
                await one.step(what, which, how)
            await one.finish()
            for seen in (one for many in requests for one in many):
                if seen.request.is_settled:
                    one.outcomes[id(seen)] = one.outcomes.get(id(seen.request))
            one.check(inputs, requests)
            for which in set(range(3)) - one.closed:
                one.sinks[which].close()
            await until(lambda: bridge.statistics().lanes == 0, "all lanes are closed")
            assert_nothing_is_left(bridge)
            assert one.engine.opened == one.engine.closed == 3

    asyncio.run(run())


class _Seen:
    """A request as it was when it was started: its payload is dropped with its reply."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.payload_seen = request.payload
