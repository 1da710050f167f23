"""ring: against a plain oracle, and what it says when it is used wrongly."""

import gc
import subprocess
import sys
import weakref

import numpy
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncrev.errors import LocalError, SettingsError
from asyncrev.limits import SMALL_SLOT_GAP_BYTES
from asyncrev.ring.ring import CLOSE, DATA, EOF, Entry, Kind, Ring
from tests import strategies
from tests.support import publish


class RingMachine(RuleBasedStateMachine):
    """The ring beside a list of what each live entry must hold."""

    @initialize(
        slots=strategies.slots,
        slot_bytes=strategies.slot_bytes,
        more_entries=st.integers(0, 3),
        small_slot_bytes=strategies.slot_bytes,
    )
    def make(self, slots: int, slot_bytes: int, more_entries: int, small_slot_bytes: int) -> None:
        """Start with any small ring."""
        self.ring = Ring(slots, slot_bytes, slots + more_entries, small_slot_bytes)
        self.memory = {id(view) for view in self.ring.free_slots}
        self.memory |= {id(entry.small_slot) for entry in self.ring.free_entries}
        self.published: list[tuple[object, Kind, bytes]] = []  # everything ever
        self.processed = self.released = 0

    @property
    def live(self) -> list[Entry]:
        """The entries that are not released, oldest first."""
        entries = self.ring.entries_between(self.released, self.processed)
        return entries + self.ring.entries_between(self.processed, len(self.published))

    @rule(data=st.binary(max_size=20), kind=st.sampled_from(Kind), small=st.booleans())
    def publish(self, data: bytes, kind: Kind, small: bool) -> None:
        """Claim, fill and publish; a full ring gives no slot and takes no entry."""
        ring, owner, live = self.ring, object(), self.live
        slot = ring.try_claim(small=small)
        if len(live) == ring.nentries:
            assert slot is None
            with pytest.raises(LocalError, match=f"all {ring.nentries} entries are in use"):
                ring.publish(owner, kind, memoryview(bytearray(20)), len(data))
            return
        slots_in_use = sum(entry.slot is not entry.small_slot for entry in live)
        if not small and slots_in_use == ring.slots:
            assert slot is None
            return
        assert slot is not None
        assert ring.try_claim(small=small) is slot  # claiming again changes nothing
        assert slot.nbytes == (ring.small_slot_bytes if small else ring.slot_bytes)
        assert slot.contiguous
        assert not slot.readonly
        data = data[: slot.nbytes]
        slot[: len(data)] = data
        ring.publish(owner, kind, slot, len(data))
        self.published.append((owner, kind, data))

    @rule()
    def process(self) -> None:
        """The worker sees its oldest entry as it was published, and reverses it in place."""
        ring = self.ring
        if self.processed == len(self.published):
            with pytest.raises(LocalError, match=f"all {self.processed} published entries"):
                ring.mark_processed()
            return
        (entry,) = ring.entries_between(self.processed, self.processed + 1)
        owner, kind, data = self.published[self.processed]
        assert (entry.owner, entry.kind, entry.result, entry.error) == (owner, kind, None, None)
        assert entry.view[: entry.nbytes] == data
        entry.view[: len(data)] = data[::-1]
        entry.result = entry.view[: len(data)]
        entry.error = KeyError(self.processed)
        self.published[self.processed] = (owner, kind, data[::-1])
        ring.mark_processed()
        self.processed += 1

    @rule(wanted=st.integers(0, 9))
    def release(self, wanted: int) -> None:
        """Any number of processed entries goes back at once, and not one more."""
        ready = self.processed - self.released
        if wanted > ready:
            with pytest.raises(LocalError, match=f"release of {wanted} entries; {ready} are"):
                self.ring.release(wanted)
            return
        entries = self.ring.entries_between(self.released, self.released + wanted)
        self.ring.release(wanted)
        assert all(e.owner is e.result is e.error is None for e in entries)
        self.released += wanted

    @precondition(lambda self: self.ring.free_entries and self.ring.free_slots)
    @rule(over=st.integers(1, 5), under=st.integers(-5, -1), small=st.booleans())
    def publish_what_cannot_be(self, over: int, under: int, small: bool) -> None:
        """Too long, negative, or memory that was not claimed: refused, and nothing changes."""
        ring = self.ring
        slot = ring.try_claim(small=small)
        assert slot is not None
        for nbytes in (slot.nbytes + over, under):
            with pytest.raises(LocalError, match=f"{nbytes} bytes; the slot has {slot.nbytes}"):
                ring.publish(self, DATA, slot, nbytes)
        others = [entry.small_slot for entry in ring.free_entries[:-1]] + ring.free_slots[:-1]
        others += [entry.slot for entry in self.live]
        for other in others:
            with pytest.raises(LocalError, match="not the slot that was claimed last"):
                ring.publish(self, DATA, other, 1)

    @invariant()
    def cursors_are_ordered(self) -> None:
        """I1, and the cursors are what was counted."""
        ring = self.ring
        assert ring.released_seq <= ring.processed_seq <= ring.published_seq
        assert ring.published_seq <= ring.released_seq + ring.nentries
        cursors = (ring.published_seq, ring.processed_seq, ring.released_seq)
        assert cursors == (len(self.published), self.processed, self.released)

    @invariant()
    def no_memory_is_shared(self) -> None:
        """I2: every entry and every slot is either free or in use exactly once."""
        ring, live = self.ring, self.live
        entries = live + ring.free_entries
        assert len(entries) == len({id(entry) for entry in entries}) == ring.nentries
        lent = [entry.slot for entry in live if entry.slot is not entry.small_slot]
        slots = lent + ring.free_slots
        assert len(slots) == ring.slots
        small_slots = [entry.small_slot for entry in entries]
        assert {id(view) for view in slots + small_slots} == self.memory

    @invariant()
    def bytes_are_intact(self) -> None:
        """What is in flight is what its side wrote last."""
        published = self.published[self.released :]
        for entry, (owner, kind, data) in zip(self.live, published, strict=True):
            assert (entry.owner, entry.kind) == (owner, kind)
            assert entry.view[: entry.nbytes] == data


RingMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class TestRingAgainstAnOracle(RingMachine.TestCase):
    """I1, I2: any order of calls, capacities 1 to 8, slots of 1 to 16 bytes, small ones besides."""


@pytest.mark.parametrize(("slots", "slot_bytes"), [(0, 1), (1, 0), (-3, 4)])
def test_ring_of_nothing_is_refused(slots: int, slot_bytes: int) -> None:
    """The message has both numbers."""
    with pytest.raises(SettingsError, match=f"{slots} slots of {slot_bytes} bytes"):
        Ring(slots, slot_bytes)


def test_release_of_a_negative_number_raises() -> None:
    """It would take entries back that are gone."""
    with pytest.raises(LocalError, match="release of -1 entries; 0 are processed"):
        Ring(2, 2).release(-1)


def test_ring_of_fewer_entries_than_slots_is_refused() -> None:
    """The slots beyond could never be used."""
    with pytest.raises(SettingsError, match="a ring of 2 entries cannot use 3 slots"):
        Ring(3, 8, 2)


def test_slots_do_not_overlap_and_fill_the_storage() -> None:
    """I2: writing one slot full leaves the others alone, and so do small slots."""
    ring = Ring(2, 5, 4, 3)
    gap_bytes = SMALL_SLOT_GAP_BYTES
    for number in range(4):
        slot = ring.try_claim(small=bool(number % 2))
        assert slot is not None
        assert slot.nbytes == (3 if number % 2 else 5)
        slot[:] = bytes([65 + number]) * slot.nbytes
        ring.publish(None, DATA, slot, slot.nbytes)
    assert [bytes(e.view) for e in ring.entries] == [b"A" * 5, b"BBB", b"C" * 5, b"DDD"]
    assert sorted(ring.storage[:]) == sorted(b"AAAAABBBCCCCCDDD" + bytes(2 * 3 + 4 * gap_bytes))


@pytest.mark.parametrize("small", [False, True])
def test_two_threads_never_slice_what_counts_its_slices_in_one_place(small: bool) -> None:
    """I19: else a free-threaded build miscounts, and the ring's memory counts as released."""

    def counted_in(view: memoryview) -> int:
        (buffer,) = gc.get_referents(view)
        assert type(buffer).__name__ == "managedbuffer"
        return id(buffer)

    ring = Ring(3, 8, 4, 4)
    for _ in range(3):
        publish(ring, None, b"abc", small=small)
    entries = ring.entries_between(0, 3)
    workers = {counted_in(entry.view) for entry in entries}
    assert len(workers) == 3  # replies are slices of these, and the loop slices replies
    assert not workers & {counted_in(entry.slot) for entry in entries}
    for entry in entries:
        entry.slot[:3] = b"xyz"
        assert bytes(entry.view[:3]) == b"xyz"


