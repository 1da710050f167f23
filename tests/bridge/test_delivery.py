"""delivery: results go to their lanes' sinks in order, and whatever a sink does costs no other."""

import asyncio
from typing import Any

import pytest

from asyncrev import Bridge, Limits
from asyncrev.bridge import delivery
from asyncrev.errors import FrameTooLarge
from asyncrev.processors import as_factory
from asyncrev.ring.plane import Plane
from asyncrev.work.reverse import Reverse
from tests.planes import python_plane_only
from tests.sinks import FRAMES, TINY, Held, Raises, RecordingSink, Upper
from tests.support import until, wait_until

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])


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
        for lane in bridge.parts.lanes:
            bridge.parts.delivery.look(lane, 0.0)  # a sweep comes while its entries are out
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
    """What was handed over is released, and the others get theirs in the same delivery."""
    async with Bridge(TINY) as bridge:
        interrupted, other = RecordingSink(bridge), RecordingSink(bridge)

        def interrupt(reply: bytes | memoryview) -> None:
            interrupted.received += reply
            raise KeyboardInterrupt

        interrupted.on_reply = interrupt  # type: ignore[method-assign]
        interrupted.send(b"1")
        other.send(b"2")
        bridge.parts.side.flush()  # without an iteration of the loop: the delivery is to be ours
        wait_until(lambda: bridge.statistics().processed == 2, "both are processed")
        bridge.parts.delivery.deliver()
        bridge.parts.delivery.deliver()
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
async def test_delivery_takes_a_bounded_number_of_entries() -> None:
    """I11: a full ring of results comes in several iterations."""
    most = delivery.DELIVERY_ENTRIES
    async with Bridge(Limits(slots=most, slot_bytes=8, in_flight_entries=9999)) as bridge:
        for _ in range(2):  # a bridge's first iteration delivers once more, for what came before it
            await asyncio.sleep(0)
        per_iteration: list[int] = []
        held = Held()
        sink = RecordingSink(bridge, lambda: held)
        for _ in range(3 * most + 1):
            sink.send(b"x")
        held.go.set()
        # Blocks the loop, so that every result is there before the first delivery.
        bridge.parts.side.flush()
        wait_until(lambda: bridge.statistics().processed == 3 * most + 1, "all is processed")
        released = bridge.statistics().released
        while released < 3 * most + 1:
            await asyncio.sleep(0)
            now = bridge.statistics().released
            per_iteration.append(now - released)
            released = now
        assert max(per_iteration) == most
        assert bridge.statistics().backstop_wakes == 0
        assert sink.received == b"X" * (3 * most + 1)


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
    """The frame that spanned chunks is in a block, the others where they were received."""
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
async def test_failed_lane_gets_no_credit_when_others_give_budget_back() -> None:
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


@python_plane_only
@EPOLL
async def test_interrupt_between_two_entries_ends_the_lane_that_may_miss_a_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it lost must not be followed by what came after it; the others go on."""
    async with Bridge(TINY) as bridge:
        interrupted, other = RecordingSink(bridge), RecordingSink(bridge)
        plane_deliver = Plane.deliver

        def deliver(plane: Plane, end_seq: int) -> Any:
            monkeypatch.setattr(Plane, "deliver", plane_deliver)
            bridge.parts.ring.delivered_seq += 1
            raise KeyboardInterrupt

        for sink in (interrupted, other):
            sink.send(b"1")
        bridge.parts.side.flush()  # without an iteration of the loop: the delivery is to be ours
        wait_until(lambda: bridge.statistics().processed == 2, "both are processed")
        monkeypatch.setattr(Plane, "deliver", deliver)
        with pytest.raises(KeyboardInterrupt):
            bridge.parts.delivery.deliver()
        bridge.parts.delivery.deliver()
        assert (bytes(interrupted.received), bytes(other.received)) == (b"", b"1")
        assert [type(error) for error in interrupted.errors] == [KeyboardInterrupt]
        interrupted.send(b"2")
        await until(lambda: bridge.statistics().released == 3, "it has come back")
        assert not interrupted.received
        assert interrupted.lane.in_flight_entries == 0
        monkeypatch.setattr(Plane, "deliver", deliver)
        interrupted.close()  # and a close that is interrupted is one, too
        bridge.parts.side.flush()
        wait_until(lambda: bridge.statistics().processed == 4, "it is processed")
        with pytest.raises(KeyboardInterrupt):
            bridge.parts.delivery.deliver()
        assert bridge.open_lanes == 1
