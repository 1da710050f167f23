"""A grammar is one file: netstrings, which asyncrev does not know, wherever frames are used."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncrev
from asyncrev import Bridge, BridgeProtocol, Limits, Server
from asyncrev.command.taps import StopFrame, with_frame_taps
from asyncrev.errors import (
    FrameTooLarge,
    IncompleteFrame,
    LocalError,
    ProcessorError,
    RemoteError,
    SettingsError,
)
from asyncrev.frames.grammar import Run, Scan
from asyncrev.frames.registry import as_framing
from asyncrev.processors import make_processor
from asyncrev.testing import ServerThread, check_framing, check_processor
from asyncrev.testing.frame_history import FrameHistory
from asyncrev.testing.strategies import frame_borders, frames, payloads, wire_frame
from asyncrev.work.framer import Framer
from tests import strategies
from tests.framed import Bench, Inverting, Longer, Moody, Raising
from tests.netstring import MalformedNetstring, Netstring
from tests.readers import put_together, scanned
from tests.sinks import RecordingSink
from tests.support import until

NETSTRING = Netstring()
MALFORMED = [
    b"x",
    b":,",
    b"-1:a,",
    b"01:a,",
    b"00:,",
    b" 1:a,",
    b"1;a,",
    b"1 :a,",
    b"1:ab",
    b"0:x",
    b"3:ab,x",
]


class Upper:
    """Answers every payload in capitals; many at once, too."""

    def __init__(self) -> None:
        self.groups = 0

    def process(self, payload: memoryview) -> bytes:
        """Answer one."""
        return bytes(payload).upper()

    def process_netstrings(self, data: memoryview, runs: list[Run]) -> memoryview:
        """Answer all of them where they lie."""
        self.groups += 1
        for start, end, _ in NETSTRING.spans(data, runs):
            data[start:end] = bytes(data[start:end]).upper()
        return data

    def eof(self) -> bytes:
        """Say good-bye."""
        return b"bye"


def netstring(payload: bytes) -> bytes:
    return b"%d:%s," % (len(payload), payload)


def read_netstrings(data: bytes, most: int) -> tuple[list[bytes], bytes, type | None]:
    """Return what one who reads byte after byte finds: payloads, what is left, what is wrong."""
    found: list[bytes] = []
    while data:
        digits = b""
        for byte in data:
            if not chr(byte).isascii() or not chr(byte).isdigit() or digits == b"0":
                break
            digits += bytes([byte])
            if len(digits) > len(str(most)):
                return found, data, FrameTooLarge
        after = data[len(digits) :]
        if not after:
            break
        if not digits or after[:1] != b":":
            return found, data, MalformedNetstring
        if int(digits) > most:
            return found, data, FrameTooLarge
        payload, end = after[1 : 1 + int(digits)], after[1 + int(digits) : 2 + int(digits)]
        if not end:
            break
        if end != b",":
            return found, data, MalformedNetstring
        found.append(payload)
        data = after[2 + int(digits) :]
    return found, data, None


# -- the grammar itself ----------------------------------------------------------------------------

noise = st.lists(
    st.sampled_from([b"0:,", b"1:a,", b"2:ab,", b"10:0123456789,", b"3:1:,,", *MALFORMED]),
    max_size=8,
).map(b"".join)


@given(noise, strategies.chunkings(5), st.integers(0, 12))
def test_netstrings_in_any_chunks_are_found_as_a_reader_finds_them(
    data: bytes, lengths: list[int], most: int
) -> None:
    """The same payloads, the same rest, the same verdict."""
    found, left, wrong = read_netstrings(data, most)
    expected = (found, left, wrong is not None)
    assert scanned(NETSTRING, data, most) == expected
    assert put_together(NETSTRING, strategies.split(data, lengths), most) == expected
    assert type(NETSTRING.scan(memoryview(data), most).error) is (wrong or type(None))


def test_scan_stops_after_so_many_steps_and_merges_equal_frames() -> None:
    """As its base class asks for."""
    data = memoryview(b"1:a,1:b,2:cd,")
    assert NETSTRING.scan(data, 9) == Scan(13, [Run(2, 1, 2), Run(10, 2, 1)], None)
    assert NETSTRING.scan(data, 9, 2) == Scan(8, [Run(2, 1, 2)], None, True)


# -- the framer ------------------------------------------------------------------------------------


def bench(processor: Any, **settings: Any) -> Bench:
    return Bench(NETSTRING, processor, **settings)


@pytest.mark.parametrize("kind", [Inverting, Longer, Moody, Upper])
@given(
    drawn=frames(NETSTRING),
    tail=st.sampled_from([b"", b"3", b"3:", b"3:ab", b"3:abc", *MALFORMED]),
    lengths=strategies.chunkings(9),
    views_allowed=st.booleans(),
    lag=st.integers(0, 3),
)
def test_framer_answers_netstrings_in_any_chunks(
    kind: Any, drawn: Any, tail: bytes, lengths: list[int], views_allowed: bool, lag: int
) -> None:
    """One by one and many at once; what is malformed ends the input behind the replies."""
    sent = b"".join(frame.wire for frame in drawn) + tail
    answer = kind.answer if hasattr(kind, "answer") else bytes.upper
    answers = [answer(frame.payload) for frame in drawn]
    wanted = b"".join(netstring(reply) for reply in answers if reply is not None)
    tested = bench(kind(), views_allowed=views_allowed, lag=lag)
    tested.feed(*strategies.split(sent, lengths))
    _, left, wrong = read_netstrings(sent, 1 << 20)
    assert type(tested.error) is (wrong or type(None))
    if wrong is None:
        assert tested.framer.partial_frame_bytes == len(left)
    replies = tested.end()
    if wrong is None and left:
        assert type(tested.error) is IncompleteFrame
    elif wrong is None:
        last_word = getattr(kind, "last_word", b"bye")
        wanted += netstring(last_word) if last_word is not None else b""
    assert replies == wanted


def test_method_for_many_netstrings_is_used_and_asked_as_the_grammar_says() -> None:
    """Once per chunk, and again for the one that spans two."""
    processor = Upper()
    tested = bench(processor)
    assert tested.feed(b"1:a,1:b,2:cd,", b"3:ef", b"g,") == b"1:A,1:B,2:CD,3:EFG,"
    assert processor.groups == 2
    assert tested.end() == b"1:A,1:B,2:CD,3:EFG,3:bye,"


def test_frame_before_one_that_fails_is_answered() -> None:
    """As with our own grammars."""
    tested = bench(Raising())
    assert tested.feed(b"1:a,1:!,1:b,") == b"1:a,"
    assert type(tested.error) is ValueError


def test_first_frame_longer_than_a_method_gets_at_once_is_given_alone() -> None:
    """Its end is found with `missing`; what follows waits for the next call."""
    processor = Upper()
    long = b"x" * 300
    tested = bench(processor)
    assert tested.feed(netstring(long) + b"1:a,") == netstring(long.upper()) + b"1:A,"
    assert processor.groups == 2
    assert tested.end().endswith(b"3:bye,")


def test_grammar_that_contradicts_itself_loses_nothing_silently() -> None:
    """A frame that only `missing` calls whole ends the input, as this program's fault."""

    class Hasty(Netstring):
        def missing(
            self, held: memoryview, chunk: memoryview, max_frame_bytes: int
        ) -> tuple[int, bool]:
            return len(chunk), True

    tested = bench(Upper())
    tested.framer = Framer(Hasty(), Upper(), tested.pool, max_frame_bytes=100, views_allowed=True)
    assert tested.feed(b"5:a", b"b") == b""
    assert type(tested.error) is LocalError
    assert "netstring: missing() calls a frame of 4 bytes whole" in str(tested.error)
    assert tested.close() == b""