def test_small_slot_is_no_longer_than_a_slot() -> None:
    """A ring of tiny slots would hold more in the small ones otherwise."""
    assert Ring(1, 8, 2, 100).small_slot_bytes == 8


@pytest.mark.parametrize("small", [False, True])
def test_slot_freed_last_is_claimed_first(small: bool) -> None:
    """Its memory is still in the cache."""
    ring = Ring(3, 2, 3, 1)
    slot = ring.try_claim(small=small)
    publish(ring, None, kind=EOF, small=small)
    assert ring.try_claim(small=small) is not slot
    ring.mark_processed()
    ring.release(1)
    assert ring.try_claim(small=small) is slot


def test_released_entry_keeps_nothing_of_its_owner_alive() -> None:
    """A traceback holds frames, and they hold the connection: the error goes with the rest."""

    class Owner:
        pass

    def fail(owner: Owner) -> None:
        raise KeyError(owner)

    ring, owner = Ring(2, 1), Owner()
    gone = weakref.ref(owner)
    publish(ring, owner, kind=CLOSE)
    try:
        fail(owner)
    except KeyError as error:
        ring.entries[0].error = error
    ring.entries[0].result = b"reply"
    ring.mark_processed()
    ring.release(1)
    del owner
    gc.collect()
    assert gone() is None


def test_closed_flags_start_false() -> None:
    """I4: both sides are open at first."""
    ring = Ring(1, 1)
    assert (ring.input_closed, ring.output_closed) == (False, False)


def test_forked_process_does_not_write_into_our_slots() -> None:
    """A program that forks, for a subprocess or a pool, goes on with slots of its own."""
    code = """
import os
from asyncrev.ring.ring import Ring
slot = Ring(1, 8).try_claim()
slot[:4] = b"ours"
child = os.fork()
if not child:
    slot[:4] = b"its!"
    os._exit(0)
os.waitpid(child, 0)
print(bytes(slot[:4]).decode())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "ours\n"


def test_entries_of_a_new_ring_say_nothing() -> None:
    """Nobody's, no bytes, nothing kept: what is read before it was written does no harm."""
    for entry in Ring(2, 8, 3).free_entries:
        assert (entry.owner, entry.kind, entry.nbytes) == (None, DATA, 0)
        assert (entry.result, entry.error) == (None, None)
        assert (entry.partial_frame_bytes, entry.frame_seq, entry.calls) == (0, 0, 0)
        assert (entry.surplus_bytes, entry.ended) == (0, False)


def test_publish_of_other_memory_says_what_it_wants() -> None:
    """The whole sentence."""
    ring = Ring(2, 8)
    with pytest.raises(
        LocalError, match=r"^publish of memory that is not the slot that was claimed last$"
    ):
        ring.publish(None, DATA, memoryview(bytearray(8)), 1)


def test_memory_of_a_ring_is_private() -> None:
    """In this process, too: a mapping that is shared would be another process's after a fork."""
    storage = Ring(1, 8).storage
    low = memoryview(storage)
    with open("/proc/self/maps", encoding="ascii") as maps:
        address = numpy.frombuffer(low, numpy.uint8).ctypes.data
        for line in maps:
            start, _, end = line.split()[0].partition("-")
            if int(start, 16) <= address < int(end, 16):
                assert line.split()[1] == "rw-p"
                break
        else:
            raise AssertionError(f"{address:x} is in no mapping")


def test_entry_is_found_by_its_sequence_number() -> None:
    """From its publish to its release."""
    ring = Ring(2, 4)
    for owner in ("one", "two"):
        publish(ring, owner)
    assert [ring.entry(seq).owner for seq in (0, 1)] == ["one", "two"]


def test_claim_is_of_a_slot_unless_a_small_one_is_asked_for() -> None:
    """They differ in length."""
    ring = Ring(1, 8, small_slot_bytes=2)
    for small, nbytes in ((False, 8), (True, 2)):
        slot = ring.try_claim(small=small)
        assert slot is not None
        assert len(slot) == nbytes
    slot = ring.try_claim()
    assert slot is not None
    assert len(slot) == 8


def test_closing_the_output_leaves_the_input_open() -> None:
    """And it stays closed."""
    ring = Ring(1, 4)
    ring.close_output()
    ring.close_output()
    assert (ring.output_closed, ring.input_closed) == (True, False)
