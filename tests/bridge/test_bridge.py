"""bridge: lanes of many sinks over one ring and one real worker thread."""

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Bridge, BridgeProtocol, EpollEventLoop, Limits
from asyncrev.bridge import delivery
from asyncrev.bridge import sweep as sweep_module
from asyncrev.errors import BridgeStopped, FrameTooLarge, ProcessorError, SettingsError
from asyncrev.frames.registry import as_framing
from asyncrev.processors import as_factory
from asyncrev.work.reverse import Reverse
from tests import strategies
from tests.sinks import RecordingSink, Upper
from tests.support import until, wait_until

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])
TINY = Limits(slots=2, entries=2, slot_bytes=8, in_flight_entries=2, spill_bytes=4)


class Held(Upper):
    """A processor that waits until the test lets it go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()
        self.chunks: list[bytes] = []

    def process(self, chunk: memoryview) -> bytes:
        """Wait, then answer in capitals."""
        self.chunks.append(bytes(chunk))
        self.entered.set()
        self.go.wait(30)
        return super().process(chunk)


class Raises(Upper):
    """A processor that fails on the word "fail"."""

    def process(self, chunk: memoryview) -> bytes:
        """Fail, or answer in capitals."""
        if chunk == b"fail":
            raise ValueError("the word was fail")
        return super().process(chunk)


@pytest.mark.asyncio
async def test_replies_and_end_come_in_order_on_every_loop() -> None:
    """The whole way, without a transport: nothing lost and no wake-up lost."""
    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge)
        data = bytes(range(97, 123)) * 20
        for start in range(0, len(data), 5):
            await sink.send_politely(data[start : start + 5])
        sink.end()
        await until(lambda: sink.is_over, "the end was told")
        assert sink.received == data.upper() + b"."
        assert sink.calls[-1] == "end"
        sink.close()
        await until(lambda: bridge.statistics().lanes == 0, "the lane is gone")
        assert bridge.statistics().backstop_wakes == 0


@EPOLL
@pytest.mark.parametrize("views_allowed", [False, True])
async def test_reply_is_a_view_only_where_that_is_allowed(views_allowed: bool) -> None:
    """Transports that keep what they get are given bytes."""
    async with Bridge(Limits(slots=2, entries=2, slot_bytes=8192)) as bridge:
        types: list[type] = []

        class Sink(RecordingSink):
            def on_reply(self, reply: bytes | memoryview) -> None:
                types.append(type(reply))
                super().on_reply(reply)

        sink = Sink(bridge, Reverse, views_allowed=views_allowed)
        data = bytes(range(256)) * 16
        sink.send(data)
        await until(lambda: sink.received, "the reply came")
        assert sink.received == data[::-1]
        assert types == [memoryview if views_allowed else bytes]


@EPOLL
async def test_empty_replies_are_not_handed_over() -> None:
    """None and b"" say the same."""
    answers = iter([None, b"", b"x"])
    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge, as_factory(lambda data: next(answers)))
        for _ in range(3):
            await sink.send_politely(b"a")
        await until(lambda: sink.received, "the third answer came")
        assert sink.calls.count("reply") == 1


@EPOLL
async def test_end_without_input_is_answered() -> None:
    """The processor may have something to say about nothing."""
    async with Bridge() as bridge:
        sink = RecordingSink(bridge)
        sink.end()
        await until(lambda: sink.is_over, "the end was told")
        assert sink.received == b"."


@EPOLL
async def test_closed_lane_is_called_no_more_and_others_are() -> None:
    """With entries in flight, it gets nothing of them, and its later input is not processed."""
    async with Bridge(Limits(slots=8, entries=8, slot_bytes=8)) as bridge:
        held = Held()
        sink, other = RecordingSink(bridge, lambda: held), RecordingSink(bridge)
        for _ in range(3):
            sink.send(b"a")
        other.send(b"b")
        await until(held.entered.is_set, "the worker has begun")
        sink.close()
        sink.close()
        held.go.set()
        await until(lambda: other.received, "the other lane was answered")
        await until(lambda: bridge.statistics().lanes == 1, "the lane is gone")
        assert sink.calls == []
        assert held.chunks == [b"a"]
        assert other.received == b"B"


@EPOLL
async def test_lane_closed_from_its_own_reply_is_called_no_more() -> None:
    """Neither the end nor credit follows, though both came with the same entry."""
    async with Bridge(TINY) as bridge:

        class Closes(RecordingSink):
            def on_reply(self, reply: bytes | memoryview) -> None:
                super().on_reply(reply)
                self.close()

        at_end, at_credit = Closes(bridge), Closes(bridge)
        at_end.end()
        at_credit.send(b"a")
        at_credit.send(b"b")
        await until(lambda: bridge.statistics().lanes == 0, "the lanes are gone")
        assert at_end.calls == ["reply"]
        assert at_credit.calls == ["reply"]


@EPOLL
async def test_processor_error_ends_its_lane_only() -> None:
    """Replies before it were given; neither replies nor the end follow it; others go on."""
    async with Bridge(Limits(slots=16, entries=16, slot_bytes=8)) as bridge:
        sink, other = RecordingSink(bridge, Raises), RecordingSink(bridge, Raises)
        for data in (b"before", b"fail", b"after", b"fail"):
            sink.send(data)
        sink.end()
        other.send(b"fine")
        other.end()
        await until(lambda: sink.is_over and other.is_over, "both are over")
        assert (sink.received, other.received) == (b"BEFORE", b"FINE.")
        assert sink.calls == ["reply", "error"]
        assert [str(error) for error in sink.errors] == ["the word was fail"]
        assert bridge.statistics().processor_errors == 1
        sink.close()
        other.close()
        await until(lambda: bridge.statistics().lanes == 0, "the lanes are gone")


@EPOLL
async def test_failed_lane_gets_no_credit() -> None:
    """It had stopped for its quota, or waited for a slot; both are over."""
    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge, Raises)
        for data in (b"fail", b"b", b"c", b"d"):
            sink.send(data)
        sink.end()
        await until(
            lambda: bridge.statistics().released == bridge.statistics().published == 4,
            "everything is through",
        )
        assert sink.calls == ["error"]


@EPOLL
async def test_wrong_result_is_a_processor_error() -> None:
    """It is told to the sink like any other."""
    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge, as_factory(lambda data: "text"))
        sink.send(b"a")
        await until(lambda: sink.is_over, "the error was told")
        assert type(sink.errors[0]) is ProcessorError


@EPOLL
async def test_processor_that_fails_after_its_connection_is_reported(
    loop_errors: list[dict[str, Any]],
) -> None:
    """There is no sink to tell, so the loop's exception handler gets it."""

    class Closes(Upper):
        def close(self) -> None:
            raise ValueError("in close")

    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge, Closes)
        sink.send(b"a")
        sink.close()
        await until(lambda: bridge.statistics().lanes == 0, "the lane is gone")
        # Abandoned before or after it was made: only a processor that exists can fail.
        if bridge.statistics().processor_errors:
            (context,) = loop_errors
            assert "after its connection had gone" in context["message"]
            assert str(context["exception"]) == "in close"
        second = RecordingSink(bridge, Closes)
        second.send(b"a")
        await until(lambda: second.received, "it was made")
        loop_errors.clear()
        second.close()
        await until(lambda: loop_errors, "it was reported")
        assert str(loop_errors[0]["exception"]) == "in close"
    loop_errors.clear()


