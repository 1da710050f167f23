"""transports: a scripted transport behaves as a real one, and BridgeProtocol is right on it."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev import Bridge, BridgeProtocol, EpollEventLoop, Limits, Reverse
from asyncrev.testing.strategies import chunkings, frame_borders, frames, write_schedules
from asyncrev.testing.transports import Schedule, ScriptedTransport
from tests import framed as frame_tests
from tests.support import until
from tests.wires import Buffered, Plain, receive, wire

TINY = Limits(slots=2, slot_bytes=32, entries=4, overflow_bytes=16, high_water_bytes=64)


def run(scenario: Callable[[], Any]) -> Any:
    """Run a scenario on asyncio's own loop."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(scenario())


on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])


# -- the transport itself ----------------------------------------------------------------------


@on_asyncio
async def test_scripted_socket_takes_what_the_schedule_says_and_then_everything() -> None:
    """All, a part, nothing; what is left waits for `drain`, a step each time."""
    transport = ScriptedTransport(Plain(), [None, 2, 0, 1, 0])
    transport.write(b"abc")
    assert (bytes(transport.sent), transport.get_write_buffer_size()) == (b"abc", 0)
    transport.write(b"defg")
    transport.write(b"h")  # behind a write buffer nothing is tried
    assert (bytes(transport.sent), transport.get_write_buffer_size()) == (b"abcde", 3)
    assert transport.flush(1) == 3
    assert transport.flush(1) == 2
    assert transport.flush(1) == 2
    assert transport.flush() == 0
    assert bytes(transport.sent) == b"abcdefgh"


@on_asyncio
@pytest.mark.parametrize("keeps_views", [False, True])
async def test_memory_that_is_written_over_is_found_out_if_views_are_kept(
    keeps_views: bool,
) -> None:
    """As with asyncio since 3.12; by default what was not sent is copied, as by our transport."""
    transport = ScriptedTransport(Plain(), [1, 0], keeps_views=keeps_views)
    for write in (transport.write, lambda data: transport.writelines([data, data])):
        source = bytearray(b"abc")
        write(memoryview(source))
        source[:] = b"???"
    transport.flush()
    kept, copied = b"a????????", b"abcabcabc"
    assert bytes(transport.sent) == (kept if keeps_views else copied)
    assert transport.keeps_no_views is not keeps_views


@on_asyncio
async def test_water_marks_pause_and_resume_the_protocol_once() -> None:
    """Over the high water, and down to the low one; the defaults are asyncio's."""
    protocol = Plain()
    transport = ScriptedTransport(protocol, [0])
    assert transport.get_write_buffer_limits() == (16384, 65536)
    transport.set_write_buffer_limits(high=4, low=2)
    transport.write(b"1234")
    assert protocol.calls == ["made"]
    transport.write(b"56")
    transport.write(b"7")
    assert protocol.calls == ["made", "pause"]
    transport._steps = iter([4, 1, 0])
    assert transport.flush(1) == 3
    assert protocol.calls == ["made", "pause"]
    assert transport.flush(1) == 2
    assert protocol.calls == ["made", "pause", "resume"]
    transport.set_write_buffer_limits(high=1)
    assert protocol.calls == ["made", "pause", "resume", "pause"]
    with pytest.raises(ValueError, match="high"):
        transport.set_write_buffer_limits(high=1, low=2)


@on_asyncio
async def test_input_waits_while_reading_is_paused() -> None:
    """In order, with the end of input behind it; it comes soon after the resume."""
    protocol = Plain()
    transport = ScriptedTransport(protocol)
    transport.feed(b"a", b"b")
    transport.pause_reading()
    assert not transport.is_reading()
    transport.feed(b"c")
    transport.feed_eof()
    assert bytes(protocol.data) == b"ab"
    transport.resume_reading()
    assert bytes(protocol.data) == b"ab"
    await asyncio.sleep(0)
    assert bytes(protocol.data) == b"abc"
    await asyncio.sleep(0)
    assert protocol.calls == ["made", "eof", "lost"]  # it did not want to stay open
    assert transport.calls == [
        "connection_made",
        "data_received",
        "data_received",
        "pause_reading",
        "resume_reading",
        "data_received",
        "eof_received",
        "close",
        "connection_lost",
    ]


@on_asyncio
async def test_protocol_that_pauses_within_a_call_gets_no_more() -> None:
    """The rest of what was fed waits, and nothing comes twice."""

    class Pausing(Plain):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    protocol = Pausing()
    transport = ScriptedTransport(protocol)
    transport.feed(b"a", b"b", b"c")
    for wanted in (b"a", b"ab", b"abc"):
        assert bytes(protocol.data) == wanted
        transport.resume_reading()
        await asyncio.sleep(0)


