"""framer: frames answered in order however they were split, and blocks that all come back."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Reverse
from asyncrev.errors import FrameTooLarge, IncompleteFrame, PeerRefused, ProcessorError
from asyncrev.frames.lines import Lines
from asyncrev.frames.prefixed import Prefixed
from asyncrev.limits import LEAST_BLOCK_BYTES
from asyncrev.ring.ring import Ring
from asyncrev.work.block_pool import Pool
from asyncrev.work.framer import Framer
from tests.framed import (
    NAMES,
    PREFIX_BYTES,
    PROCESSORS,
    Answering,
    Bench,
    Expected,
    Inverting,
    Longer,
    Raising,
    Reusing,
    Reversing,
    Silent,
    Truncating,
    expected,
    framed,
)
from tests.strategies import frame_lists, split
from tests.support import pattern

every_framing = pytest.mark.parametrize("name", NAMES)
every_prefix = pytest.mark.parametrize("name", list(PREFIX_BYTES))
every_processor = pytest.mark.parametrize("kind", PROCESSORS.values(), ids=PROCESSORS)
views_or_not = pytest.mark.parametrize("views_allowed", [True, False], ids=["views", "bytes"])

PAYLOADS = [b"hello", b"", b"x", b"Two Words", b"\r", b"a\rb"]


def check(
    name: str,
    kind: Any,
    chunks: list[bytes],
    *,
    max_frame_bytes: int = 1 << 20,
    views_allowed: bool = True,
    lag: int = 0,
    ends: bool = True,
) -> Expected:
    """Feed `chunks` and hold what comes of them against the oracle; return what that said."""
    bench = Bench(
        name, kind(), max_frame_bytes=max_frame_bytes, views_allowed=views_allowed, lag=lag
    )
    wanted = expected(
        name,
        b"".join(chunks),
        kind.answer,
        max_frame_bytes=max_frame_bytes,
        ends=ends,
        last_word=kind.last_word,
    )
    bench.feed(*chunks)
    if not ends and wanted.error is None:
        assert bench.framer.partial_frame_bytes == wanted.partial_frame_bytes
    replies = bench.end() if ends else bench.close()
    assert replies == wanted.replies
    assert type(bench.error) is (wanted.error or type(None))
    return wanted


def every_split(data: bytes, step: int = 1) -> list[list[bytes]]:
    """Return `data` whole, byte by byte, and split once at every point, or at every `step`th."""
    chunkings = [[data], [data[at : at + 1] for at in range(len(data))]]
    return chunkings + [[data[:at], data[at:]] for at in range(1, len(data), step)]


# -- chunking ------------------------------------------------------------------------------------


@every_processor
@views_or_not
def test_frames_are_answered_at_every_split(kind: Any, views_allowed: bool) -> None:
    """Whole, byte by byte, split once at every point, header included, and with an end or none."""
    for name in NAMES:
        data = b"".join(framed(name, payload) for payload in PAYLOADS)
        for chunks in every_split(data):
            for lag in (0, 3):
                wanted = check(name, kind, chunks, views_allowed=views_allowed, lag=lag)
                assert wanted.error is None
            check(name, kind, chunks, views_allowed=views_allowed, ends=False)


@every_framing
def test_partial_frame_is_kept_and_answered_with_their_rest(name: str) -> None:
    """What follows the last whole frame waits, for every length of it and every processor."""
    frames = framed(name, b"first") + framed(name, b"second")
    third = framed(name, b"the third")
    for kind in PROCESSORS.values():
        for at in range(1, len(third)):
            wanted = check(name, kind, [frames + third[:at]], ends=False)
            assert wanted.partial_frame_bytes == at
            check(name, kind, [frames + third[:at], third[at:] + framed(name, b"more")])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n", b"\n\r\n", b"\r\n\n"])
@views_or_not
def test_line_ends_stay_what_they_were_at_every_split(end: bytes, views_allowed: bool) -> None:
    r"""One "\r" before "\n" belongs to the line end, also when they come apart."""
    data = b"one" + end + b"two" + end + b"last"
    for kind in PROCESSORS.values():
        for at in range(1, len(data)):
            check("line", kind, [data[:at], data[at:]], views_allowed=views_allowed)
            check("line", kind, split(data, [at, 1]), views_allowed=views_allowed)


def test_line_ends_are_kept_while_lines_are_reversed() -> None:
    """In plain words, without the oracle."""
    bench = Bench("line", Reversing())
    assert bench.feed(b"abc\r", b"\ndef\n\r", b"\n\n", b"g\rh\n") == (b"cba\r\nfed\n\r\n\nh\rg\n")
    assert bench.end() == b"cba\r\nfed\n\r\n\nh\rg\n"


def test_prefixed_frames_are_answered_with_prefixes_of_their_own() -> None:
    """In plain words, without the oracle: reversed, and longer than they were."""
    bench = Bench("len32", Reversing())
    assert bench.feed(b"\0\0\0\3ab", b"c\0\0", b"\0\0\0\0\0\1z") == (
        b"\0\0\0\3cba\0\0\0\0\0\0\0\1z"
    )
    bench.close()
    bench = Bench("len64", Longer())
    assert bench.feed(struct.pack(">Q", 2) + b"ab") == struct.pack(">Q", 7) + b"ababab!"
    bench.close()


@every_framing
@pytest.mark.parametrize("nbytes", [255, 256, 4096, 70_000, 300_001])
def test_large_frames_are_answered_however_split(name: str, nbytes: int) -> None:
    """Longer than the least block, than what NumPy takes, than a block that is a mapping."""
    payload = pattern(nbytes).translate(bytes(v if v not in (10, 13) else 1 for v in range(256)))
    data = framed(name, b"before") + framed(name, payload) + framed(name, b"behind")
    for step in (nbytes // 2 + 1, nbytes // 7 + 1, len(data) - 3, len(data)):
        chunks = [data[at : at + step] for at in range(0, len(data), step)]
        for kind in (Reversing, Inverting, Truncating, Longer):
            check(name, kind, chunks, lag=step % 3)


@every_framing
def test_thousands_of_frames_in_a_chunk_are_one_reply(name: str) -> None:
    """Where they lie, so the reply of a processor with hooks is a single piece."""
    payloads = [b"%05d" % number for number in range(1200)]
    bench = Bench(name, Reversing())
    slot = bytearray(b"".join(framed(name, payload) for payload in payloads))
    reply = bench.framer.process(memoryview(slot))
    assert type(reply) in (bytes, memoryview)
    assert bytes(reply) == b"".join(framed(name, payload[::-1]) for payload in payloads)
    assert bench.pool.leases == 0


# -- limits --------------------------------------------------------------------------------------


@every_framing
@pytest.mark.parametrize("max_frame_bytes", [1, 7, 300])
def test_frame_of_the_limit_is_answered_and_one_longer_is_not(
    name: str, max_frame_bytes: int
) -> None:
    """At every split of small ones; the frames before are answered, those behind are not."""
    for ends in (b"\n", b"\r\n") if name == "line" else (b"",):
        for extra in (-1, 0, 1, 2):
            data = b"".join(
                framed(name, b"a" * nbytes, ends)
                for nbytes in (1, max_frame_bytes + extra, max_frame_bytes)
            )
            for chunks in every_split(data, 1 if len(data) < 100 else 17):
                for kind, views_allowed in ((Reversing, True), (Raising, True), (Raising, False)):
                    wanted = check(
                        name,
                        kind,
                        chunks,
                        max_frame_bytes=max_frame_bytes,
                        views_allowed=views_allowed,
                    )
                    assert wanted.error is (FrameTooLarge if extra > 0 else None)


@pytest.mark.parametrize("announced", [11, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
@every_prefix
def test_prefix_of_too_much_is_refused_as_soon_as_it_is_whole(name: str, announced: int) -> None:
    """At every split of it; no byte of the payload is waited for, and none is leased for it."""
    prefix_bytes = PREFIX_BYTES[name]
    if announced >= 256**prefix_bytes:
        announced = 256**prefix_bytes - 1
    prefix = announced.to_bytes(prefix_bytes, "big")
    for at in range(prefix_bytes):
        bench = Bench(name, Reversing(), max_frame_bytes=10)
        before = framed(name, b"before")
        replies = bench.feed(before + prefix[:at])
        assert bench.error is None
        assert bench.framer.partial_frame_bytes == at
        assert bench.feed(prefix[at:]) == replies == framed(name, b"erofeb")
        assert type(bench.error) is FrameTooLarge
        assert str(bench.error) == (
            f"a frame of {announced} bytes was announced; max_frame_bytes is 10"
        )
        assert bench.pool.in_use_bytes == 0
        assert bench.pool.in_use_high_bytes <= LEAST_BLOCK_BYTES
        bench.close()


@every_prefix
def test_announced_length_leases_nothing_before_its_bytes_arrive(name: str) -> None:
    """I17: a block is as large as what is here asks for, not as what was promised."""
    bench = Bench(name, Reversing(), max_frame_bytes=1 << 20)
    frame = framed(name, pattern(1 << 20))
    bench.feed(frame[:9])
    assert bench.pool.in_use_bytes == LEAST_BLOCK_BYTES
    arrived = 9
    while arrived < 100_000:
        bench.feed(frame[arrived : arrived + 777])
        arrived += 777
        assert bench.framer.partial_frame_bytes == arrived
        assert bench.pool.in_use_bytes < 2 * max(arrived, LEAST_BLOCK_BYTES)
    assert bench.framer.frame_seq == 1
    assert bench.close() == b""


def test_line_that_never_ends_is_refused_at_the_limit() -> None:
    """Within a chunk, and over many; its message tells that it is not over."""
    for chunks in ([b"a" * 11], [b"aaaa"] * 3, [b"a"] * 11, [b"a" * 10 + b"\r", b"a"]):
        bench = Bench("line", Reversing(), max_frame_bytes=10)
        assert bench.feed(b"xy\n", *chunks) == b"yx\n"
        assert type(bench.error) is FrameTooLarge
        assert "a line of at least 1" in str(bench.error)
        assert "max_frame_bytes is 10" in str(bench.error)
        assert bench.pool.in_use_bytes == 0
        bench.close()


@pytest.mark.parametrize("ends", [False, True])
def test_line_of_the_limit_may_have_half_of_its_end(ends: bool) -> None:
    r"""A "\r" behind it counts only when no "\n" can follow any more."""
    bench = Bench("line", Reversing(), max_frame_bytes=3)
    bench.feed(b"abc", b"\r")
    assert bench.error is None
    if ends:
        assert bench.end() == b""
        assert type(bench.error) is FrameTooLarge
        assert str(bench.error) == "the last line has 4 bytes; max_frame_bytes is 3"
    else:
        assert bench.feed(b"\n") == b"cba\r\n"
        bench.close()


# -- the end of input ----------------------------------------------------------------------------


@every_processor
def test_last_line_without_its_end_is_answered_at_the_end(kind: Any) -> None:
    """Its reply has no line end either; a last word of the processor has one."""
    for line in (b"a", b"last line", b"last\r", b"!", b"a" * 5000):
        for at in range(1, len(line) + 1, 1 + len(line) // 9):
            chunks = [b"first\n" + line[:at]] + ([line[at:]] if line[at:] else [])
            for views_allowed in (True, False):
                check("line", kind, chunks, views_allowed=views_allowed)


def test_last_line_without_its_end_is_lent_where_it_lies() -> None:
    """A view of the block goes out, and the block comes back after it."""
    bench = Bench("line", Inverting(), lag=5)
    bench.feed(b"abc")
    assert bench.pool.lent_bytes == 0
    reply = bench.framer.eof()
    assert type(reply) is memoryview
    assert reply == Inverting.answer(b"abc")
    assert bench.pool.lent_bytes == LEAST_BLOCK_BYTES
    bench.processed_seq = bench.released_seq = 2
    assert bench.close() == b""


@pytest.mark.parametrize(
    ("name", "sent", "text"),
    [
        ("len32", b"\0", "1 bytes of its length prefix had come"),
        ("len32", b"\0\0\0", "3 bytes of its length prefix had come"),
        ("len32", b"\0\0\0\5", "4 bytes of 9 had come"),
        ("len32", b"\0\0\0\5abcd", "8 bytes of 9 had come"),
        ("len64", b"\0\0\0\0\0\0\0", "7 bytes of its length prefix had come"),
        ("len64", b"\0\0\0\0\0\0\0\2a", "9 bytes of 10 had come"),
    ],
)
def test_end_within_a_frame_is_an_error_with_both_lengths(
    name: str, sent: bytes, text: str
) -> None:
    """The frames before it are answered; the processor's last word is not asked for."""
    bench = Bench(name, Longer())
    bench.feed(framed(name, b"ok") + sent)
    assert bench.end() == framed(name, b"okokok!")
    assert type(bench.error) is IncompleteFrame
    assert str(bench.error) == f"the input ended within a frame: {text}"