@EPOLL
@pytest.mark.parametrize("fail_in", ["reply", "end", "error"])
async def test_sink_that_raises_costs_others_nothing(
    fail_in: str, loop_errors: list[dict[str, Any]]
) -> None:
    """It is reported, and the entries of everybody are released."""
    async with Bridge(Limits(slots=16, entries=16, slot_bytes=8)) as bridge:
        factory = Raises if fail_in == "error" else Upper
        bad, good = RecordingSink(bridge, factory, fail_in=fail_in), RecordingSink(bridge)
        bad.send(b"fail")
        good.send(b"good")
        bad.end()
        good.end()
        await until(lambda: good.is_over, "the good one is over")
        assert good.received == b"GOOD."
        await until(
            lambda: bridge.statistics().released == bridge.statistics().published,
            "everything is released",
        )
    assert {str(c["exception"]) for c in loop_errors} == {f"sink fails in {fail_in}"}
    assert loop_errors[0]["message"] == "a sink of the bridge raised"
    loop_errors.clear()


@EPOLL
async def test_sink_that_raises_at_a_reply_gets_an_error_and_no_later_reply(
    loop_errors: list[dict[str, Any]],
) -> None:
    """What it lost must not be followed by what came after it."""
    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge, fail_in="reply")
        sink.send(b"1")
        await until(lambda: sink.errors, "it is told")
        sink.fail_in = ""
        sink.send(b"2")
        sink.end()
        sink.close()
        await until(lambda: bridge.statistics().lanes == 0, "the lane is gone")
        assert sink.calls == ["reply", "error"]
        assert sink.received == b"1"
    assert [str(context["exception"]) for context in loop_errors] == ["sink fails in reply"]
    loop_errors.clear()