@on_asyncio
async def test_buffered_protocol_gets_what_its_buffer_holds() -> None:
    """A chunk that is longer comes by more receives; an empty buffer is an error, as in asyncio."""
    protocol = Buffered(3)
    transport = ScriptedTransport(protocol)
    transport.feed(b"abcdefgh", b"i")
    assert bytes(protocol.data) == b"abcdefghi"
    assert transport.calls.count("buffer_updated") == 4
    protocol.buffer = memoryview(b"")
    with pytest.raises(RuntimeError, match="empty buffer"):
        transport.feed(b"j")


@on_asyncio
async def test_close_sends_the_write_buffer_first_and_abort_drops_it() -> None:
    """`connection_lost` comes once and not within the call."""
    for end in ("close", "abort", "lose"):
        protocol = Plain()
        transport = ScriptedTransport(protocol, [1, 0])
        transport.write(b"abc")
        getattr(transport, end)()
        transport.feed(b"late")
        assert transport.is_closing()
        assert transport.is_lost is (end != "close")
        if end == "close":
            transport.write(b"d")  # asyncio takes it, too
            transport.flush()
        transport.close()
        transport.abort()
        transport.write(b"never")
        assert protocol.calls == ["made"]
        await asyncio.sleep(0)
        assert protocol.calls == ["made", "lost"]
        assert protocol.error is None
        assert (bytes(transport.sent), bytes(protocol.data)) == (
            b"abcd" if end == "close" else b"a",
            b"",
        )


@on_asyncio
@pytest.mark.parametrize("kind", [BrokenPipeError, ConnectionResetError])
async def test_error_of_the_scripted_socket_loses_the_connection(kind: type[OSError]) -> None:
    """Its class stands in the schedule; `BlockingIOError` is another way to say 0."""
    protocol = Plain()
    transport = ScriptedTransport(protocol, [BlockingIOError, 1, kind])
    transport.write(b"abc")
    assert transport.flush(1) == 2
    assert transport.flush(1) == 0
    await asyncio.sleep(0)
    assert protocol.calls == ["made", "lost"]
    assert type(protocol.error) is kind
    protocol.error = None


@on_asyncio
async def test_end_of_output_goes_behind_the_write_buffer() -> None:
    """Then nothing can be written any more."""
    transport = ScriptedTransport(Plain(), [1, 0], extra={"peername": "somebody"})
    transport.write(b"ab")
    transport.write_eof()
    transport.write_eof()
    assert not transport.eof_sent
    transport.flush()
    assert transport.eof_sent
    assert not transport.is_closing()
    with pytest.raises(RuntimeError, match="write_eof"):
        transport.write(b"c")
    with pytest.raises(TypeError, match="int"):
        transport.write(3)
    assert transport.get_extra_info("peername") == "somebody"
    assert transport.can_write_eof()
    assert not ScriptedTransport(Plain(), extra={"sslcontext": True}).can_write_eof()


@on_asyncio
async def test_protocol_can_be_exchanged_within_a_call() -> None:
    """What comes next goes to the new one, by its own kind of call."""
    second = Buffered(2)

    class First(Plain):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(second)

    first = First()
    transport = ScriptedTransport(first)
    transport.feed(b"one", b"two")
    assert (bytes(first.data), bytes(second.data)) == (b"one", b"two")
    assert transport.get_protocol() is second


@settings(max_examples=40, deadline=None)
@given(
    writes=st.lists(st.binary(max_size=40), max_size=8),
    schedule=write_schedules(20),
    high=st.integers(0, 60),
)
def test_scripted_socket_is_the_same_to_our_own_transport(
    writes: list[bytes], schedule: Schedule, high: int
) -> None:
    """What waits after each write, and who is told, is as over a socket that does the same."""

    def write_all(transport: Any, protocol: Plain) -> list[Any]:
        transport.set_write_buffer_limits(high=high)
        waits = []
        for data in writes:
            transport.write(data)
            waits.append((transport.get_write_buffer_size(), list(protocol.calls)))
        return waits

    async def scripted() -> tuple[list[Any], bytes]:
        protocol = Plain()
        transport = ScriptedTransport(protocol, schedule)
        waits = write_all(transport, protocol)
        transport.flush()
        return waits, bytes(transport.sent)

    async def real() -> tuple[list[Any], bytes]:
        protocol = Plain()
        async with wire(protocol, steps=[*schedule, None]) as (transport, peer):
            waits = write_all(transport, protocol)
            return waits, await receive(peer, sum(map(len, writes)))

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        assert runner.run(scripted()) == runner.run(real())


# -- BridgeProtocol on it ----------------------------------------------------------------------


