"""scratch: one worker's memory for one entry."""

from asyncrev.work.scratch import SCRATCH_BYTES, Scratch


def test_scratch_holds_the_longest_plaintext_of_a_record_and_its_entry_is_on_it() -> None:
    """RFC 8446, 5.1; the memory is one, writable, of bytes."""
    scratch = Scratch()
    assert SCRATCH_BYTES == 1 << 14 == len(scratch.view)
    assert scratch.view.obj is scratch.storage is scratch.entry.view.obj
    assert not scratch.view.readonly
    assert scratch.view.format == "B"
    scratch.view[:3] = b"abc"
    assert scratch.entry.view[:3] == b"abc"


def test_scratches_share_nothing() -> None:
    """Each worker has its own."""
    one, other = Scratch(), Scratch()
    one.view[:] = b"1" * SCRATCH_BYTES
    assert not any(other.view)
    assert one.entry is not other.entry
