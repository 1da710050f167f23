"""Helpers of the tests of histories: transforms, and ways to feed a history."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st

from asyncrev import Reverse
from asyncrev.testing.history import History, HistoryError
from tests.support import flipped

Transform = Callable[[bytes], bytes]

OWN, FOREIGN = 7, 0xABCDE


def reverse(payload: bytes) -> bytes:
    """Answer as the processor that comes with asyncrev does."""
    return bytes(Reverse().process(memoryview(bytearray(payload))))


def shout(payload: bytes) -> bytes:
    """Answer with more than was asked."""
    return payload.upper() + b"!"


BYTEWISE: list[Transform] = [bytes, flipped, bytes.swapcase, bytes.upper]
FRAMEWISE: list[Transform] = [bytes, flipped, reverse, shout]

splits = st.lists(st.integers(1, 200), max_size=20)


def feed(history: History, data: bytes, pieces: list[int]) -> None:
    """Give `data` in pieces of these lengths, then the rest at once."""
    off = 0
    for nbytes in pieces:
        history.received(data[off : off + nbytes])
        off += nbytes
    history.received(data[off:])


def error_of(history: History, data: bytes, pieces: list[int]) -> HistoryError:
    """Return what the history finds wrong with `data`, at the latest at the end."""
    with pytest.raises(HistoryError) as caught:
        feed_all(history, data, pieces)
    assert caught.value.connection_id == history.stream.connection_id
    return caught.value


def feed_all(history: History, data: bytes, pieces: list[int]) -> None:
    """Give `data`, and say that this is all."""
    feed(history, data, pieces)
    history.finish(complete=True)
