"""send_expect: right replies are accepted however they are split, wrong ones are located."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.command.send_expect import (
    Echo,
    Expectation,
    Given,
    ReplyDiffers,
    ReversedChunks,
    ReversedFrames,
)
from asyncrev.frames.registry import FRAMINGS
from tests.command.test_send_frames import pieces

# Few letters, so that chunks are ambiguous: repeated, periodic and palindromes.
CHUNKS = st.lists(st.text("ab", min_size=1, max_size=80).map(str.encode), max_size=8)
CUTS = st.lists(st.integers(0, 600))


def explained(sent: bytes, reply: bytes) -> bool:
    """Return whether the reply is some split of `sent`, each chunk in reverse; by trying all."""
    ends = {0}
    for end in range(1, len(sent) + 1):
        if any(reply[start:end] == sent[start:end][::-1] for start in ends):
            ends.add(end)
    return len(reply) == len(sent) and len(sent) in ends


def accepts(expectation: Expectation, sent: bytes, replies: list[bytes]) -> bool:
    expectation.note_sent(sent)
    expectation.note_end()
    try:
        for reply in replies:
            expectation.receive(reply)
        expectation.end()
    except ReplyDiffers:
        return False
    return True


@given(chunks=CHUNKS, cuts=CUTS)
def test_any_segmentation_is_accepted(chunks: list[bytes], cuts: list[int]) -> None:
    """Of the input into chunks, and of the reply into what is received at once."""
    expectation = ReversedChunks()
    reply = b"".join(chunk[::-1] for chunk in chunks)
    assert accepts(expectation, b"".join(chunks), pieces(reply, cuts))
    assert expectation.verified_bytes == len(reply)
    assert expectation.is_complete()


@given(sent=st.text("ab", max_size=12), reply=st.text("ab", max_size=12), cuts=CUTS)
def test_verdict_is_that_of_trying_every_segmentation(
    sent: str, reply: str, cuts: list[int]
) -> None:
    """Wrong replies included."""
    wanted = explained(sent.encode(), reply.encode())
    assert accepts(ReversedChunks(), sent.encode(), pieces(reply.encode(), cuts)) is wanted


@given(chunks=CHUNKS, at=st.integers(0), cuts=CUTS)
def test_verdict_on_one_changed_byte(chunks: list[bytes], at: int, cuts: list[int]) -> None:
    """Wrong, unless another segmentation explains it."""
    sent = b"".join(chunks)
    reply = bytearray(b"".join(chunk[::-1] for chunk in chunks))
    if reply:
        reply[at % len(reply)] ^= 3
    verdict = accepts(ReversedChunks(), sent, pieces(bytes(reply), cuts))
    assert verdict is explained(sent, bytes(reply))


def test_reply_while_input_is_still_sent() -> None:
    """A reply to what was not sent yet is wrong at once."""
    expectation = ReversedChunks()
    for chunk in (b"hello", b"world", b"again"):
        expectation.note_sent(chunk)
        expectation.receive(chunk[::-1])
        assert expectation.is_complete()
    with pytest.raises(ReplyDiffers, match="offset 15: the end is expected, byte 0x78"):
        expectation.receive(b"x")


@pytest.mark.parametrize(
    ("sent", "reply", "words"),
    [
        (b"hello", b"ollah", "offset 3: byte 0x65 ('e') is expected, byte 0x61 ('a') came"),
        (b"hello", b"zzz", "offset 0: byte 0x68 ('h') is expected, byte 0x7a ('z') came"),
        (b"hello", b"oll", "offset 3: byte 0x65 ('e') is expected, the end came"),
        (b"hello", b"", "offset 0: byte 0x68 ('h') is expected, the end came"),
        (b"", b"\n", "offset 0: the end is expected, byte 0x0a came"),
    ],
)
def test_first_difference_of_chunks(sent: bytes, reply: bytes, words: str) -> None:
    """Offset and both bytes."""
    expectation = ReversedChunks()
    expectation.note_sent(sent)

    def verify() -> None:
        expectation.receive(reply)
        expectation.end()

    with pytest.raises(ReplyDiffers, match=re.escape(words)):
        verify()


def test_long_chunks_of_zeros_periods_and_noise_take_linear_time() -> None:
    """A megabyte each, whose reply comes in small pieces."""
    noise = bytes((i * i // 7 + i) % 256 for i in range(2**20))
    began_s = time.process_time()
    for sent in (bytes(2**20), b"ab" * 2**19, noise):
        expectation = ReversedChunks()
        reply = b"".join(sent[off : off + 65536][::-1] for off in range(0, 2**20, 65536))
        assert accepts(expectation, sent, [reply[o : o + 4096] for o in range(0, 2**20, 4096)])
    assert time.process_time() - began_s < 20


@pytest.mark.parametrize("framing", sorted(FRAMINGS))
@given(payloads=st.lists(st.text("abc", max_size=40).map(str.encode)), cuts=CUTS)
def test_each_frame_is_reversed(framing: str, payloads: list[bytes], cuts: list[int]) -> None:
    """And a reply to frames in another order is not accepted."""
    grammar = FRAMINGS[framing]
    sent = b"".join(map(grammar.encode, payloads))
    replies = [grammar.encode(payload[::-1]) for payload in payloads]
    expectation = ReversedFrames(grammar)
    assert accepts(expectation, sent, pieces(b"".join(replies), cuts))
    other = b"".join(reversed(replies))
    is_same = other == b"".join(replies)
    assert accepts(ReversedFrames(grammar), sent, pieces(other, cuts)) is is_same


def test_lines_keep_their_ends() -> None:
    r"""A "\r\n" and a missing end included."""
    assert accepts(ReversedFrames(FRAMINGS["line"]), b"ab\r\ncd\nef", [b"ba\r\ndc\nfe"])
    assert not accepts(ReversedFrames(FRAMINGS["line"]), b"ab\r\n", [b"ba\n"])


def test_echo_and_given_text() -> None:
    """Byte by byte; too little and too much are wrong."""
    assert accepts(Echo(), b"abc", [b"a", b"bc"])
    assert not accepts(Echo(), b"abc", [b"ab"])
    assert accepts(Given(iter([b"x", b"", b"yz"])), b"abc", [b"xy", b"z"])
    assert not accepts(Given(iter([b"xyz"])), b"abc", [b"xyz!"])
    echo = Echo()
    echo.note_sent(b"abcdef")
    assert echo.unanswered_bytes == 6
    with pytest.raises(ReplyDiffers, match=re.escape("offset 4: byte 0x65 ('e')")):
        echo.receive(b"abcdxf")