@every_framing
def test_last_word_of_a_processor_is_a_frame(name: str) -> None:
    """Also when nothing ever came, when it is empty, and of every type that a reply may have."""
    for word in (b"bye", b"", bytearray(b"bye"), memoryview(b"b-y-e-")[::2]):
        processor = Answering()
        processor.last_word = word  # type: ignore[assignment]
        bench = Bench(name, processor)
        assert bench.end() == framed(name, bytes(word))
    assert Bench(name, Answering()).end() == b""


@every_framing
def test_last_word_that_is_no_buffer_is_an_error(name: str) -> None:
    """As in `process`."""
    processor = Answering()
    processor.last_word = "bye"  # type: ignore[assignment]
    bench = Bench(name, processor)
    assert bench.end() == b""
    assert type(bench.error) is ProcessorError


# -- processors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("max_frame_bytes", [1, 2, 16])
def test_lines_about_as_long_as_allowed_cost_a_look_each(max_frame_bytes: int) -> None:
    """The scan takes a microsecond for each then, which counts, whatever the method takes."""
    line = b"y" * (max_frame_bytes - 1) + b"\r\n"
    lines = 16 * 1024
    data = line * lines
    framer = Bench("line", Reverse(), max_frame_bytes=max_frame_bytes).framer
    framer.process(memoryview(bytearray(data)), 1024)
    assert framer.error is None
    assert 500 <= framer.used_bytes // len(line) <= 2 * 1024
    assert framer.calls <= 2 * 1024