# -- taps ------------------------------------------------------------------------------------------


def test_stop_frame_among_netstrings_is_found_one_by_one_and_in_many() -> None:
    """Taps ask the grammar, too; the processor's method stays the one that is called."""
    calls: list[bytes] = []
    for kind in (Upper, Inverting):
        stop = StopFrame(b"exit", lambda: calls.append(b"stop"), NETSTRING)
        processor = make_processor(with_frame_taps(kind, [calls.append], stop))
        tested = bench(processor)
        tested.feed(b"5:exits,")
        assert b"stop" not in calls
        tested.feed(b"1:a,4:exit,")
        assert calls.count(b"stop") == 1
        tested.close()
        calls.clear()


# -- lanes, connections, servers -------------------------------------------------------------------


@pytest.mark.asyncio
async def test_lane_of_a_bridge_takes_the_grammar() -> None:
    """Without any transport."""
    async with Bridge() as bridge:
        sink = RecordingSink(bridge, Upper, framing=NETSTRING)
        sink.send(b"2:ab,3:c")
        sink.send(b"de,")
        sink.end()
        await until(lambda: sink.received.endswith(b"3:bye,"), "the last word is there")
        assert sink.received == b"2:AB,3:CDE,3:bye,"
        assert sink.errors == []


async def ask(port: int, *chunks: bytes, ends: bool = True) -> bytes:
    """Send `chunks` and, with `ends`, the end of input; return all that comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
    if ends:
        writer.write_eof()
    replies = await reader.read()
    writer.close()
    await writer.wait_closed()
    return replies


@pytest.mark.asyncio
async def test_server_answers_netstrings() -> None:
    """`asyncrev.serve` takes an object of the grammar in the place of a name."""
    sent = b"".join(netstring(b"x" * nbytes) for nbytes in (0, 1, 9, 10, 99, 100, 70_000))
    async with await asyncrev.serve("127.0.0.1", 0, processor=Upper, framing=NETSTRING) as server:
        pieces = strategies.split(sent, [5000, 1, 3, 12_000])
        replies = await ask(server.port, *pieces)
    assert replies == sent.upper() + b"3:bye,"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"5:helloX", "malformed netstring"),
        (b"five:hello,", "malformed netstring"),
        (b"101:", "frame too large"),
        (b"9999", "frame too large"),
    ],
)
async def test_server_refuses_what_is_no_netstring_as_the_peers_fault(
    sent: bytes, reason: str
) -> None:
    """The frames before it are answered; it is counted with the reason of the grammar's error."""
    limits = Limits(max_frame_bytes=100)
    server = Server(Upper, framing=NETSTRING, limits=limits)
    await server.start("127.0.0.1", 0)
    async with server:
        assert await ask(server.port, b"2:ab," + sent, ends=False) == b"2:AB,"
        await server.drain()
        assert server.statistics().aborted == {reason: 1}
    assert issubclass(MalformedNetstring, RemoteError)


