"""Messages between the server and a worker process."""

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.executors.messages import (
    LEAST_BUFFER_BYTES,
    NOTHING,
    MessageBuffer,
    pack,
    read_message,
)

MESSAGES = st.lists(
    st.one_of(st.none(), st.binary(max_size=40), st.integers(0, 200_000).map(bytes)), max_size=8
)


@given(messages=MESSAGES, pieces=st.lists(st.integers(1, 100_000), min_size=1, max_size=40))
def test_messages_come_out_as_they_went_in(messages: list[Any], pieces: list[int]) -> None:
    """In whatever pieces they are received."""
    stream = b"".join(map(pack, messages))
    buffer, got, off, turn = MessageBuffer(), [], 0, 0
    while off < len(stream):
        free = buffer.free()
        assert free
        nbytes = min(len(free), pieces[turn % len(pieces)], len(stream) - off)
        free[:nbytes] = stream[off : off + nbytes]
        off, turn = off + nbytes, turn + 1
        buffer.received(nbytes)
        while (message := buffer.take()) is not NOTHING:
            got.append(message)
    assert got == messages
    assert buffer.take() is NOTHING


def test_buffer_is_short_again_after_a_long_message() -> None:
    """One large reply does not cost memory for ever."""
    buffer = MessageBuffer()
    rest = memoryview(pack(bytes(1_000_000)))
    longest_bytes = 0
    while rest:
        free = buffer.free()
        nbytes = min(len(free), len(rest))
        free[:nbytes] = rest[:nbytes]
        buffer.received(nbytes)
        rest = rest[nbytes:]
        longest_bytes = max(longest_bytes, nbytes)
        if buffer.take() != NOTHING:
            assert not rest
    assert longest_bytes > LEAST_BUFFER_BYTES
    assert buffer.take() is NOTHING
    assert len(buffer.free()) == LEAST_BUFFER_BYTES


def test_stream_gives_messages_until_its_end() -> None:
    """Also where it ends within one."""
    whole = pack([b"a", None]) + pack(b"b")
    for end in range(len(pack([b"a", None])), len(whole)):
        stream = io.BytesIO(whole[:end])
        assert read_message(stream) == [b"a", None]
        assert read_message(stream) is NOTHING