@EPOLL
async def test_interrupt_out_of_a_sink_gives_no_reply_twice(
    loop_errors: list[dict[str, Any]],
) -> None:
    """What was handed over is released, and the others get theirs in the same drain."""
    async with Bridge(TINY) as bridge:
        interrupted, other = RecordingSink(bridge), RecordingSink(bridge)

        def interrupt(reply: bytes | memoryview) -> None:
            interrupted.received += reply
            raise KeyboardInterrupt

        interrupted.on_reply = interrupt  # type: ignore[method-assign]
        interrupted.send(b"1")
        other.send(b"2")
        bridge.parts.side.flush()  # without a turn of the loop: the drain is to be ours
        wait_until(lambda: bridge.statistics().processed == 2, "both are processed")
        bridge.parts.delivery.drain()
        bridge.parts.delivery.drain()
        assert (bytes(interrupted.received), bytes(other.received)) == (b"1", b"2")
    assert [type(context["exception"]) for context in loop_errors] == [KeyboardInterrupt]
    loop_errors.clear()


@EPOLL
async def test_abandoned_lane_gets_no_reply_that_was_on_its_way() -> None:
    """A connection that a deadline has ended must not write behind its end of stream."""
    async with Bridge(TINY) as bridge:
        held = Held()
        sink = RecordingSink(bridge, lambda: held)
        sink.send(b"1")
        await until(held.entered.is_set, "the worker is at it")
        sink.lane.abandon()
        held.go.set()
        await until(lambda: bridge.statistics().released == 1, "it has come back")
        assert sink.calls == []


@EPOLL
async def test_sink_that_raises_at_its_credit_costs_other_waiters_nothing(
    loop_errors: list[dict[str, Any]],
) -> None:
    """I9: those behind it in the queue are told all the same."""
    async with Bridge(Limits(slots=3, entries=3, slot_bytes=8)) as bridge:
        held = Held()
        first = RecordingSink(bridge, lambda: held)
        for data in (b"1", b"2", b"3"):
            first.send(data)
        bad, good = RecordingSink(bridge, fail_in="credit"), RecordingSink(bridge)
        assert not bad.send(b"bad")
        assert not good.send(b"good")
        held.go.set()
        await until(lambda: good.received and good.may_publish, "the good one may go on")
        assert [str(error) for error in bad.errors] == ["sink fails in credit"]
    assert {str(c["exception"]) for c in loop_errors} == {"sink fails in credit"}
    loop_errors.clear()