async def talk(
    processor: Any, framing: str, chunks: list[bytes], schedule: Schedule, keeps_views: bool
) -> bytes:
    """Return all that a connection sends for `chunks` and the end of input behind them."""
    async with Bridge(TINY) as bridge:
        connection = BridgeProtocol(bridge, processor, framing=framing)
        transport = ScriptedTransport(connection, schedule, keeps_views=keeps_views)
        for chunk in chunks:
            transport.feed(chunk)
            transport.flush(1)
            await asyncio.sleep(0)
        transport.feed_eof()

        def is_over() -> bool:
            transport.flush(1)
            return transport.is_lost

        await until(is_over, "the connection has closed behind its last reply")
        await until(lambda: bridge.open_lanes == 0, "its lane has gone")
    assert transport.calls[-1] == "connection_lost"
    return bytes(transport.sent)


PATIENT = settings(max_examples=25, deadline=None)


@PATIENT
@given(
    chunks=chunkings(st.binary(max_size=300), most_bytes=64),
    schedule=write_schedules(),
    keeps_views=st.booleans(),
)
def test_bridge_protocol_answers_any_chunks_whatever_the_socket_takes(
    chunks: list[bytes], schedule: Schedule, keeps_views: bool
) -> None:
    """Views of slots go to a transport that copies them only; the bytes are right in any case."""
    answer = frame_tests.Inverting.answer
    sent = run(lambda: talk(frame_tests.Inverting, "raw", chunks, schedule, keeps_views))
    assert sent == answer(b"".join(chunks))


@PATIENT
@given(data=st.data(), schedule=write_schedules(), keeps_views=st.booleans())
@pytest.mark.parametrize("framing", frame_tests.NAMES)
def test_bridge_protocol_answers_any_frames_whatever_the_socket_takes(
    framing: str, data: Any, schedule: Schedule, keeps_views: bool
) -> None:
    """Frames that span chunks are answered from the pool, in pieces, which is another way out."""
    drawn = data.draw(frames(framing))
    stream = b"".join(frame.wire for frame in drawn)
    chunks = data.draw(chunkings(stream, most_bytes=64, borders=frame_borders(framing)))
    sent = run(lambda: talk(Reverse, framing, chunks, schedule, keeps_views))
    wanted = frame_tests.expected(
        framing, stream, frame_tests.Reversing.answer, max_frame_bytes=1000, ends=True
    )
    assert (sent, wanted.error) == (wanted.replies, None)


@on_asyncio
async def test_bridge_protocol_that_wrote_views_to_who_keeps_them_would_be_found_out() -> None:
    """The same talk, with a transport that keeps views but says that it does not."""

    class Lying(ScriptedTransport):
        keeps_no_views = True

        def __setattr__(self, name: str, value: Any) -> None:
            if name != "keeps_no_views":
                super().__setattr__(name, value)

    chunks = [random.Random(i).randbytes(32) for i in range(12)]
    async with Bridge(TINY) as bridge:
        connection = BridgeProtocol(bridge, frame_tests.Inverting)
        transport = Lying(connection, [0] * 100, keeps_views=True)
        transport.set_write_buffer_limits(high=1 << 20)
        for chunk in chunks:
            replied_bytes = connection.replied_bytes
            transport.feed(chunk)
            await until(lambda b=replied_bytes: connection.replied_bytes > b, "it is answered")
        transport._steps = iter([])
        transport.flush()
        assert len(transport.sent) == 12 * 32
        assert bytes(transport.sent) != frame_tests.Inverting.answer(b"".join(chunks))
        transport.abort()
        await until(lambda: bridge.open_lanes == 0, "its lane has gone")


@on_asyncio
async def test_bridge_protocol_stops_reading_while_the_peer_takes_nothing() -> None:
    """A socket that would block for long: a bounded write buffer, then everything in order."""
    data = b"".join(random.Random(i).randbytes(32) for i in range(40))
    async with Bridge(TINY) as bridge:
        connection = BridgeProtocol(bridge, frame_tests.Inverting)
        transport = ScriptedTransport(connection, [0])
        transport.feed(*(data[i : i + 32] for i in range(0, len(data), 32)))
        await until(
            lambda: "pause_writing" in transport.calls, "the write buffer is over the high water"
        )
        await until(lambda: not connection._lane.in_flight_entries, "nothing is in flight")
        assert not transport.is_reading()
        assert transport.get_write_buffer_size() <= TINY.unsent_bytes
        transport.feed_eof()

        def is_over() -> bool:
            transport.flush()
            return transport.is_lost

        await until(is_over, "the connection has closed")
        assert bytes(transport.sent) == frame_tests.Inverting.answer(data)
        await until(lambda: bridge.open_lanes == 0, "its lane has gone")
