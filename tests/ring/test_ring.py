"""ring: against a plain oracle, and what it says when it is used wrongly."""

import gc
import os
import subprocess
import sys
import weakref
from types import SimpleNamespace

import numpy
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from asyncrev.errors import LocalError, SettingsError
from asyncrev.limits import SMALL_SLOT_GAP_BYTES
from asyncrev.native.choice import VARIABLE
from asyncrev.ring.ring import CLOSE, DATA, EOF, Kind, Ring
from tests import strategies
from tests.support import publish

pytestmark = pytest.mark.usefixtures("each_plane")


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
        self.memory = set(range(slots + slots + more_entries))
        self.published: list[tuple[object, Kind, bytes]] = []  # everything ever
        self.attached: list[bool] = []  # of what is processed
        self.processed = self.released = 0
        self.views: dict[int, memoryview] = {}  # of slots that were claimed

    @property
    def live(self) -> list[int]:
        """The entries that are not released, oldest first."""
        return list(range(self.released, len(self.published)))

    def slots_of(self, entries: list[int]) -> list[int]:
        """The numbers of the slots of entries."""
        return [self.ring.slot_of[seq % self.ring.nentries] for seq in entries]

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
        slots_in_use = sum(number >= ring.nentries for number in self.slots_of(live))
        if not small and slots_in_use == ring.slots:
            assert slot is None
            return
        assert slot is not None
        assert ring.try_claim(small=small) is slot  # claiming again changes nothing
        assert slot.nbytes == (ring.small_slot_bytes if small else ring.slot_bytes)
        assert slot.contiguous
        assert not slot.readonly
        self.views[(ring.free_small_slots if small else ring.free_slots)[-1]] = slot
        data = data[: slot.nbytes]
        slot[: len(data)] = data
        ring.publish(owner, kind, slot, len(data))
        self.published.append((owner, kind, data))

    @rule(attached=st.booleans())
    def process(self, attached: bool) -> None:
        """The worker sees its oldest entry as it was published, and reverses it in place."""
        ring = self.ring
        if self.processed == len(self.published):
            with pytest.raises(LocalError, match=f"all {self.processed} published entries"):
                ring.mark_processed()
            return
        owner, kind, data = self.published[self.processed]
        assert ring.owner(self.processed) is owner
        view = ring.view(self.processed)
        assert view == data
        view[:] = data[::-1]
        if attached:
            entry = ring.entry(self.processed)
            assert ring.entry(self.processed) is entry
            assert (entry.owner, entry.kind, entry.result, entry.error) == (owner, kind, None, None)
            assert entry.view[: entry.nbytes] == data[::-1]
            entry.result = view
            entry.error = KeyError(self.processed)
            ring.mark_processed()
        else:
            ring.mark_processed(view)
        self.published[self.processed] = (owner, kind, data[::-1])
        self.attached.append(attached)
        self.processed += 1

    @rule(wanted=st.integers(0, 9))
    def release(self, wanted: int) -> None:
        """Any number of processed entries goes back at once, and not one more."""
        ready = self.processed - self.released
        if wanted > ready:
            with pytest.raises(LocalError, match=f"release of {wanted} entries; {ready} are"):
                self.ring.release(wanted)
            return
        end = self.released + wanted
        reports = [self.ring.returned(seq)[3] for seq in range(self.released, end)]
        self.ring.release(wanted)
        assert all(e.owner is e.result is e.error is None for e in reports if e is not None)
        self.released = end

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
        others = ring.free_small_slots[:-1] + ring.free_slots[:-1] + self.slots_of(self.live)
        for other in others:
            if other in self.views:
                with pytest.raises(LocalError, match="not the slot that was claimed last"):
                    ring.publish(self, DATA, self.views[other], 1)

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
        """I2: every slot is either free or in use exactly once, and there is one for each entry."""
        ring, live = self.ring, self.live
        assert ring.free_entries + len(live) == ring.nentries
        numbers = self.slots_of(live) + ring.free_slots + ring.free_small_slots
        assert len(numbers) == len(self.memory)
        assert set(numbers) == self.memory
        assert all(number >= ring.nentries for number in ring.free_slots)
        assert all(number < ring.nentries for number in ring.free_small_slots)
        assert len(ring.free_small_slots) >= ring.free_entries

    @invariant()
    def bytes_are_intact(self) -> None:
        """What is in flight is what its side wrote last."""
        published = self.published[self.released :]
        for seq, (owner, kind, data) in zip(self.live, published, strict=True):
            assert (self.ring.owner(seq), self.ring.view(seq)) == (owner, data)
            if seq < self.processed:
                seen = self.ring.returned(seq)
                assert seen[:3] == (owner, kind, len(data))
                assert (seen[3] is not None) == self.attached[seq]
                assert self.ring.result(seq) == data


class TestRingAgainstAnOracle:
    """I1, I2: any order of calls, capacities 1 to 8, slots of 1 to 16 bytes, small ones besides."""

    def test_any_order_of_calls(self) -> None:
        """With the ring of each plane."""
        run_state_machine_as_test(
            RingMachine,
            settings=settings(max_examples=60, stateful_step_count=40, deadline=None),
        )


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
    assert [bytes(ring.view(seq)) for seq in range(4)] == [b"A" * 5, b"BBB", b"C" * 5, b"DDD"]
    assert sorted(ring.storage[:]) == sorted(b"AAAAABBBCCCCCDDD" + bytes(2 * 3 + 4 * gap_bytes))


@pytest.mark.parametrize("small", [False, True])
def test_two_threads_never_slice_what_counts_its_slices_in_one_place(small: bool) -> None:
    """I19: else a free-threaded build miscounts, and the ring's memory counts as released."""

    def counted_in(view: memoryview) -> int:
        (buffer,) = gc.get_referents(view)
        assert type(buffer).__name__ == "managedbuffer"
        return id(buffer)

    ring = Ring(3, 8, 4, 4)
    claimed = []
    for seq in range(3):
        slot = ring.try_claim(small=small)
        assert slot is not None
        claimed.append(slot)
        ring.publish(None, DATA, slot, 3)
        slot[:3] = b"xyz"
        assert bytes(ring.view(seq)) == b"xyz"
    workers = {counted_in(ring.entry(seq).view) for seq in range(3)}
    assert len(workers) == 3  # replies are slices of these, and the loop slices replies
    assert workers == {counted_in(ring.view(seq)) for seq in range(3)}
    assert not workers & {counted_in(view) for view in claimed}


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
        ring.entry(0).error = error
    ring.entry(0).result = b"reply"
    ring.mark_processed()
    ring.release(1)
    del owner
    gc.collect()
    assert gone() is None


def test_closed_flags_start_false() -> None:
    """I4: both sides are open at first."""
    ring = Ring(1, 1)
    assert (ring.input_closed, ring.output_closed) == (False, False)


def test_forked_process_does_not_write_into_our_slots(each_plane: SimpleNamespace) -> None:
    """A program that forks, for a subprocess or a pool, goes on with slots of its own."""
    code = """
import os
from asyncrev.ring.planes import Ring
slot = Ring(1, 8).try_claim()
slot[:4] = b"ours"
child = os.fork()
if not child:
    slot[:4] = b"its!"
    os._exit(0)
os.waitpid(child, 0)
print(bytes(slot[:4]).decode())
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {VARIABLE: each_plane.name},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "ours\n"


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