@EPOLL
async def test_sweep_reaches_every_sink_again_and_again(
    monkeypatch: pytest.MonkeyPatch, loop_errors: list[dict[str, Any]]
) -> None:
    """One that raises costs the others nothing; a bridge without lanes sweeps no more."""
    monkeypatch.setattr(sweep_module, "SWEEP_S", 0.001)
    async with Bridge(TINY) as bridge:
        bad, good = RecordingSink(bridge, fail_in="sweep"), RecordingSink(bridge)
        held = Held()
        gone = RecordingSink(bridge, lambda: held)
        gone.send(b"a")
        await until(held.entered.is_set, "the worker has begun")
        gone.close()  # its lane stays until the worker is free again
        gone.calls.clear()
        good.calls.clear()
        await until(lambda: good.calls.count("sweep") >= 3, "three sweeps came")
        assert bad.calls.count("sweep") >= 2
        assert [str(error) for error in bad.errors] == ["sink fails in sweep"]
        assert good.errors == []
        assert gone.calls == []
        held.go.set()
        bad.close()
        good.close()
        await until(lambda: not bridge.parts.sweep.is_running, "the sweeps have ended")
        again = RecordingSink(bridge)
        await until(lambda: again.calls, "a new lane is swept")
    loop_errors.clear()


@EPOLL
async def test_sweep_of_many_lanes_is_spread_over_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand idle connections must not make one turn long; each is looked at once."""
    monkeypatch.setattr(sweep_module, "SWEEP_LANES", 3)
    async with Bridge(TINY) as bridge:
        sinks = [RecordingSink(bridge) for _ in range(8)]
        swept = []
        bridge.parts.sweep.run()
        while not hasattr(bridge.parts.sweep._timer, "when"):
            swept.append(sum(sink.calls.count("sweep") for sink in sinks))
            await asyncio.sleep(0)
        swept.append(sum(sink.calls.count("sweep") for sink in sinks))
        assert swept == [3, 6, 8]
        assert all(sink.calls == ["sweep"] for sink in sinks)


@EPOLL
async def test_drain_takes_a_bounded_number_of_entries() -> None:
    """I11: a full ring of results comes in several turns."""
    most = delivery.DRAIN_ENTRIES
    async with Bridge(Limits(slots=most, slot_bytes=8, in_flight_entries=9999)) as bridge:
        for _ in range(2):  # a bridge's first turn drains once more, for what came before it
            await asyncio.sleep(0)
        per_turn: list[int] = []
        held = Held()
        sink = RecordingSink(bridge, lambda: held)
        for _ in range(3 * most + 1):
            sink.send(b"x")
        held.go.set()
        # Blocks the loop, so that every result is there before the first drain.
        bridge.parts.side.flush()
        wait_until(lambda: bridge.statistics().processed == 3 * most + 1, "all is processed")
        released = bridge.statistics().released
        while released < 3 * most + 1:
            await asyncio.sleep(0)
            now = bridge.statistics().released
            per_turn.append(now - released)
            released = now
        assert max(per_turn) == most
        assert bridge.statistics().backstop_wakes == 0
        assert sink.received == b"X" * (3 * most + 1)


@EPOLL
async def test_statistics_count_what_happened() -> None:
    """Entries, lanes, waiters, spills, the most slots in use."""
    async with Bridge(Limits(slots=2, entries=2, slot_bytes=8)) as bridge:
        held = Held()
        sink, waiter = RecordingSink(bridge, lambda: held), RecordingSink(bridge)
        sink.send(b"a")
        sink.send(b"b")
        waiter.send(b"c")
        seen = bridge.statistics()
        assert (seen.published, seen.released, seen.lanes) == (2, 0, 2)
        assert (seen.waiting_lanes, seen.spills) == (1, 1)
        held.go.set()
        await until(lambda: waiter.received, "all is answered")
        await until(lambda: bridge.statistics().released == 3, "all is released")
        seen = bridge.statistics()
        assert (seen.published, seen.processed, seen.waiting_lanes) == (3, 3, 0)
        assert seen.entries_in_use_high == 2
        assert 1 <= seen.worker_batches <= 3
        assert 1 <= seen.worker_largest_batch <= 2
        assert seen.loop_drains >= 1
        assert seen.backstop_wakes == seen.processor_errors == 0


@EPOLL
async def test_open_needs_a_bridge_that_runs() -> None:
    """Before the start, while it stops, and after."""
    bridge = Bridge(TINY)
    with pytest.raises(BridgeStopped, match="never started"):
        RecordingSink(bridge)
    async with bridge:
        RecordingSink(bridge).close()
        bridge.parts.side.close()
        with pytest.raises(BridgeStopped, match="is stopped"):
            RecordingSink(bridge)
    with pytest.raises(BridgeStopped, match="is stopped"):
        RecordingSink(bridge)


@EPOLL
async def test_results_are_given_to_owners_never_to_places() -> None:
    """A lane opened after another was closed gets nothing of what that had in flight."""
    async with Bridge(Limits(slots=4, entries=4, slot_bytes=8)) as bridge:
        held = Held()
        old = RecordingSink(bridge, lambda: held)
        old.send(b"old")
        await until(held.entered.is_set, "the worker works on it")
        old.close()
        new = RecordingSink(bridge)
        new.send(b"new")
        held.go.set()
        await until(lambda: new.received, "the new one was answered")
        assert new.received == b"NEW"
        assert old.calls == []


# -- with frames -------------------------------------------------------------------------------

FRAMES = Limits(
    slots=8,
    slot_bytes=4096,
    max_frame_bytes=1500,
    carry_bytes=1024,
    pool_connection_bytes=4096,
    pool_bytes=4096,
)


@EPOLL
@pytest.mark.parametrize("views_allowed", [False, True])
async def test_replies_before_an_error_come_first_though_one_entry_has_both(
    views_allowed: bool,
) -> None:
    """Then the error, then nothing; a peer's fault is no processor error."""
    async with Bridge(FRAMES) as bridge:
        sink = RecordingSink(bridge, Upper, framing="len32", views_allowed=views_allowed)
        sink.send(b"\0\0\0\2ab" + b"\0\0\0\1c" + b"\xff\xff\xff\xff")
        sink.send(b"more")
        sink.end()
        await until(lambda: bridge.statistics().released == 3, "everything is through")
        assert sink.received == b"\0\0\0\2AB\0\0\0\1C"
        assert sink.calls == ["reply", "error"]
        assert type(sink.errors[0]) is FrameTooLarge
        assert bridge.statistics().processor_errors == 0
        sink.close()
        await until(lambda: bridge.statistics().lanes == 0, "the lane is gone")
        assert bridge.statistics().pool.reserved_bytes == 0


