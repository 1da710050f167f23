"""Input that the worker defers: lanes in round robin, bounded replies, no byte lost."""

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev import Bridge, EpollEventLoop, Limits, Reverse
from asyncrev.errors import BridgeStopped, ProcessorError
from asyncrev.processors import Reply
from asyncrev.ring.row import SHARE_CALLS
from asyncrev.work import worker as worker_module
from asyncrev.work.deferred import DeferredInput
from asyncrev.work.lane_work import Share
from asyncrev.work.scratch import Scratch
from tests.framed import NAMES, framed
from tests.sinks import RecordingSink
from tests.support import until

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["epoll", "asyncio"])

KIB = 1024
EMPTY_LINES = Limits(slots=8, slot_bytes=64 * KIB, in_flight_bytes=64 * KIB)


# -- deferred input -------------------------------------------------------------------------------


@given(
    st.lists(st.one_of(st.binary(min_size=1, max_size=9), st.integers(1, 9)), max_size=30),
    st.integers(1, 12),
)
def test_deferred_input_is_what_was_added_less_what_was_consumed(
    steps: list[bytes | int], piece_bytes: int
) -> None:
    """In order, in pieces of at most the given length where chunks are no longer."""
    deferred = DeferredInput(piece_bytes)
    left = b""
    for step in steps:
        if isinstance(step, bytes):
            deferred.add(memoryview(step))
            left += step
        elif left:
            head = deferred.head()
            assert 0 < head.nbytes <= max(piece_bytes, 9)
            nbytes = min(step, head.nbytes)
            assert head[:nbytes] == left[:nbytes]
            deferred.consume(nbytes)
            left = left[nbytes:]
        assert deferred.nbytes == len(left)


def test_deferred_bytes_stay_as_they_were_when_more_comes() -> None:
    """A reply may be a view of what was consumed, until it is delivered."""
    deferred = DeferredInput(8)
    deferred.add(memoryview(b"abc"))
    head = deferred.head()
    deferred.consume(2)
    deferred.add(memoryview(b"def"))
    deferred.add(memoryview(b"g"))
    assert head == b"abc"
    assert deferred.head() == b"c"
    deferred.consume(1)
    assert deferred.head() == b"defg"


@given(st.integers(1, 3000), st.lists(st.integers(1, 400), max_size=40))
def test_deferred_input_holds_little_more_memory_than_what_is_left(
    nbytes: int, steps: list[int]
) -> None:
    """A stalled lane may have a byte left of a slot, and reserves for that byte."""
    deferred = DeferredInput(8)
    data = bytes(random.Random(nbytes).randbytes(nbytes))
    deferred.add(memoryview(data))
    for step in steps:
        if not deferred.nbytes:
            break
        deferred.consume(min(step, deferred.nbytes))
        if deferred.nbytes:
            head = deferred.head()
            assert head == data[-deferred.nbytes :]
            assert not head.readonly
            assert len(head.obj) <= max(2 * head.nbytes, 8)


# -- lanes round robin ---------------------------------------------------------------------------


class Counting:
    """Echoes; counts the calls of all instances."""

    calls = 0

    def process(self, chunk: memoryview) -> memoryview:
        """Echo."""
        Counting.calls += 1
        return chunk

    def eof(self) -> None:
        """Add nothing."""


@contextlib.asynccontextmanager
async def bridge_of(limits: Limits) -> AsyncIterator[Bridge]:
    """A bridge whose worker sees nothing before the test awaits: the loop flushes."""
    async with Bridge(limits) as bridge:
        yield bridge


@BOTH_LOOPS
@pytest.mark.parametrize("name", NAMES)
async def test_frame_behind_many_tiny_ones_waits_for_a_share_of_them_only(name: str) -> None:
    """Each lane has at most SHARE_CALLS calls in a batch of the worker."""
    Counting.calls = 0
    seen: list[int] = []

    class Noting(RecordingSink):
        def on_reply(self, reply: Reply) -> None:
            seen.append(Counting.calls)
            super().on_reply(reply)

    tiny = framed(name, b"")
    frames = 60 * KIB // len(tiny)
    async with bridge_of(EMPTY_LINES) as bridge:
        crowd = [RecordingSink(bridge, Counting, framing=name) for _ in range(3)]
        for sink in crowd:
            sink.lane.read_bytes = 64 * KIB  # as after good behaviour
            sink.lane.small_reads = 0
            sink.send(tiny * frames)
            sink.end()
        honest = Noting(bridge, Counting, framing=name)
        honest.send(framed(name, b"hello"))
        await until(lambda: seen, "it is answered")
        # One share before it, and another that began while its reply was on the way to here.
        assert seen[0] <= 2 * 3 * (SHARE_CALLS + 1) + 1
        assert seen[0] < 3 * frames
        await until(lambda: all(sink.is_over for sink in crowd), "the others are, too")
        for sink in crowd:
            assert sink.received == tiny * frames
            assert not sink.errors
            assert (sink.lane.in_flight_entries, sink.lane.in_flight_bytes) == (0, 0)