@every_framing
def test_processor_sees_each_chunk_once_before_its_frames(name: str) -> None:
    """`see_chunk`, for taps: as it came, trailing bytes included."""
    seen: list[bytes] = []

    class Seeing(Inverting):
        def see_chunk(self, chunk: memoryview) -> None:
            seen.append(bytes(chunk))

        def process(self, payload: memoryview) -> memoryview:
            seen.append(b"frame")
            return super().process(payload)

    data = framed(name, b"abc")
    bench = Bench(name, Seeing())
    bench.feed(data + data[:2], data[2:])
    bench.close()
    assert seen == [data + data[:2], b"frame", data[2:], b"frame"]


def test_tap_that_raises_ends_the_input_without_a_reply() -> None:
    """The block of the partial frame comes back."""

    class Seeing(Inverting):
        def see_chunk(self, chunk: memoryview) -> None:
            if chunk == b"c\n":
                raise ValueError("tap")

    bench = Bench("line", Seeing())
    bench.feed(b"ab", b"c\n")
    assert type(bench.error) is ValueError
    assert bench.pool.in_use_bytes == 0
    assert bench.close() == b""


@every_framing
def test_error_of_a_peer_has_no_traceback_and_that_of_a_processor_has(name: str) -> None:
    """A traceback keeps the worker's frames, hence the ring; a log keeps what it is given."""
    too_large = b"a" * 99 if name == "line" else b"\xff" * 8
    for chunks in ([too_large], [too_large[:3], too_large[3:]], [framed(name, b"a")[:-1]]):
        bench = Bench(name, Reversing(), max_frame_bytes=10)
        bench.feed(*chunks)
        bench.end()
        if bench.error is not None:
            assert bench.error.__traceback__ is None
    bench = Bench(name, Raising())
    bench.feed(framed(name, b"!"))
    assert bench.error is not None
    assert bench.error.__traceback__ is not None
    bench.close()


