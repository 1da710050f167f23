"""bridge: lanes of many sinks over one ring and one real worker thread."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Bridge, BridgeProtocol, EpollEventLoop, Limits
from asyncrev.bridge import sweep as sweep_module
from asyncrev.errors import BridgeStopped, ProcessorError, SettingsError
from asyncrev.frames.registry import as_framing
from asyncrev.processors import as_factory
from asyncrev.work.reverse import Reverse
from asyncrev.work.tls_parameters import TlsParameters
from tests import strategies
from tests.sinks import FRAMES, TINY, Held, RecordingSink, Upper
from tests.support import until
from tests.tls_pair import client_context, server_context

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])


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
async def test_end_without_input_is_answered() -> None:
    """The processor may have something to say about nothing."""
    async with Bridge() as bridge:
        sink = RecordingSink(bridge)
        sink.end()
        await until(lambda: sink.is_over, "the end was told")
        assert sink.received == b"."


@EPOLL
async def test_wrong_result_is_a_processor_error() -> None:
    """It is told to the sink like any other."""
    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge, as_factory(lambda data: "text"))
        sink.send(b"a")
        await until(lambda: sink.is_over, "the error was told")
        assert type(sink.errors[0]) is ProcessorError


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
async def test_sweep_of_many_lanes_takes_many_iterations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten thousand idle connections must not make one iteration long; each is looked at once."""
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
@pytest.mark.parametrize("name", ["raw", "line"])
async def test_open_gives_the_lane_its_settings_or_those_of_the_bridge(name: str) -> None:
    """Zero is a setting like any other; for replies it stands for no bound."""
    limits = FRAMES.replace(max_reply_bytes=77, high_water_bytes=5000)
    framing = as_framing(name)
    parameters = TlsParameters(server_context())
    async with Bridge(limits) as bridge:
        sink = RecordingSink(bridge)

        def opened(**settings: Any) -> Any:
            lane = bridge.open(sink, Upper, views_allowed=False, framing=framing, **settings)
            assert lane in bridge.parts.lanes
            assert lane.sink is sink
            return lane.work

        assert opened().max_reply_bytes == 77
        assert opened(max_reply_bytes=0).max_reply_bytes > 2**60
        assert opened(max_reply_bytes=78).max_reply_bytes == 78
        assert opened().window.limit_bytes == limits.window_bytes == 5000
        assert opened(tls=parameters)._parameters is parameters
        if framing is not None:
            assert opened()._max_frame_bytes == 1500
            assert opened(max_frame_bytes=9)._max_frame_bytes == 9


@EPOLL
async def test_client_of_tls_speaks_before_it_gets_any_input() -> None:
    """Its first record is a handshake (22) of TLS, whose legacy version begins with 3."""
    parameters = TlsParameters(client_context(), "localhost")
    async with Bridge() as bridge:
        sink = RecordingSink(bridge)
        lane = bridge.open(sink, Upper, views_allowed=False, tls=parameters)
        assert not sink.received
        bridge.publish_start(lane)
        await until(lambda: sink.received, "it has spoken")
        assert sink.received[:2] == b"\x16\x03"


@EPOLL
async def test_what_is_claimed_can_be_read_until_it_is_published() -> None:
    """A connection looks at it to answer it in the loop."""
    async with Bridge(TINY) as bridge:
        sink = RecordingSink(bridge)
        bridge.claim(sink.lane)[:3] = b"abc"
        assert bridge.claimed(2) == b"ab"
        assert bridge.publish(sink.lane, 3)
        await until(lambda: sink.received == b"ABC", "it is answered")


@EPOLL
async def test_stalled_lane_gets_a_window_and_goes_on_when_it_is_stalled_no_more() -> None:
    """A peer that takes its replies again gets the rest, without sending anything."""
    limits = Limits(
        slots=4, slot_bytes=64, high_water_bytes=4096, max_reply_bytes=16384, in_flight_bytes=100
    )
    chunk = b"0123456789"  # answered with 4,000 bytes, so that two fill the window
    async with Bridge(limits) as bridge:
        sink, idle = (RecordingSink(bridge, as_factory(lambda data: data * 400)) for _ in range(2))
        bridge.set_stalled(sink.lane, True)
        for _ in range(5):
            await sink.send_politely(chunk)
            await until(lambda: not sink.lane.in_flight_entries, "it has come back")
        assert len(sink.received) == 8000
        bridge.set_stalled(idle.lane, False)  # without effect: it was not, and has no input
        await asyncio.sleep(0)
        assert len(sink.received) == 8000
        bridge.set_stalled(sink.lane, False)
        await until(lambda: len(sink.received) == 20_000, "all is answered")
        bridge.set_stalled(sink.lane, True)
        for _ in range(5):
            await sink.send_politely(chunk)
            await until(lambda: not sink.lane.in_flight_entries, "it has come back")
        published = bridge.statistics().published
    bridge.set_stalled(sink.lane, False)  # its connection may hear later that the bridge ended
    assert bridge.statistics().published == published


# -- with frames -------------------------------------------------------------------------------


@EPOLL
async def test_unsent_replies_of_one_lane_stop_another_until_they_are_taken() -> None:
    """The pool counts them; whoever waits for budget is served in the next iteration."""
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
    """In the next iteration, though others wait: it is the lane's own budget that comes back."""
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
async def test_budget_of_a_closed_lane_goes_to_who_waits() -> None:
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
async def test_lane_of_longer_frames_than_the_budget_of_the_bridge_is_refused() -> None:
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


@strategies.QUICK
@given(
    slots=st.integers(1, 4),
    share=st.sampled_from([1, 3]),
    in_flight=st.integers(1, 3),
    overflow_bytes=st.integers(1, 6),
    lanes=st.lists(strategies.chunked(), min_size=1, max_size=6),
)
def test_many_lanes_on_a_tiny_ring_get_exactly_their_bytes(
    slots: int, share: int, in_flight: int, overflow_bytes: int, lanes: list[list[bytes]]
) -> None:
    """I1-I11: any lanes, split anywhere, sent at once or politely, through 1 to 4 slots."""

    async def main() -> None:
        limits = Limits(
            slots=slots,
            entries=slots * share,
            slot_bytes=7,
            in_flight_entries=in_flight,
            overflow_bytes=overflow_bytes,
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
@pytest.mark.parametrize("keeps_no_views", [None, False, True])
async def test_protocol_takes_views_only_for_a_transport_that_keeps_none(
    keeps_no_views: bool | None,
) -> None:
    """What a transport keeps of a reply must be bytes; one that says nothing may keep views."""

    class Quiet(asyncio.Transport):
        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            pass

    async with Bridge(TINY) as bridge:
        connection, transport = BridgeProtocol(bridge), Quiet()
        if keeps_no_views is not None:
            transport.keeps_no_views = keeps_no_views  # type: ignore[attr-defined]
        connection.connection_made(transport)
        (lane,) = bridge.parts.lanes
        assert lane.work.views_allowed is (keeps_no_views is True)
        connection.connection_lost(None)
        await until(lambda: bridge.open_lanes == 0, "its lane has gone")