@BOTH_LOOPS
async def test_runs_and_lines_for_a_batch_method_count_as_calls() -> None:
    """Frames of 0 and 1 bytes alternately are a run each: the reads of such a lane get shorter."""
    async with bridge_of(EMPTY_LINES) as bridge:
        for name, data in (
            ("len32", (framed("len32", b"") + framed("len32", b"y")) * 7000),
            ("line", b"\n" * 60_000),
        ):
            sink = RecordingSink(bridge, Reverse, framing=name)
            sink.lane.read_bytes = 64 * KIB
            sink.lane.small_reads = 0
            sink.send(data)
            sink.end()
            await until(lambda sink=sink: sink.is_over, "it is answered")
            assert sink.received == data
            assert len(sink.pieces) > 3, "in several iterations"
            assert sink.lane.read_bytes <= 16 * KIB


@BOTH_LOOPS
@pytest.mark.parametrize("name", ["raw", "line"])
async def test_lane_that_is_never_idle_goes_on_with_what_was_deferred(name: str) -> None:
    """Input that comes before each RESUME could does not put what is older off for ever."""
    entered, may_leave = [0], threading.Semaphore(0)

    class Gate(Counting):
        def process(self, chunk: memoryview) -> memoryview:
            entered[0] += 1
            assert may_leave.acquire(timeout=30)
            return chunk

    factory = Counting if name == "line" else Amplifying
    burst = b"\n" * 1500 if name == "line" else b"x" * 1500
    limits = SMALL.replace(max_reply_bytes=32768, entries=32)
    async with bridge_of(limits) as bridge:
        gate, sink = RecordingSink(bridge, Gate), RecordingSink(bridge, factory, framing=name)
        gate.send(b"-")
        sink.send(burst[:1400])
        sink.send(burst[1400:])
        try:
            for round_ in range(6):
                # What comes now is in the ring before the worker leaves the gate for what was sent
                # before: sink is never idle.
                await until(lambda round_=round_: entered[0] == round_ + 1, "it is at the gate")
                gate.send(b"-")
                sink.send(b"\n")
                may_leave.release()
            times = 1 if name == "line" else Amplifying.times
            wanted = amplified(burst + b"\n" * 6, times)
            await until(lambda: entered[0] == 7, "it is at the gate again")
            await until(lambda: len(sink.received) == len(wanted) - times, "all before it is done")
            assert sink.lane.in_flight_entries == 1
        finally:
            may_leave.release(9)
        await until(lambda: len(sink.received) == len(wanted), "the last one is, too")
        assert sink.received == wanted
        assert (sink.lane.in_flight_entries, sink.lane.in_flight_bytes) == (0, 0)


# -- replies that are longer than what they answer -------------------------------------------------


def amplified(data: bytes, times: int) -> bytes:
    """Return `data` with each byte `times` times over: it does not matter where chunks end."""
    return b"".join(data[at : at + 1] * times for at in range(len(data)))


class Amplifying:
    """Answers with every byte `times` times over, and with a last word."""

    times = 8

    def process(self, chunk: memoryview) -> bytes:
        """Return it."""
        return amplified(bytes(chunk), self.times)

    def eof(self) -> bytes:
        """Return it."""
        return b"the end"


class Stalling(RecordingSink):
    """A sink whose peer takes nothing once `most_bytes` are there, until it is let go."""

    most_bytes = 0

    def on_reply(self, reply: Reply) -> None:
        """Keep it, and stall."""
        super().on_reply(reply)
        if len(self.received) > self.most_bytes:
            self.bridge.set_stalled(self.lane, True)

    def go_on(self, most_bytes: int) -> None:
        """Take more, up to `most_bytes` in all."""
        self.most_bytes = most_bytes
        self.bridge.set_stalled(self.lane, False)