@pytest.mark.asyncio
async def test_server_counts_an_input_that_ends_within_a_netstring() -> None:
    """By the default of the base class."""
    async with await asyncrev.serve("127.0.0.1", 0, processor=Upper, framing=NETSTRING) as server:
        assert await ask(server.port, b"2:ab,2:a") == b"2:AB,"
        await server.drain()
        assert server.statistics().aborted == {"incomplete frame": 1}


@pytest.mark.asyncio
async def test_connection_of_a_client_takes_the_grammar() -> None:
    """`BridgeProtocol`, on the side that connects."""
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"2:ab,")
        got.set_result(await reader.readuntil(b","))
        writer.close()

    peer = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with peer, Bridge() as bridge:
        await asyncio.get_running_loop().create_connection(
            lambda: BridgeProtocol(bridge, Upper, framing=NETSTRING),
            *peer.sockets[0].getsockname()[:2],
        )
        assert await got == b"2:AB,"


def test_longest_frame_must_fit_what_a_connection_may_have() -> None:
    """The grammar says what it adds; ours fit whatever `Limits` allows."""

    class Roomy(Netstring):
        name = "roomy"

        def overhead_bytes(self, max_frame_bytes: int) -> int:
            return 4000

    limits = Limits(max_frame_bytes=1000, pool_connection_bytes=4096)
    assert as_framing(NETSTRING, limits) is NETSTRING
    assert as_framing("len64", limits) is not None
    with pytest.raises(SettingsError, match="4096; roomy frames of max_frame_bytes, 1000, need"):
        as_framing(Roomy(), limits)
    with pytest.raises(SettingsError, match="need at least 5512"):
        Server(Upper, framing=Roomy(), limits=limits)


