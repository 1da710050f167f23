"""bridge: its start, the ways in which it ends, and who is told."""

import asyncio
from typing import Any

import pytest

from asyncrev import Bridge, Limits
from asyncrev.errors import BridgeStopped
from tests.sinks import Held, RecordingSink
from tests.support import until

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])
LIMITS = Limits(slots=4, entries=4, slot_bytes=8)


@pytest.mark.asyncio
async def test_close_answers_what_is_published_and_tells_open_lanes() -> None:
    """Replies first, then BridgeStopped, once; closing is idempotent."""
    bridge = Bridge(LIMITS)
    bridge.start()
    sink, ended = RecordingSink(bridge), RecordingSink(bridge)
    sink.send(b"ab")
    ended.close()
    await asyncio.gather(bridge.close(), bridge.close())
    await bridge.close()
    assert sink.received == b"AB"
    assert sink.calls == ["reply", "error"]
    assert not bridge.parts.worker.is_alive()
    assert type(sink.errors[0]) is BridgeStopped
    assert ended.calls == []
    assert not bridge.is_running
    assert bridge.error is None
    assert bridge.statistics().lanes == 0
    sink.close()
    RecordingSink.close(sink)


@EPOLL
async def test_sink_that_raises_at_the_end_costs_others_nothing(
    loop_errors: list[dict[str, Any]],
) -> None:
    """Every lane is told, whatever the one before it does."""
    async with Bridge(LIMITS) as bridge:
        sinks = [RecordingSink(bridge, fail_in="error") for _ in range(3)]
    assert [sink.calls for sink in sinks] == [["error"]] * 3
    assert [str(c["exception"]) for c in loop_errors] == ["sink fails in error"] * 3
    loop_errors.clear()


@EPOLL
async def test_lane_used_after_the_end_harms_nobody() -> None:
    """A connection that has not yet heard of it still reads, ends and closes."""
    async with Bridge(LIMITS) as bridge:
        sink, closes = RecordingSink(bridge), RecordingSink(bridge)
        bridge.parts.side.close()
        assert not sink.send(b"x")
        sink.end()
        closes.close()
    assert not sink.send(b"y")
    sink.end()
    sink.close()
    assert sink.received == b""
    assert sink.calls == ["error"]
    assert closes.calls == []


def full_bridge() -> tuple[Bridge, Held, RecordingSink, RecordingSink]:
    """Return a bridge with one slot, what holds its worker, who has the slot, and who waits."""
    bridge = Bridge(Limits(slots=1, entries=1, slot_bytes=8))
    bridge.start()
    held = Held()
    first, waiter = RecordingSink(bridge, lambda: held), RecordingSink(bridge)
    first.send(b"a")
    waiter.send(b"b")
    return bridge, held, first, waiter


@EPOLL
async def test_close_answers_the_overflow_before_it() -> None:
    """It waits for the slots that others give back."""
    bridge, held, first, waiter = full_bridge()
    closing = asyncio.ensure_future(bridge.close())
    await until(held.entered.is_set, "the worker has begun")
    held.go.set()
    await closing
    assert first.received == b"A"
    assert waiter.received == b"B"
    assert waiter.calls[-1] == "error"


@EPOLL
async def test_lane_that_waits_for_a_slot_at_the_end_is_told() -> None:
    """What it kept in the overflow was never published; it hears that it will not be."""
    bridge, held, first, waiter = full_bridge()
    bridge.parts.side.close()  # as `stop` does
    closing = asyncio.ensure_future(bridge.close())
    await until(held.entered.is_set, "the worker has begun")
    held.go.set()
    await closing
    assert first.received == b"A"
    assert waiter.received == b""
    assert waiter.calls[-1] == "error"
    assert bridge.statistics().waiting_lanes == 0


@EPOLL
async def test_close_leaves_nothing_on_the_loop() -> None:
    """Hooks and timers are gone, so many bridges may come and go on one loop."""
    loop: Any = asyncio.get_running_loop()
    hooks = loop._iteration_hooks
    for _ in range(3):
        async with Bridge(LIMITS) as bridge:
            RecordingSink(bridge)
            assert len(loop._iteration_hooks) == len(hooks) + 1
            timer = bridge.parts.sweep._timer
            assert timer is not None
        assert timer.cancelled()
        assert not bridge.parts.sweep.is_running
    assert loop._iteration_hooks == hooks


class ClosesAll(RecordingSink):
    """A sink that closes all it knows of when it is told of an error."""

    others: "list[ClosesAll]"

    def on_error(self, error: BaseException) -> None:
        """Note the error, then close all, itself included."""
        super().on_error(error)
        for sink in self.others:
            sink.close()


@EPOLL
async def test_sink_may_close_another_lane_while_it_is_told_of_the_end() -> None:
    """A lane that is closed by then is not told."""
    async with Bridge(LIMITS) as bridge:
        sinks = [ClosesAll(bridge) for _ in range(3)]
        for sink in sinks:
            sink.others = sinks
    assert sorted(len(sink.errors) for sink in sinks) == [0, 0, 1]
    assert bridge.statistics().lanes == 0