SMALL = Limits(
    slots=8,
    slot_bytes=4096,
    in_flight_bytes=4096,
    in_flight_entries=16,
    high_water_bytes=4096,
    max_reply_bytes=8192,
    max_frame_bytes=8192,
)


@BOTH_LOOPS
@pytest.mark.parametrize("name", ["raw", *NAMES])
async def test_stalled_lane_gets_a_window_of_surplus_and_no_more(name: str) -> None:
    """What it was sent waits as input; all is answered, in order, once the peer goes on."""
    limits = SMALL.replace(max_reply_bytes=32768)  # small chunks are joined up to 4 KiB
    payloads = [b"%03d " % number * 250 for number in range(20)]
    data = [payload if name == "raw" else framed(name, payload) for payload in payloads]
    answer = [amplified(payload, Amplifying.times) for payload in payloads]
    wanted = b"".join(answer if name == "raw" else (framed(name, reply) for reply in answer))
    wanted += b"the end" if name == "raw" else framed(name, b"the end")
    input_bytes = sum(map(len, data))
    async with bridge_of(limits) as bridge:
        other = RecordingSink(bridge)
        sink = Stalling(bridge, Amplifying, framing=name)
        for piece in data:
            sink.send(piece)
        sink.end()
        await until(lambda: sink.received, "the first reply is there")
        other.send(b"abc")
        await until(lambda: other.received == b"ABC", "others are answered")
        statistics = bridge.statistics
        await until(lambda: statistics().released == statistics().published, "all is back")
        bound = limits.window_bytes + limits.max_reply_bytes + input_bytes
        assert 0 < len(sink.received) <= bound < len(wanted)
        assert not sink.is_over
        while not sink.is_over:
            before = len(sink.received)
            sink.go_on(before + 3000)
            await until(lambda: sink.is_over or sink.lane.work.window.is_stalled, "it goes on")
            assert len(sink.received) <= before + 3000 + bound
        assert sink.received == wanted
        assert not sink.errors
        assert sink.lane.in_flight_bytes == 0


@settings(max_examples=60)
@given(
    name=st.sampled_from(["raw", *NAMES]),
    share_calls=st.integers(1, 5),
    times=st.sampled_from([0, 1, 3, 50]),
    lanes=st.lists(st.lists(st.binary(max_size=40), max_size=25), min_size=1, max_size=3),
    stall_every=st.integers(1, 4000),
    entries=st.integers(2, 6),
)
def test_any_deferral_keeps_every_lanes_bytes_in_order(
    name: str,
    share_calls: int,
    times: int,
    lanes: list[list[bytes]],
    stall_every: int,
    entries: int,
) -> None:
    """Tiny shares, windows and rings; peers that stall and go on; ends behind it all."""

    class Repeating(Amplifying):
        pass

    Repeating.times = times
    limits = Limits(
        slots=2,
        slot_bytes=64,
        entries=entries,
        in_flight_bytes=100,
        in_flight_entries=4,
        high_water_bytes=10,
        max_reply_bytes=4096,
        overflow_bytes=16,
    )

    async def main() -> None:
        async with Bridge(limits) as bridge:
            sinks = [Stalling(bridge, Repeating, framing=name) for _ in lanes]
            for sink in sinks:
                sink.most_bytes = stall_every
            waves = max(map(len, lanes))
            for wave in range(waves):
                for sink, payloads in zip(sinks, lanes, strict=True):
                    if wave < len(payloads):
                        await until(lambda sink=sink: takes(sink, stall_every), "there is credit")
                        payload = clean(payloads[wave])
                        sink.send(payload if name == "raw" else framed(name, payload))
            for sink in sinks:
                sink.end()
            for sink, payloads in zip(sinks, lanes, strict=True):
                await until(lambda sink=sink: takes(sink, stall_every, to_the_end=True), "its end")
                answers = [amplified(clean(payload), times) for payload in payloads]
                answers.append(b"the end")
                wrapped = answers if name == "raw" else [framed(name, data) for data in answers]
                assert sink.received == b"".join(wrapped)
                assert not sink.errors

    def clean(payload: bytes) -> bytes:
        return payload.replace(b"\n", b"-").replace(b"\r", b"-")  # no part of a line end

    def takes(sink: Stalling, stall_every: int, to_the_end: bool = False) -> bool:
        if sink.lane.work.window.is_stalled:
            sink.go_on(len(sink.received) + stall_every)
        return sink.is_over if to_the_end else sink.may_publish

    class SmallShare(Share):
        """What a batch of the worker may use here."""

        def __init__(self, scratch: Scratch, most_calls: int = share_calls, *more: int) -> None:
            super().__init__(scratch, most_calls, *more)

    before = worker_module.Share
    worker_module.Share = SmallShare  # type: ignore[misc]
    try:
        with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
            runner.run(main())
    finally:
        worker_module.Share = before  # type: ignore[misc]


