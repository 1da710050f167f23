"""inline: a second processor, which the loop calls."""

import asyncio
import math
import signal
import threading

import pytest

from asyncrev import Bridge, EpollEventLoop
from asyncrev.bridge.inline import InlineWork
from asyncrev.errors import ProcessorError, RemoteError
from asyncrev.ring.ring import DATA
from asyncrev.work.make_work import make_work
from asyncrev.work.reverse import Reverse
from tests.lane_bench import Bench, Recorder
from tests.sinks import TINY, Raises, RecordingSink, Upper
from tests.support import until

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])


@pytest.mark.parametrize("views_allowed", [True, False])
def test_work_inline_uses_one_processor_of_its_own(views_allowed: bool) -> None:
    """Made once, on first use, and another than the worker's; a view only where that is allowed."""
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    bench = Bench(factory, views_allowed=views_allowed)
    view = memoryview(bench.storage)
    view[:3] = b"abc"
    inline = InlineWork(bench.lane_work)
    for _ in range(2):
        reply = inline.answer(view[:3], bench.storage)
        assert reply == b"abc"
        assert type(reply) is (memoryview if views_allowed else bytes)
    bench.work(DATA, b"abc")
    assert [recorder.calls for recorder in made] == [[b"abc", b"abc"], [b"abc"]]


def test_work_inline_passes_bytes_and_errors_on() -> None:
    """What comes of an error is the bridge's business."""
    assert InlineWork(Bench(Reverse).lane_work).answer(memoryview(b"abc"), None) == b"cba"

    class Failing(Reverse):
        def process(self, chunk: memoryview) -> bytes:
            raise ValueError("deliberate")

    with pytest.raises(ValueError, match="deliberate"):
        InlineWork(Bench(Failing).lane_work).answer(memoryview(b"abc"), None)


@EPOLL
async def test_inline_work_is_returned_and_an_error_of_it_raised() -> None:
    """The caller is the one who sends the reply, and who hears of the error; its sink is not."""
    async with Bridge(TINY) as bridge:
        good, bad = RecordingSink(bridge, Reverse), RecordingSink(bridge, Raises)
        bridge.claim(good.lane)[:2] = b"ab"
        assert bridge.work_inline(good.lane, 2) == b"ba"
        bridge.claim(bad.lane)[:4] = b"fail"
        with pytest.raises(ValueError, match="fail"):
            bridge.work_inline(bad.lane, 4)
        assert (good.calls, bad.calls) == ([], [])
        assert (good.lane.abandoned, bad.lane.abandoned) == (False, True)
        seen = bridge.statistics()
        assert (seen.inlined, seen.processor_errors) == (2, 1)


class Twice(Upper):
    """Answers with everything twice, and not at all to nothing."""

    def process(self, chunk: memoryview) -> bytes | None:  # type: ignore[override]
        """Answer twice as long."""
        return bytes(chunk) * 2 or None


def test_inline_reply_may_not_be_longer_than_the_setting_and_than_its_chunk() -> None:
    """As a reply of the worker: the message has all three numbers."""
    inline = InlineWork(make_work(Twice, views_allowed=True, max_reply_bytes=6))
    assert inline.answer(memoryview(b""), None) is None
    assert inline.answer(memoryview(b"abc"), None) == b"abcabc"
    with pytest.raises(ProcessorError, match=r"answered 4 bytes with 8; max_reply_bytes is 6:"):
        inline.answer(memoryview(b"abcd"), None)
    long = InlineWork(make_work(Reverse, views_allowed=True, max_reply_bytes=1))
    assert long.answer(memoryview(b"abc"), None) == b"cba"


@EPOLL
async def test_inline_reply_is_a_view_of_the_ring_where_that_is_allowed() -> None:
    """It needs no copy, because the slot is claimed again by the same connection only."""
    async with Bridge(TINY) as bridge:
        for views_allowed in (True, False):
            sink = RecordingSink(bridge, Recorder, views_allowed=views_allowed)
            bridge.claim(sink.lane)[:2] = b"ab"
            reply = bridge.work_inline(sink.lane, 2)
            assert reply == b"ab"
            assert type(reply) is (memoryview if views_allowed else bytes)


@EPOLL
async def test_lane_that_is_answered_inline_is_looked_at_in_the_next_sweep() -> None:
    """Its deadlines begin anew, as those of a lane that publishes."""
    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge, Reverse)
        sink.lane.look_at_s = math.inf
        bridge.parts.sweep.run()
        assert sink.calls == []
        bridge.claim(sink.lane)[:2] = b"ab"
        bridge.work_inline(sink.lane, 2)
        assert sink.lane.look_at_s == 0.0
        bridge.parts.sweep.run()
        assert sink.calls == ["sweep"]


@EPOLL
async def test_error_of_the_peer_inline_is_no_error_of_the_processor() -> None:
    """Statistics tell them apart."""

    class Refuses(Upper):
        def process(self, chunk: memoryview) -> bytes:
            raise RemoteError("what the peer sent")

    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge, Refuses)
        bridge.claim(sink.lane)[:1] = b"a"
        with pytest.raises(RemoteError, match="what the peer sent"):
            bridge.work_inline(sink.lane, 1)
        assert sink.lane.abandoned
        assert bridge.statistics().processor_errors == 0


def test_interrupt_of_inline_work_that_may_be_the_users_stops_the_loop() -> None:
    """With Python's own handler of SIGINT, KeyboardInterrupt may be Ctrl-C: it is not swallowed."""
    assert threading.current_thread() is threading.main_thread()

    class Interrupted(Upper):
        def process(self, chunk: memoryview) -> bytes:
            raise KeyboardInterrupt

    loop = EpollEventLoop()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        bridge = Bridge(TINY)

        async def wait_for_the_interrupt() -> None:
            bridge.start()
            sink = RecordingSink(bridge, Interrupted)
            bridge.claim(sink.lane)[:1] = b"a"
            try:
                bridge.work_inline(sink.lane, 1)
            except KeyboardInterrupt:
                pass  # as a connection does, which goes on with its own end
            await until(lambda: False, "the loop is interrupted")

        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(wait_for_the_interrupt())
        loop.run_until_complete(bridge.close())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        signal.signal(signal.SIGINT, before)
        loop.close()