@EPOLL
async def test_peers_fault_that_nobody_hears_is_not_reported() -> None:
    """Its connection has gone: there is nothing to close and nothing to mend."""
    async with Bridge(FRAMES) as bridge:
        held = Held()
        sink = RecordingSink(bridge, lambda: held, framing="line")
        sink.send(b"a\n" + bytes(1600))
        await until(held.entered.is_set, "the worker has begun")
        sink.close()
        held.go.set()
        await until(lambda: bridge.statistics().lanes == 0, "the lane is gone")
        assert sink.calls == []
        assert bridge.statistics().processor_errors == 0


@EPOLL
@pytest.mark.parametrize(("views_allowed", "pieces"), [(True, 2), (False, 1)])
async def test_reply_in_pieces_reaches_a_sink_that_allows_views(
    views_allowed: bool, pieces: int
) -> None:
    """The carried frame is in a block, the others where they were received."""
    async with Bridge(FRAMES) as bridge:
        sink = RecordingSink(bridge, Reverse, framing="line", views_allowed=views_allowed)
        sink.send(b"ab\ncd")
        await until(lambda: sink.received, "the first is answered")
        sink.send(b"e\nfg\nhi\n")
        await until(lambda: len(sink.received) == 13, "all are answered")
        assert sink.received == b"ba\nedc\ngf\nih\n"
        assert sink.pieces == [1, pieces]


@EPOLL
async def test_sink_closed_while_it_is_given_a_reply_hears_no_error() -> None:
    """Though the same entry has one."""
    async with Bridge(FRAMES) as bridge:

        class Closes(RecordingSink):
            def on_reply(self, reply: Any) -> None:
                super().on_reply(reply)
                self.close()

        sink = Closes(bridge, Upper, framing="len32")
        sink.send(b"\0\0\0\1a\xff\xff\xff\xff")
        await until(lambda: bridge.statistics().lanes == 0, "the lane is gone")
        assert sink.calls == ["reply"]