# -- blocks --------------------------------------------------------------------------------------


@every_framing
def test_reply_in_a_block_is_lent_until_its_entry_is_released(name: str) -> None:
    """I17: what the loop has not sent yet is not given to the next frame."""
    bench = Bench(name, Inverting(), lag=100)
    frames = [framed(name, b"frame %d" % number) for number in range(8)]
    answer = b"".join(framed(name, Inverting.answer(b"frame %d" % number)) for number in range(8))
    for frame in frames:
        bench.feed(frame[:3], frame[3:])
    assert bench.pool.lent_bytes == bench.pool.in_use_bytes == 8 * LEAST_BLOCK_BYTES
    assert bench.pool.allocations == 8
    bench.lag = 0
    assert bench.read() == answer
    bench.lag = 100
    for frame in frames:
        bench.feed(frame[:3], frame[3:])
    assert bench.pool.allocations == 8
    assert bench.pool.reclaimed == 8
    assert bench.close() == answer * 2


@pytest.mark.parametrize("kind", [Reusing, Longer, Truncating, Silent])
@every_framing
def test_reply_that_is_not_the_block_gives_it_back_at_once(name: str, kind: Any) -> None:
    """A copy needs no block, so one block serves all frames."""
    bench = Bench(name, kind(), lag=10)
    frame = framed(name, b"abc")
    for _ in range(8):
        bench.feed(frame[:3], frame[3:])
        assert bench.pool.in_use_bytes == 0
    assert bench.pool.allocations == 1
    bench.close()


