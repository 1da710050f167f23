"""streams: bytes that identify their stream, wherever they are split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import LocalError
from asyncrev.testing.streams import ALPHABET, Stream, records_in

OWN, FOREIGN = 7, 0xABCDE


@given(
    offset=st.integers(0, 20_000), nbytes=st.integers(0, 20_000), split_at=st.integers(0, 20_000)
)
def test_stream_is_the_same_wherever_it_is_split(offset: int, nbytes: int, split_at: int) -> None:
    """Two parts are the whole, and another connection's bytes are others."""
    split_at = min(split_at, nbytes)
    stream = Stream(OWN)
    whole = stream.bytes_at(offset, nbytes)
    assert len(whole) == nbytes
    assert whole == stream.bytes_at(offset, split_at) + stream.bytes_at(
        offset + split_at, nbytes - split_at
    )
    if nbytes >= 31:
        assert whole != Stream(FOREIGN).bytes_at(offset, nbytes)


@given(st.integers(0, (1 << 20) - 1), st.integers(0, (16 << 32) - 64))
def test_any_31_bytes_of_a_stream_tell_whose_they_are(connection_id: int, offset: int) -> None:
    """They have a whole record in them, which says so."""
    found = records_in(Stream(connection_id).bytes_at(offset, 31))
    assert found == [(-offset % 16, connection_id, offset + -offset % 16)]


@given(st.integers(0, 15), st.sampled_from(ALPHABET), st.integers(0, (16 << 32) - 16))
def test_changed_byte_of_a_record_makes_it_none(position: int, byte: int, offset: int) -> None:
    """The check does not suit it any more, or it was no change."""
    record = bytearray(Stream(OWN).bytes_at(offset - offset % 16, 16))
    same = record[position] == byte
    record[position] = byte
    assert bool(records_in(bytes(record))) == same


@given(st.integers(1, 10), st.integers(0, (1 << 20) - 1), st.integers(0, (16 << 32) - 16))
def test_exchanged_digits_of_a_record_make_it_none(
    position: int, connection_id: int, offset: int
) -> None:
    """Two neighbours, in the number of the connection or of the record."""
    record = Stream(connection_id).bytes_at(offset - offset % 16, 16)
    first, second = record[position : position + 1], record[position + 1 : position + 2]
    exchanged = record[:position] + second + first + record[position + 2 :]
    assert bool(records_in(exchanged)) == (first == second)


@pytest.mark.parametrize("connection_id", [-1, 1 << 20])
def test_connection_out_of_range_is_refused(connection_id: int) -> None:
    """With the value and what is allowed."""
    with pytest.raises(LocalError, match=f"is {connection_id}; it must be from 0 to 1048575"):
        Stream(connection_id)


@pytest.mark.parametrize(("offset", "nbytes"), [(-1, 1), (0, -1), (16 << 32, 1)])
def test_bytes_outside_the_stream_are_refused(offset: int, nbytes: int) -> None:
    """With the values and what is allowed."""
    with pytest.raises(LocalError, match=f"bytes {offset} to {offset + nbytes} of a stream"):
        Stream(0).bytes_at(offset, nbytes)