@EPOLL
async def test_unsent_replies_of_one_lane_stop_another_until_they_are_taken() -> None:
    """The pool counts them; whoever waits for room is served in the next turn."""
    async with Bridge(FRAMES) as bridge:
        slow, other = (RecordingSink(bridge, Upper, framing="line") for _ in range(2))
        bridge.set_excess(slow.lane, 3600)
        assert not other.send(bytes(1000))
        await until(lambda: bridge.statistics().released == 1, "it is processed")
        seen = bridge.statistics()
        assert (seen.pool.reserved_bytes, seen.pool.refused) == (4050, 1)
        assert seen.waiting_lanes == seen.pool.waiting_lanes == 1
        assert not other.may_publish
        bridge.set_excess(slow.lane, 0)
        await until(lambda: other.may_publish, "the other may go on")
        assert other.calls == ["credit"]
        assert slow.calls == []
        assert bridge.statistics().pool.waiting_lanes == 0


@EPOLL
async def test_taken_replies_give_their_own_lane_its_credit() -> None:
    """In the next iteration, though others wait: it is the lane's own room that comes back."""
    async with Bridge(FRAMES) as bridge:
        sink, closed = (RecordingSink(bridge, Upper, framing="line") for _ in range(2))
        for each in (sink, closed):
            bridge.set_excess(each.lane, 3600)
            assert not each.send(bytes(600))
        await until(lambda: bridge.statistics().released == 2, "it is processed")
        assert sink.calls == []
        lane = closed.lane
        closed.close()
        bridge.set_excess(lane, 0)
        bridge.set_excess(sink.lane, 0)
        assert sink.calls == []  # not on the caller's stack, which may be the sink's own
        await until(lambda: sink.calls, "it got its credit")
        assert sink.calls == ["credit"]
        assert closed.calls == []


@EPOLL
async def test_room_of_a_closed_lane_goes_to_who_waits() -> None:
    """With its last entry, which is what frees its block."""
    async with Bridge(FRAMES) as bridge:
        holds, waits = (RecordingSink(bridge, Upper, framing="line") for _ in range(2))
        holds.send(bytes(1500))
        holds.send(b"\n" + bytes(1400))
        await until(lambda: bridge.statistics().released == 2, "it is processed")
        bridge.set_excess(holds.lane, 1000)
        waits.send(bytes(1000))
        await until(lambda: bridge.statistics().released == 3, "it is processed")
        assert not waits.may_publish
        holds.close()
        await until(lambda: waits.may_publish, "the other may go on")
        assert bridge.statistics().pool.reserved_bytes == 2048


@EPOLL
async def test_failed_lane_gets_no_credit_when_others_give_room() -> None:
    """Its error was the last that it heard."""
    async with Bridge(FRAMES) as bridge:
        slow, fails = (RecordingSink(bridge, Raises, framing="line") for _ in range(2))
        bridge.set_excess(slow.lane, 3600)
        assert not fails.send(b"fail\n" + bytes(995))
        await until(lambda: fails.errors, "it has failed")
        bridge.set_excess(slow.lane, 0)
        bridge.parts.delivery.serve_waiters()
        assert fails.calls == ["error"]
        assert bridge.statistics().pool.waiting_lanes == 0


@EPOLL
async def test_statistics_of_the_pool_follow_a_frame_through() -> None:
    """Leased while it is unfinished, lent with its reply, claimed back, and then kept."""
    async with Bridge(FRAMES) as bridge:
        sink = RecordingSink(bridge, Upper, framing="line", views_allowed=True)
        assert bridge.statistics().pool.allocations == 0
        sink.send(bytes(1100))
        await until(lambda: bridge.statistics().released == 1, "it is processed")
        pool = bridge.statistics().pool
        assert (pool.in_use_bytes, pool.kept_bytes, pool.leases) == (2048, 0, 1)
        assert pool.reserved_bytes == 2048
        assert pool.reserved_high_bytes >= 2048
        sink.send(b"\n")
        await until(lambda: bridge.statistics().released == 2, "it is answered")
        sink.send(b"a\n")
        await until(lambda: bridge.statistics().released == 3, "so is the next")
        pool = bridge.statistics().pool
        assert (pool.in_use_bytes, pool.in_use_high_bytes, pool.kept_bytes) == (0, 2048, 2048)
        assert (pool.allocations, pool.leases, pool.reserved_bytes) == (1, 1, 0)
        assert (pool.refused, pool.waiting_lanes) == (0, 0)