@every_framing
def test_bytes_only_transport_is_lent_nothing(name: str) -> None:
    """Transports that keep what they are given get copies, and the block is free at once."""
    bench = Bench(name, Inverting(), views_allowed=False, lag=10)
    frame = framed(name, b"abc")
    for _ in range(8):
        bench.feed(frame[:3], frame[3:])
        assert bench.pool.in_use_bytes == 0
    assert bench.close() == framed(name, Inverting.answer(b"abc")) * 8


@every_framing
def test_framer_holds_one_block_at_most(name: str) -> None:
    """I17: the first one's block is lent, the second one's is the only other."""
    bench = Bench(name, Inverting(), lag=4)
    frame = framed(name, b"abcdef")
    bench.feed(frame[:5])
    assert bench.framer.frame_seq == 1
    bench.feed(frame[5:] + frame * 2 + frame[:4])
    assert bench.framer.partial_frame_bytes == 4
    assert bench.framer.frame_seq == 2
    assert bench.pool.in_use_bytes == 2 * LEAST_BLOCK_BYTES
    assert bench.pool.lent_bytes == LEAST_BLOCK_BYTES
    bench.feed(frame[4:])
    assert bench.framer.frame_seq == 2
    assert bench.close() == framed(name, Inverting.answer(b"abcdef")) * 4


