"""ring: against a plain oracle, and what it says when it is used wrongly."""

import gc
import subprocess
import sys
import weakref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncrev.errors import LocalError, SettingsError
from asyncrev.ring import CLOSE, DATA, EOF, Kind, Ring
from tests import strategies


class RingMachine(RuleBasedStateMachine):
    """The ring beside a list of what each live entry must hold."""

    @initialize(slots=strategies.slots, slot_bytes=strategies.slot_bytes)
    def make(self, slots: int, slot_bytes: int) -> None:
        """Start with any small ring."""
        self.ring = Ring(slots, slot_bytes)
        self.slot_ids = {id(view) for view in self.ring.free_views}
        self.published: list[tuple[object, Kind, bytes]] = []  # everything ever
        self.processed = self.released = 0

    @property
    def live(self) -> int:
        """How many entries the oracle holds that are not released."""
        return len(self.published) - self.released

    @rule(data=st.binary(max_size=20), kind=st.sampled_from(Kind))
    def publish(self, data: bytes, kind: Kind) -> None:
        """Claim, fill and publish; a full ring gives no slot and takes no entry."""
        ring = self.ring
        data, owner = data[: ring.slot_bytes], object()
        slot = ring.try_claim()
        if self.live == ring.slots:
            assert slot is None
            with pytest.raises(LocalError, match=f"all {ring.slots} slots are in use"):
                ring.publish(owner, kind, len(data))
            return
        assert slot is not None
        assert ring.try_claim() is slot  # claiming again changes nothing
        assert slot.nbytes == ring.slot_bytes
        assert slot.contiguous
        assert not slot.readonly
        slot[: len(data)] = data
        ring.publish(owner, kind, len(data))
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

    @precondition(lambda self: self.ring.free_slots)
    @rule(over=st.integers(1, 5), under=st.integers(-5, -1))
    def publish_a_wrong_length(self, over: int, under: int) -> None:
        """Too long and negative are refused with both numbers, and change nothing."""
        ring = self.ring
        for nbytes in (ring.slot_bytes + over, under):
            with pytest.raises(LocalError, match=f"{nbytes} bytes; a slot has {ring.slot_bytes}"):
                ring.publish(self, DATA, nbytes)

    @invariant()
    def cursors_are_ordered(self) -> None:
        """I1, and the cursors are what was counted."""
        ring = self.ring
        assert ring.released_seq <= ring.processed_seq <= ring.published_seq
        assert ring.published_seq <= ring.released_seq + ring.slots
        cursors = (ring.published_seq, ring.processed_seq, ring.released_seq)
        assert cursors == (len(self.published), self.processed, self.released)
        assert ring.free_slots == ring.slots - self.live

    @invariant()
    def no_slot_is_shared(self) -> None:
        """I2: every slot is either free or lent to exactly one live entry."""
        ring = self.ring
        lent = [id(e.view) for e in ring.entries_between(self.released, self.processed)]
        lent += [id(e.view) for e in ring.entries_between(self.processed, len(self.published))]
        free = [id(view) for view in ring.free_views]
        assert len(lent) + len(free) == ring.slots
        assert set(lent) | set(free) == self.slot_ids

    @invariant()
    def bytes_are_intact(self) -> None:
        """What is in flight is what its side wrote last."""
        live = self.ring.entries_between(self.released, self.processed)
        live += self.ring.entries_between(self.processed, len(self.published))
        for entry, (owner, kind, data) in zip(live, self.published[self.released :], strict=True):
            assert (entry.owner, entry.kind) == (owner, kind)
            assert entry.view[: entry.nbytes] == data


RingMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class TestRingAgainstAnOracle(RingMachine.TestCase):
    """I1, I2: any order of calls, capacities 1 to 8, slots of 1 to 16 bytes."""


@pytest.mark.parametrize(("slots", "slot_bytes"), [(0, 1), (1, 0), (-3, 4)])
def test_ring_of_nothing_is_refused(slots: int, slot_bytes: int) -> None:
    """The message has both numbers."""
    with pytest.raises(SettingsError, match=f"{slots} slots of {slot_bytes} bytes"):
        Ring(slots, slot_bytes)


def test_release_of_a_negative_number_raises() -> None:
    """It would take entries back that are gone."""
    with pytest.raises(LocalError, match="release of -1 entries; 0 are processed"):
        Ring(2, 2).release(-1)


def test_slots_do_not_overlap_and_fill_the_storage() -> None:
    """I2: writing one slot full leaves the others alone."""
    ring = Ring(4, 3)
    for number in range(4):
        slot = ring.try_claim()
        assert slot is not None
        slot[:] = bytes([65 + number]) * 3
        ring.publish(None, DATA, 3)
    assert [bytes(e.view) for e in ring.entries] == [b"AAA", b"BBB", b"CCC", b"DDD"]
    assert sorted(ring.storage[:]) == sorted(b"AAABBBCCCDDD")


def test_slot_freed_last_is_claimed_first() -> None:
    """Its memory is still in the cache."""
    ring = Ring(3, 1)
    slot = ring.try_claim()
    ring.publish(None, EOF, 0)
    assert ring.try_claim() is not slot
    ring.mark_processed()
    ring.release(1)
    assert ring.try_claim() is slot


def test_released_entry_keeps_nothing_of_its_owner_alive() -> None:
    """A traceback holds frames, and they hold the connection: the error goes with the rest."""

    class Owner:
        pass

    def fail(owner: Owner) -> None:
        raise KeyError(owner)

    ring, owner = Ring(2, 1), Owner()
    gone = weakref.ref(owner)
    ring.publish(owner, CLOSE, 0)
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
from asyncrev.ring import Ring
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