@EPOLL
async def test_lane_of_longer_frames_than_the_bridge_has_room_for_is_refused() -> None:
    """Shorter ones are allowed; without frames the number says nothing."""
    async with Bridge(FRAMES) as bridge:

        def open_lane(framing: str, max_frame_bytes: int) -> int:
            lane = bridge.open(
                RecordingSink(bridge),
                Upper,
                views_allowed=False,
                framing=as_framing(framing),
                max_frame_bytes=max_frame_bytes,
            )
            assert lane.is_framed is (framing != "raw")
            return max_frame_bytes

        assert open_lane("line", 1500) == 1500
        assert open_lane("len64", 3) == 3
        assert open_lane("raw", 1501) == 1501
        with pytest.raises(SettingsError) as caught:
            open_lane("line", 1501)
        assert str(caught.value) == (
            "max_frame_bytes is 1501; the limits of this bridge allow 1500"
        )


@pytest.mark.parametrize(
    ("shortest_s", "sweep_s"), [(0.2, 0.05), (2.0, 0.5), (4.0, 1.0), (100.0, 1.0)]
)
def test_sweep_comes_four_times_in_the_shortest_deadline_but_at_least_each_second(
    shortest_s: float, sweep_s: float
) -> None:
    """So no deadline passes late by more than a quarter of it, and none by more than a second."""
    limits = TINY.replace(
        first_byte_timeout_s=1000.0, frame_timeout_s=shortest_s, write_stall_timeout_s=1000.0
    )
    assert Bridge(limits).parts.sweep.interval_s == sweep_s


@strategies.QUICK
@given(
    slots=st.integers(1, 4),
    share=st.sampled_from([1, 3]),
    in_flight=st.integers(1, 3),
    spill_bytes=st.integers(1, 6),
    lanes=st.lists(strategies.chunked(), min_size=1, max_size=6),
)
def test_many_lanes_on_a_tiny_ring_get_exactly_their_bytes(
    slots: int, share: int, in_flight: int, spill_bytes: int, lanes: list[list[bytes]]
) -> None:
    """I1-I11: any lanes, cut anywhere, sent at once or politely, through 1 to 4 slots."""

    async def main() -> None:
        limits = Limits(
            slots=slots,
            entries=slots * share,
            slot_bytes=7,
            in_flight_entries=in_flight,
            spill_bytes=spill_bytes,
        )
        async with Bridge(limits) as bridge:
            sinks = [RecordingSink(bridge, views_allowed=True) for _ in lanes]

            async def feed(number: int, sink: RecordingSink, pieces: list[bytes]) -> None:
                for piece in pieces:
                    if number % 3:
                        await sink.send_politely(piece)
                    else:
                        sink.send(piece)
                sink.end()
                await until(lambda: sink.is_over, "the end was told")

            await asyncio.gather(
                *(feed(n, *pair) for n, pair in enumerate(zip(sinks, lanes, strict=True)))
            )
            for sink, pieces in zip(sinks, lanes, strict=True):
                assert sink.received == b"".join(pieces).upper() + b"."
                assert not sink.errors
            seen = bridge.statistics()
            assert seen.backstop_wakes == 0
            assert seen.entries_in_use_high <= slots * share

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        runner.run(main())