@every_framing
@pytest.mark.parametrize("fails", ["first", "larger"])
def test_memory_that_there_is_none_of_is_that_connections_error(
    name: str, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its partial frame comes back; the frames before are answered."""
    bench = Bench(name, Reversing())
    frame = framed(name, b"a" * 1000)
    small = framed(name, b"ab")
    chunks = [small + frame[:100], frame[100:]]
    if fails == "larger":
        bench.feed(chunks.pop(0))
    else:
        chunks[0] = small + frame[:500]

    def refuse(nbytes: int) -> Any:
        raise MemoryError(nbytes)

    monkeypatch.setattr("asyncrev.work.block_pool.Block", refuse)
    reply = framed(name, b"ba")
    assert bench.feed(*chunks) == reply
    assert type(bench.error) is MemoryError
    assert bench.pool.in_use_bytes == 0
    assert bench.close() == reply


def test_framing_that_finds_a_kept_frame_too_large_when_it_is_whole_ends_the_input() -> None:
    """Ours tell earlier; what `scan` says counts all the same, and nothing is dropped silently."""

    class Late(Prefixed):
        def missing(
            self, held: memoryview, chunk: memoryview, max_frame_bytes: int
        ) -> tuple[int, bool]:
            return super().missing(held, chunk, 2**32)

    bench = Bench("len32", Reversing())
    bench.framer = Framer(
        Late("len32", 4), Reversing(), bench.pool, max_frame_bytes=2, views_allowed=True
    )
    frame = framed("len32", b"abc")
    assert bench.feed(frame[:2], frame[2:]) == b""
    assert type(bench.error) is FrameTooLarge
    assert bench.pool.in_use_bytes == 0
    bench.close()


def test_close_gives_back_what_is_kept_and_closes_the_processor_once() -> None:
    """Whether it has a `close` or not; twice is as good as once."""
    calls: list[str] = []

    class Closing(Inverting):
        def close(self) -> None:
            calls.append("close")

    bench = Bench("line", Closing())
    bench.feed(b"partial")
    assert bench.pool.in_use_bytes == LEAST_BLOCK_BYTES
    assert bench.close() == b""
    assert calls == ["close"]
    bench = Bench("line", Inverting())
    bench.feed(b"partial")
    assert bench.close() == b""
    assert bench.close() == b""


# -- all together --------------------------------------------------------------------------------


@given(
    name=st.sampled_from(NAMES),
    kind=st.sampled_from(list(PROCESSORS.values())),
    frames=frame_lists(),
    trailing=st.binary(max_size=6),
    lengths=st.lists(st.integers(1, 40), max_size=30),
    max_frame_bytes=st.sampled_from([1, 8, 30, 1000]),
    views_allowed=st.booleans(),
    lag=st.integers(0, 6),
    ends=st.booleans(),
)
def test_any_frames_in_any_chunks_are_answered_as_the_oracle_says(
    name: str,
    kind: Any,
    frames: list[tuple[bytes, bytes]],
    trailing: bytes,
    lengths: list[int],
    max_frame_bytes: int,
    views_allowed: bool,
    lag: int,
    ends: bool,
) -> None:
    """I17 after each chunk; the replies, the error, the partial frame; no block left."""
    data = b"".join(framed(name, payload, line_end) for payload, line_end in frames) + trailing
    check(
        name,
        kind,
        split(data, lengths),
        max_frame_bytes=max_frame_bytes,
        views_allowed=views_allowed,
        lag=lag,
        ends=ends,
    )


def test_refusal_without_a_reply_that_can_be_sent_loses_no_reply_before_it() -> None:
    """The error is why it cannot."""

    class Refuses(Reverse):
        """Answers one line, then refuses with a view that is no more."""

        def process(self, chunk: memoryview) -> Any:
            """Answer, or refuse."""
            if chunk == b"ab":
                return b"ba"
            with memoryview(b"no") as view:
                refusal = PeerRefused("no", reply=view)  # type: ignore[arg-type]
            raise refusal

        process_lines = None  # type: ignore[assignment]

    pool = Pool(Ring(1, 64), 1 << 16)
    framer = Framer(Lines(), Refuses(), pool, max_frame_bytes=64, views_allowed=False)
    assert framer.process(memoryview(bytearray(b"ab\ncd\nab\n"))) == b"ba\n"
    assert type(framer.error) is ValueError