def test_class_of_a_grammar_is_refused_with_what_is_wanted() -> None:
    """It is an easy mistake."""
    with pytest.raises(SettingsError, match="or an object of a class derived from Grammar"):
        Server(Upper, framing=Netstring)  # type: ignore[arg-type]


# -- asyncrev.testing ------------------------------------------------------------------------------


def test_check_processor_takes_the_grammar() -> None:
    """It finds that the method for many answers otherwise, and nothing wrong with ours."""
    check_processor(Upper, framing=NETSTRING, max_examples=30)

    class Wrong(Upper):
        def process_netstrings(self, data: memoryview, runs: list[Run]) -> memoryview:
            return data

    with pytest.raises(AssertionError, match=r"process_netstrings\(\) gives other replies"):
        check_processor(Wrong, framing=NETSTRING)


def test_method_for_many_with_other_arguments_is_reported_with_those_of_the_grammar() -> None:
    """By the check and by the framer, before the method is called."""

    class Short(Upper):
        def process_netstrings(self, frames: memoryview) -> memoryview:  # type: ignore[override]
            return frames

    wanted = r"write def process_netstrings\(self, frames, runs\)"
    with pytest.raises(ProcessorError, match=wanted):
        check_processor(Short, framing=NETSTRING)
    with pytest.raises(ProcessorError, match=wanted):
        Bench(NETSTRING, Short())


class Decoder:
    """A client's reader of netstrings."""

    def __init__(self) -> None:
        self.data = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that `data` completes."""
        found, self.data, wrong = read_netstrings(self.data + data, 1 << 20)
        assert wrong is None
        return found


def test_check_framing_takes_the_grammar() -> None:
    """A codec that agrees, and one that leaves the comma out."""
    check_framing(NETSTRING, encode=netstring, decode=Decoder, max_examples=30)
    with pytest.raises(AssertionError, match="is not what netstring framing reads"):
        check_framing(NETSTRING, encode=lambda p: b"%d:%s" % (len(p), p), decode=Decoder)


@given(payloads(NETSTRING))
def test_strategies_take_the_grammar(payload: bytes) -> None:
    """Frames and their borders."""
    wire = wire_frame(NETSTRING, payload)
    assert wire == netstring(payload)
    start = wire.index(b":") + 1
    borders = frame_borders(NETSTRING)(wire)
    assert borders == sorted({start, start + len(payload), len(wire)})


def test_history_and_server_thread_take_the_grammar() -> None:
    """Through a real server, from a blocking test."""
    history = FrameHistory(7, bytes.upper, NETSTRING)
    with ServerThread(bytes.upper, framing=NETSTRING) as server, server.connect() as sock:
        sock.sendall(b"".join(history.take(nbytes) for nbytes in (20, 0, 300)))
        while history.owed_frames:
            history.received(sock.recv(1 << 16))
    history.finish(complete=True)
    assert history.answered_frames == 3


def test_grammar_whose_scan_stops_before_a_frame_is_refused() -> None:
    """The worker would ask it for ever."""

    class Stuck(Netstring):
        def scan(self, data: memoryview, max_frame_bytes: int, most_steps: int = 1) -> Scan:
            return Scan(0, [], None, stopped=True)

    tested = bench(Upper())
    tested.framer = Framer(Stuck(), Upper(), tested.pool, max_frame_bytes=100, views_allowed=True)
    assert tested.feed(b"5:hello,") == b""
    assert type(tested.error) is LocalError
