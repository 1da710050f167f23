"""entry: what a new one says."""

import pytest

from asyncrev.ring.entry import DATA, Entry

pytestmark = pytest.mark.usefixtures("each_plane")


def test_new_entry_says_nothing() -> None:
    """Nobody's, no bytes, nothing kept: what is read before it was written does no harm."""
    entry = Entry(memoryview(b"12345678"))
    assert (entry.owner, entry.kind, entry.nbytes) == (None, DATA, 0)
    assert (entry.result, entry.error) == (None, None)
    assert (entry.partial_frame_bytes, entry.frame_seq, entry.calls) == (0, 0, 0)
    assert (entry.surplus_bytes, entry.ended) == (0, False)
    assert entry.view == b"12345678"
