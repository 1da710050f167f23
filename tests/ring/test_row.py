"""row: what a row says before anything has happened."""

import pytest

from asyncrev.ring.row import SMALL_READS, Row


def test_new_row_has_nothing_in_flight_and_no_socket() -> None:
    """It begins with small slots; nobody receives or sends for it."""
    row = Row("work")
    assert row.work == "work"
    assert (row.in_flight_entries, row.in_flight_bytes) == (0, 0)
    assert (row.received_bytes, row.replied_bytes) == (0, 0)
    assert row.small_reads == SMALL_READS
    assert not (row.reads)
    assert not (row.sends)
    assert not (row.abandoned)
    assert not (row.waits_for_credit)
    assert not (row.waits_for_slot)
    with pytest.raises(AssertionError, match="no socket"):
        row.send(b"x")