# -- replies that are too long -----------------------------------------------------------------


def bomb(data: bytes) -> bytes:
    """Answer anything with more than is allowed, but `small`."""
    return b"ok" if data == b"small" else bytes(8193)


class LastWord(Amplifying):
    """Has a last word that is too long."""

    times = 1

    def eof(self) -> bytes:
        """Return it."""
        return bytes(8193)


class Hooked(Reverse):
    """Answers many frames at once, with too much."""

    def process_lines(self, lines: memoryview) -> bytes:
        """Return too much."""
        return bytes(8192) + b"\n"

    def process_prefixed(self, frames: memoryview, runs: Any, prefix_bytes: int) -> bytes:
        """Return too much."""
        return bytes(8193)


@BOTH_LOOPS
@pytest.mark.parametrize("name", ["raw", *NAMES])
@pytest.mark.parametrize("where", ["process", "eof", "hook"])
async def test_reply_that_is_too_long_ends_its_lane_in_words(name: str, where: str) -> None:
    """After the replies before it; the message has both lengths, and what to do."""
    if name == "raw" and where == "hook":
        pytest.skip("raw chunks have no such method")
    from asyncrev.processors import as_factory

    factory: Callable[[], Any] = {"process": as_factory(bomb), "eof": LastWord, "hook": Hooked}[
        where
    ]
    async with bridge_of(SMALL) as bridge:
        other = RecordingSink(bridge)
        sink = RecordingSink(bridge, factory, framing=name)
        wrap: Callable[[bytes], bytes] = (
            (lambda data: data) if name == "raw" else (lambda data: framed(name, data))
        )
        if where != "hook":
            sink.send(wrap(b"small"))
            await until(lambda: sink.received, "the one before it is answered")
        sink.send(wrap(b"x"))
        sink.end()
        await until(lambda: sink.errors, "it has failed")
        before = {"process": b"ok", "eof": b"small", "hook": b""}[where]
        rest = wrap(b"x") if where == "eof" else b""
        assert sink.received == (wrap(before) if where != "hook" else b"") + rest
        (error,) = sink.errors
        assert type(error) is ProcessorError
        assert "max_reply_bytes is 8192" in str(error)
        assert "8193" in str(error)
        other.send(b"abc")
        await until(lambda: other.received == b"ABC", "others are answered")


@BOTH_LOOPS
async def test_reply_as_long_as_what_it_answers_is_always_allowed() -> None:
    """Only what is made more is bounded."""
    limits = Limits(slots=2, slot_bytes=4096, max_reply_bytes=10)
    async with bridge_of(limits) as bridge:
        for name, data in (("raw", b"x" * 1000), ("len32", framed("len32", b"x" * 1000))):
            sink = RecordingSink(bridge, lambda: Amplifying1(), framing=name)
            sink.send(data)
            await until(lambda sink=sink, data=data: sink.received == data, "it is answered")


class Amplifying1(Amplifying):
    """Answers a chunk with as much."""

    times = 1


@BOTH_LOOPS
async def test_without_a_bound_any_reply_is_allowed() -> None:
    """0 switches it off."""
    limits = Limits(slots=2, slot_bytes=4096, max_reply_bytes=0)
    assert limits.amplified_bytes == 0

    class Huge(Amplifying):
        times = 3_000_000

    async with bridge_of(limits) as bridge:
        sink = RecordingSink(bridge, Huge)
        sink.send(b"x")
        await until(lambda: len(sink.received) == 3_000_000, "it is answered")


# -- ends --------------------------------------------------------------------------------------