@EPOLL
async def test_lent_blocks_of_a_bridge_are_claimed_back() -> None:
    """I18: a reply in a block of the pool keeps it until its entry is released, and no longer."""

    class Keeps(Upper):
        def process(self, chunk: memoryview) -> memoryview:  # type: ignore[override]
            return chunk

    async with Bridge(FRAMES) as bridge:
        sink = RecordingSink(bridge, Keeps, framing="line", views_allowed=True)
        for line in (b"first", b"second", b"third"):
            for cut in (line[:2], line[2:] + b"\n"):
                released = bridge.statistics().released
                sink.send(cut)
                await until(
                    lambda before=released: bridge.statistics().released > before, "it is released"
                )
        assert sink.received == b"first\nsecond\nthird\n"
        pool = bridge.statistics().pool
        assert pool.reclaimed >= 2
        assert pool.allocations <= 2


@EPOLL
async def test_sink_that_raises_at_credit_for_taken_replies_is_told(
    loop_errors: list[dict[str, Any]],
) -> None:
    """It is reported, and hears that it is over, as with any other call."""
    async with Bridge(FRAMES) as bridge:
        sink = RecordingSink(bridge, framing="line", fail_in="credit")
        bridge.set_excess(sink.lane, 3600)
        assert not sink.send(bytes(600))
        await until(lambda: bridge.statistics().released == 1, "it is processed")
        bridge.set_excess(sink.lane, 0)
        await until(lambda: len(sink.calls) >= 2, "it was told")
        assert sink.calls == ["credit", "error"]
    assert [str(context["exception"]) for context in loop_errors] == ["sink fails in credit"]
    loop_errors.clear()


@EPOLL
async def test_sweep_tells_sinks_the_time_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """By that clock deadlines are counted."""
    monkeypatch.setattr(sweep_module, "SWEEP_S", 0.001)
    times: list[float] = []

    class Watch(RecordingSink):
        def on_sweep(self, now_s: float) -> None:
            times.append(now_s)

    loop = asyncio.get_running_loop()
    async with Bridge(TINY) as bridge:
        start_s = loop.time()
        Watch(bridge)
        await until(lambda: len(times) >= 2, "two sweeps came")
        assert start_s <= times[0] <= times[1] <= loop.time()


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


def test_new_bridge_has_counted_nothing_and_its_worker_has_its_name() -> None:
    """`ps -L` shows the name."""
    bridge = Bridge(TINY)
    statistics = bridge.statistics()
    assert (statistics.inlined, statistics.published, statistics.lanes) == (0, 0, 0)
    assert bridge.parts.worker.name == "asyncrev-worker"
    assert Bridge(TINY, name="mine").parts.worker.name == "mine"


@EPOLL
async def test_slot_of_a_reply_is_not_given_out_while_the_reply_is_taken() -> None:
    """Not even to a sink that claims in its own `on_reply`: the slot is released after it."""

    class InPlace(Upper):
        def process(self, chunk: memoryview) -> memoryview:  # type: ignore[override]
            return chunk

    class Claims(RecordingSink):
        def on_reply(self, reply: Any) -> None:
            view = self.bridge.claim(self.lane)
            view[:] = b"!" * len(view)
            super().on_reply(reply)

    async with Bridge(TINY) as bridge:
        sink = Claims(bridge, InPlace, views_allowed=True)
        for number in range(3):
            sink.send(b"%d" % number * 8)
            await until(lambda n=number: len(sink.received) == 8 * (n + 1), "it is answered")
        assert sink.received == b"0" * 8 + b"1" * 8 + b"2" * 8


@EPOLL
@pytest.mark.parametrize("keeps_no_views", [None, False, True])
async def test_protocol_takes_views_only_for_a_transport_that_keeps_none(
    keeps_no_views: bool | None,
) -> None:
    """What a transport keeps of a reply must be bytes; one that says nothing may keep views."""

    class Quiet(asyncio.Transport):
        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            pass

    async with Bridge(TINY) as bridge:
        link, transport = BridgeProtocol(bridge), Quiet()
        if keeps_no_views is not None:
            transport.keeps_no_views = keeps_no_views  # type: ignore[attr-defined]
        link.connection_made(transport)
        (lane,) = bridge.parts.lanes
        assert lane.work.views_allowed is (keeps_no_views is True)
        link.connection_lost(None)
        await until(lambda: bridge.open_lanes == 0, "its lane has gone")
