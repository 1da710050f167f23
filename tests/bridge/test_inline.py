"""inline: a second processor, which the loop calls."""

import pytest

from asyncrev import Bridge
from asyncrev.bridge.inline import InlineWork
from asyncrev.ring.ring import DATA
from asyncrev.work.reverse import Reverse
from tests.lane_bench import Bench, Recorder
from tests.sinks import TINY, Raises, RecordingSink

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