@BOTH_LOOPS
async def test_close_answers_what_was_deferred() -> None:
    """All that was published is, as before there was a share."""
    data = (framed("len32", b"") + framed("len32", b"y")) * 7000
    async with Bridge(EMPTY_LINES) as bridge:
        sink = RecordingSink(bridge, Counting, framing="len32")
        sink.lane.read_bytes = 64 * KIB
        sink.lane.small_reads = 0
        sink.send(data)
        await until(lambda: sink.received, "it is deferred")
        await bridge.close()
        assert sink.received == data
        assert [type(error) for error in sink.errors] == [BridgeStopped]


@BOTH_LOOPS
async def test_close_answers_what_is_deferred_only_while_it_waits() -> None:
    """Also what the worker had taken, and not yet deferred, when the close began."""
    entered, may_go_on = threading.Event(), threading.Event()

    class Gate(Counting):
        def process(self, chunk: memoryview) -> memoryview:
            entered.set()
            assert may_go_on.wait(30)
            return chunk

    data = b"\n" * (3 * SHARE_CALLS)
    async with Bridge(EMPTY_LINES) as bridge:
        sink = RecordingSink(bridge, Gate, framing="line")
        sink.send(data)
        await until(entered.is_set, "the worker is at it")
        asyncio.get_running_loop().call_later(0.01, may_go_on.set)
        await bridge.close()
        assert sink.received == data
        assert [type(error) for error in sink.errors] == [BridgeStopped]


@BOTH_LOOPS
async def test_two_closes_at_once_wait_for_what_is_deferred() -> None:
    """Neither takes the other's wake-up away."""
    data = b"\n" * (20 * SHARE_CALLS)
    async with Bridge(EMPTY_LINES) as bridge:
        sink = RecordingSink(bridge, Counting, framing="line")
        sink.send(data)
        await until(lambda: sink.received, "it is deferred")
        async with asyncio.timeout(30):
            await asyncio.gather(bridge.close(20), bridge.close(20), bridge.close(20))
        assert sink.received == data


@BOTH_LOOPS
async def test_close_ends_although_a_peer_sends_all_the_time() -> None:
    """What is published after the close has begun is dropped, and the end of input with it."""
    ends = [0]

    class Ending(Counting):
        def eof(self) -> None:
            ends[0] += 1

    class Flooding(RecordingSink):
        def on_reply(self, reply: Reply) -> None:
            super().on_reply(reply)
            if self.bridge.is_running:
                self.may_publish = self.send(b"\n" * 3000)
                if self.bridge.parts.admission.is_closed:
                    self.end()

    async with Bridge(EMPTY_LINES) as bridge:
        sink = Flooding(bridge, Ending, framing="line")
        sink.send(b"\n" * 3000)
        await until(lambda: len(sink.received) > 9000, "it is at it")
        await bridge.close(20)
        assert not sink.may_publish
        assert [type(error) for error in sink.errors] == [BridgeStopped]
        assert len(sink.received) % 3000 == 0
        assert ends == [0]
        with pytest.raises(BridgeStopped):
            RecordingSink(bridge)


@BOTH_LOOPS
async def test_close_does_not_wait_for_a_peer_that_takes_nothing() -> None:
    """What was deferred of it stays unanswered, and its sink is told."""
    async with Bridge(SMALL) as bridge:
        sink = Stalling(bridge, Amplifying)
        for _ in range(20):
            sink.send(b"x" * 100)
        await until(lambda: sink.lane.work.window.is_stalled, "it is stalled")
        await bridge.close()
        assert len(sink.received) < 20 * 100 * Amplifying.times
        assert [type(error) for error in sink.errors] == [BridgeStopped]


@BOTH_LOOPS
@pytest.mark.parametrize("name", ["raw", "line"])
async def test_lane_given_up_lets_its_deferred_input_go(name: str) -> None:
    """The worker drops it with the processor."""
    async with bridge_of(SMALL) as bridge:
        sink = Stalling(bridge, Amplifying, framing=name)
        for _ in range(20):
            sink.send(b"x" * 99 + b"\n")
        await until(lambda: sink.lane.work.window.is_stalled, "it is stalled")
        lane = sink.lane
        assert lane.work.deferred is not None
        sink.close()
        await until(lambda: bridge.statistics().lanes == 0, "the lane is gone")
        assert lane.work.deferred is None
        assert bridge.statistics().pool.reserved_bytes == 0
