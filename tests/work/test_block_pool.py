"""pool: against a plain oracle, where its memory goes, and what it says when used wrongly."""

import ctypes
import gc
import itertools
import mmap
import os
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asyncrev.errors import LocalError, SettingsError
from asyncrev.limits import LEAST_BLOCK_BYTES, class_bytes
from asyncrev.ring.ring import Ring
from asyncrev.work import block_pool as pool_module
from asyncrev.work.block_pool import Block, Pool
from tests.support import publish

KIB, MIB = 1024, 1024 * 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# Around the edges of the small classes, and of those that are mapped.
lengths = st.sampled_from(
    [0, 1, 255, 256, 257, 512, 513, 1024, 32 * KIB, 32 * KIB + 1, 64 * KIB, 64 * KIB + 1, 128 * KIB]
)


class FakeCursors:
    """Two cursors that move as the test says."""

    def __init__(self) -> None:
        self.processed_seq = self.released_seq = 0


def address(block: Block) -> int:
    """Return where the block's memory begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(block.storage))


class PoolMachine(RuleBasedStateMachine):
    """The pool beside lists of which block is where, and what each must hold."""

    @initialize(most_bytes=st.sampled_from([0, 300, 700, 3 * KIB, 65 * KIB, 200 * KIB, MIB]))
    def make(self, most_bytes: int) -> None:
        """Start with a pool that keeps nothing, some, or everything."""
        self.most_bytes = most_bytes
        self.cursors = FakeCursors()
        self.pool = Pool(self.cursors, most_bytes)
        self.made: list[Block] = []  # everything ever; holding it makes identity mean something
        self.contents: dict[int, bytes] = {}  # by id of the block, of those in use
        self.leased: list[Block] = []
        self.lent: list[tuple[int, Block]] = []
        self.kept: list[Block] = []  # oldest first
        self.high_bytes = self.leases = self.reclaimed = 0

    def in_use_bytes(self) -> int:
        """Return what the oracle has out, lent or leased."""
        return sum(b.nbytes for b in self.leased) + sum(b.nbytes for _, b in self.lent)

    def held_bytes(self) -> int:
        """Return what the oracle holds altogether."""
        return self.in_use_bytes() + sum(b.nbytes for b in self.kept)

    def expect_reclaim(self) -> None:
        """Move what is released from the lent ones."""
        for seq, block in list(self.lent):
            if seq < self.cursors.released_seq:
                fits = self.held_bytes() <= self.most_bytes
                self.lent.remove((seq, block))
                self.reclaimed += 1
                self.expect_back(block, fits=fits)

    def expect_back(self, block: Block, *, fits: bool) -> None:
        """Keep a block that is no longer in use, or forget it."""
        del self.contents[id(block)]
        if fits:
            self.kept.append(block)

    def expect_lease(self, block_bytes: int) -> Block | None:
        """Return the kept block that a lease must give, or None for a new one."""
        for attempt in range(2):
            same = [block for block in self.kept if block.nbytes == block_bytes]
            if same:
                self.kept.remove(same[-1])
                return same[-1]
            if attempt == 0:
                self.expect_reclaim()
        while self.kept and self.held_bytes() + block_bytes > self.most_bytes:
            most = max(block.nbytes for block in self.kept)
            self.kept.remove(next(block for block in self.kept if block.nbytes == most))
        return None

    def note_leased(self, block: Block, expected: Block | None, block_bytes: int) -> None:
        """Check a block that came out, and write all over it."""
        if expected is None:
            assert all(block is not other for other in self.made)
            self.made.append(block)
        else:
            assert block is expected
        assert block.nbytes == block.view.nbytes == block_bytes
        self.leases += 1
        self.leased.append(block)
        self.high_bytes = max(self.high_bytes, self.in_use_bytes())

    def stamp(self, block: Block, held: bytes = b"") -> None:
        """Write something over all of a block that no other block holds."""
        assert block.view[: len(held)] == held
        mark = self.leases.to_bytes(4, "big")
        self.contents[id(block)] = held + (mark * (block.nbytes // 4))[len(held) :]
        block.view[:] = self.contents[id(block)]

    def pick(self, number: int) -> Block | None:
        """Return one of the leased blocks, if there is any."""
        return self.leased[number % len(self.leased)] if self.leased else None

    @rule(nbytes=lengths)
    def lease(self, nbytes: int) -> None:
        """The kept block of the class that came back last, else a new one."""
        block_bytes = class_bytes(nbytes)
        expected = self.expect_lease(block_bytes)
        block = self.pool.lease(nbytes)
        self.note_leased(block, expected, block_bytes)
        self.stamp(block)

    @rule(number=st.integers(0, 20), held=st.integers(0, 128 * KIB), nbytes=lengths)
    def grow(self, number: int, held: int, nbytes: int) -> None:
        """What is held is there again; a block that is long enough stays."""
        block = self.pick(number)
        if block is None:
            return
        held %= block.nbytes + 1
        if nbytes <= block.nbytes:
            assert self.pool.grow(block, held, nbytes) is block
            return
        text = self.contents[id(block)][:held]
        expected = self.expect_lease(class_bytes(nbytes))
        larger = self.pool.grow(block, held, nbytes)
        self.note_leased(larger, expected, class_bytes(nbytes))
        self.stamp(larger, text)
        fits = self.held_bytes() <= self.most_bytes
        self.leased.remove(block)
        self.expect_back(block, fits=fits)

    @rule(number=st.integers(0, 20))
    def give_back(self, number: int) -> None:
        """It is kept if that fits."""
        block = self.pick(number)
        if block is not None:
            fits = self.held_bytes() <= self.most_bytes
            self.leased.remove(block)
            self.pool.give_back(block)
            self.expect_back(block, fits=fits)

    @rule(number=st.integers(0, 20))
    def lend(self, number: int) -> None:
        """It stays in use."""
        block = self.pick(number)
        if block is not None:
            self.leased.remove(block)
            self.pool.lend(block)
            self.lent.append((self.cursors.processed_seq, block))

    @rule(nentries=st.integers(1, 4))
    def process(self, nentries: int) -> None:
        """The worker gets on."""
        self.cursors.processed_seq += nentries

    @rule(nentries=st.integers(1, 4))
    def release(self, nentries: int) -> None:
        """The loop gets on, never beyond the worker."""
        cursors = self.cursors
        cursors.released_seq = min(cursors.released_seq + nentries, cursors.processed_seq)

    @rule()
    def reclaim(self) -> None:
        """What is released comes back, the oldest first."""
        self.expect_reclaim()
        self.pool.reclaim()

    @rule(number=st.integers(0, 20))
    def misuse(self, number: int) -> None:
        """A block that is not leased is refused, and nothing changes."""
        gone = [block for block in self.made if id(block) not in map(id, self.leased)]
        if gone:
            block = gone[number % len(gone)]
            with pytest.raises(LocalError, match=f"give_back of a block of {block.nbytes} bytes"):
                self.pool.give_back(block)
            with pytest.raises(LocalError, match=f"lend of a block of {block.nbytes} bytes that"):
                self.pool.lend(block)
            with pytest.raises(LocalError, match=f"grow of a block of {block.nbytes} bytes that"):
                self.pool.grow(block, 0, 0)

    @invariant()
    def counters_are_what_was_counted(self) -> None:
        """Every one of them, and the bound on what is held."""
        pool = self.pool
        assert pool.in_use_bytes == self.in_use_bytes()
        assert pool.in_use_high_bytes == self.high_bytes
        assert pool.kept_bytes == sum(block.nbytes for block in self.kept)
        assert pool.lent_bytes == sum(block.nbytes for _, block in self.lent)
        assert pool.allocations == len(self.made)
        assert (pool.leases, pool.reclaimed) == (self.leases, self.reclaimed)
        held_bytes = pool.in_use_bytes + pool.kept_bytes
        assert held_bytes <= max(self.most_bytes, pool.in_use_bytes)

    @invariant()
    def contents_are_undisturbed(self) -> None:
        """What is in use holds what was written last, to its end."""
        for block in [*self.leased, *(block for _, block in self.lent)]:
            assert block.view.tobytes() == self.contents[id(block)]

    @invariant()
    def blocks_do_not_overlap(self) -> None:
        """Each ends before the next one begins, the kept ones included."""
        held = [*self.leased, *self.kept, *(block for _, block in self.lent)]
        spans = sorted((address(block), block.nbytes) for block in held)
        for (start, nbytes), (next_start, _) in itertools.pairwise(spans):
            assert start + nbytes <= next_start


PoolMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)


class TestPoolAgainstAnOracle(PoolMachine.TestCase):
    """Any order of calls, pools that keep nothing to everything, blocks of both kinds."""


@pytest.mark.parametrize("exponent", range(63))
def test_class_bytes_around_a_power_of_two_is_the_next_one(exponent: int) -> None:
    """At it, one below and one above."""
    power = 2**exponent
    assert class_bytes(power) == max(power, LEAST_BLOCK_BYTES)
    assert class_bytes(power - 1) == max(power if power > 2 else 1, LEAST_BLOCK_BYTES)
    if exponent < 62:
        assert class_bytes(power + 1) == max(power * 2, LEAST_BLOCK_BYTES)


@pytest.mark.parametrize("nbytes", [-1, -(2**70), 2**62 + 1, 2**64])
def test_class_bytes_of_no_length_raises(nbytes: int) -> None:
    """The message has the actual and the allowed values."""
    with pytest.raises(LocalError, match=rf"of {nbytes} bytes; it must have 0 to {2**62}$"):
        class_bytes(nbytes)


@pytest.mark.parametrize(
    ("nbytes", "storage_type"),
    [(0, bytearray), (32 * KIB, bytearray), (32 * KIB + 1, mmap.mmap), (MIB, mmap.mmap)],
)
def test_block_is_one_writable_view_of_its_storage(nbytes: int, storage_type: type) -> None:
    """Small ones are bytearrays, large ones mappings."""
    block = Pool(FakeCursors(), MIB).lease(nbytes)
    view = block.view
    assert type(block.storage) is storage_type
    assert view.obj is block.storage
    assert (view.format, view.ndim, view.readonly, view.contiguous) == ("B", 1, False, True)
    assert view.nbytes == block.nbytes == class_bytes(nbytes)
    view[-1] = 7
    assert block.storage[block.nbytes - 1] == 7


def test_lease_of_kept_blocks_takes_the_last_given_first() -> None:
    """Its memory is still in the cache; other classes have no part in it."""
    pool = Pool(FakeCursors(), MIB)
    first, second, third = (pool.lease(500) for _ in range(3))
    for block in (second, pool.lease(2000), third, first):
        pool.give_back(block)
    assert [pool.lease(400) for _ in range(3)] == [first, third, second]
    assert pool.allocations == 4


def test_lease_of_another_class_leaves_kept_blocks() -> None:
    """A kept block neither serves a shorter lease nor is dropped while it fits."""
    pool = Pool(FakeCursors(), 4096 + 256)
    large = pool.lease(4096)
    pool.give_back(large)
    assert pool.lease(1).nbytes == 256
    assert pool.kept_bytes == 4096
    assert pool.lease(4096) is large


def test_lease_beyond_most_bytes_drops_the_largest_first() -> None:
    """As many as make room, and those of one class in the order in which they came back."""
    pool = Pool(FakeCursors(), 4096)
    small, *large = [pool.lease(nbytes) for nbytes in (256, 1024, 1024, 1024)]
    for block in (*large, small):
        pool.give_back(block)
    assert pool.kept_bytes == 3328
    pool.lease(2048)  # 1,280 bytes too many: two of the large ones go
    assert pool.kept_bytes == 1280
    assert pool.lease(1024) is large[2]
    assert pool.lease(256) is small


def test_lease_that_fills_most_bytes_exactly_drops_no_more() -> None:
    """Neither when it fits as it is, nor when a drop has made just the room."""
    pool = Pool(FakeCursors(), 4096)
    for block in [pool.lease(512) for _ in range(6)]:
        pool.give_back(block)
    other = pool.lease(1024)
    assert (pool.in_use_bytes, pool.kept_bytes) == (1024, 3072)
    pool.lease(1024)
    assert (pool.in_use_bytes, pool.kept_bytes) == (2048, 2048)
    pool.give_back(other)
    assert pool.kept_bytes == 3072


def test_lease_one_byte_beyond_most_bytes_drops_a_block() -> None:
    """The bound is a bound."""
    pool = Pool(FakeCursors(), 1023)
    pool.give_back(pool.lease(256))
    pool.give_back(pool.lease(512))
    assert pool.kept_bytes == 768
    pool.lease(256)
    pool.lease(256)
    assert (pool.in_use_bytes, pool.kept_bytes) == (512, 0)


def test_lease_beyond_most_bytes_is_not_refused() -> None:
    """The loop has decided that it may be; nothing is kept meanwhile."""
    pool = Pool(FakeCursors(), 300)
    blocks = [pool.lease(256) for _ in range(3)]
    assert (pool.in_use_bytes, pool.kept_bytes) == (768, 0)
    for block in blocks:
        pool.give_back(block)
    assert (pool.in_use_bytes, pool.kept_bytes) == (0, 256)
    assert pool.in_use_high_bytes == 768


def test_lease_without_memory_leaves_the_pool_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a grow, and its block is still leased."""

    class NoMemory:
        def __init__(self, nbytes: int) -> None:
            raise MemoryError(nbytes)

    pool = Pool(FakeCursors(), MIB)
    block = pool.lease(0)
    block.view[:3] = b"abc"
    monkeypatch.setattr(pool_module, "Block", NoMemory)
    with pytest.raises(MemoryError):
        pool.lease(1000)
    with pytest.raises(MemoryError):
        pool.grow(block, 3, 1000)
    monkeypatch.undo()
    assert (pool.in_use_bytes, pool.kept_bytes, pool.allocations, pool.leases) == (256, 0, 1, 1)
    assert bytes(pool.grow(block, 3, 1000).view[:3]) == b"abc"


@pytest.mark.parametrize("held_bytes", [-1, 257, 600])
def test_grow_with_more_held_than_there_is_raises(held_bytes: int) -> None:
    """The message has both numbers, and the block stays leased."""
    pool = Pool(FakeCursors(), MIB)
    block = pool.lease(0)
    for nbytes in (10, 1000):
        with pytest.raises(LocalError, match=f"{held_bytes} bytes held; the block has 256"):
            pool.grow(block, held_bytes, nbytes)
    assert (pool.leases, pool.in_use_bytes) == (1, 256)
    pool.give_back(block)


def test_grow_to_a_negative_length_raises() -> None:
    """It is as wrong as a lease of one."""
    pool = Pool(FakeCursors(), MIB)
    block = pool.lease(0)
    with pytest.raises(LocalError, match="a block of -5 bytes"):
        pool.grow(block, 0, -5)
    pool.give_back(block)


def test_grow_counts_both_blocks_while_it_copies() -> None:
    """Both are there at that time, so the high water has both."""
    pool = Pool(FakeCursors(), MIB)
    pool.grow(pool.lease(256), 256, 512)
    assert (pool.in_use_bytes, pool.in_use_high_bytes, pool.kept_bytes) == (512, 768, 256)


def test_pool_of_less_than_nothing_is_refused() -> None:
    """Nothing may be; less may not."""
    assert Pool(FakeCursors(), 0).lease(1).nbytes == 256
    with pytest.raises(SettingsError, match="most_bytes of a pool is -1; it must be >= 0"):
        Pool(FakeCursors(), -1)


@pytest.mark.parametrize("released_seq", range(8))
def test_reclaim_takes_what_is_below_the_released_cursor(released_seq: int) -> None:
    """Entry 3 has two blocks, entry 4 none; the entry at the cursor is not released yet."""
    cursors = FakeCursors()
    pool = Pool(cursors, MIB)
    lent_seqs = [2, 3, 3, 5, 6]
    blocks = [pool.lease(256) for _ in lent_seqs]
    for seq, block in zip(lent_seqs, blocks, strict=True):
        cursors.processed_seq = seq
        pool.lend(block)
    cursors.processed_seq = 7
    cursors.released_seq = released_seq
    back = [block for seq, block in zip(lent_seqs, blocks, strict=True) if seq < released_seq]
    for _ in range(2):  # the second finds nothing new
        pool.reclaim()
        assert pool.reclaimed == len(back)
        assert pool.kept_bytes == 256 * len(back)
        assert pool.lent_bytes == pool.in_use_bytes == 256 * (5 - len(back))
    assert [pool.lease(1) for _ in back] == back[::-1]


def test_lease_reclaims_before_it_makes_a_block() -> None:
    """A released block is as good as a new one, and is asked for only when none is kept."""
    cursors = FakeCursors()
    pool = Pool(cursors, MIB)
    lent, other = pool.lease(256), pool.lease(256)
    pool.lend(lent)
    pool.give_back(other)
    cursors.processed_seq = cursors.released_seq = 1
    assert pool.lease(256) is other
    assert (pool.reclaimed, pool.lent_bytes) == (0, 256)
    assert pool.lease(256) is lent
    assert (pool.reclaimed, pool.lent_bytes, pool.allocations) == (1, 0, 2)


def test_lend_with_a_ring_lasts_until_the_entry_is_released() -> None:
    """The ring's cursors are what the pool asks for."""
    ring = Ring(4, 16)
    pool = Pool(ring, MIB)
    blocks = []
    for number in range(3):
        publish(ring, None, b"x")
        block = pool.lease(256)
        block.view[:2] = b"r%d" % number
        pool.lend(block)
        ring.entry(number).result = block.view[:2]
        ring.mark_processed()
        blocks.append(block)
    pool.reclaim()
    assert pool.reclaimed == 0
    ring.release(2)
    pool.reclaim()
    assert pool.reclaimed == 2
    assert pool.lease(256) is blocks[1]
    assert ring.result(2) == b"r2"


@pytest.mark.parametrize("end", ["give_back", "lend"])
def test_block_that_ended_twice_raises(end: str) -> None:
    """A block in two places would be given to two connections."""
    for second in ("give_back", "lend"):
        pool = Pool(FakeCursors(), MIB)
        block = pool.lease(600)
        getattr(pool, end)(block)
        with pytest.raises(LocalError, match=f"^{second} of a block of 1024 bytes that is not le"):
            getattr(pool, second)(block)
        assert pool.in_use_bytes + pool.kept_bytes == 1024


def mapped_bytes(start: int, nbytes: int) -> int:
    """Return how much of an address range is mapped in this process."""
    total_bytes = 0
    for line in Path("/proc/self/maps").read_text(encoding="ascii").splitlines():
        low, high = (int(text, 16) for text in line.split()[0].split("-"))
        total_bytes += max(0, min(high, start + nbytes) - max(low, start))
    return total_bytes


def resident_bytes() -> int:
    """Return how much memory this process really has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def drop_by_lease(pool: Pool, block: Block) -> None:
    """Have a kept block make room for another class."""
    pool.give_back(block)
    pool.lease(32 * MIB)


def drop_by_give_back(pool: Pool, block: Block) -> None:
    """Give a block back while too much else is in use."""
    pool.lease(128 * MIB)
    pool.give_back(block)


def drop_by_reclaim(pool: Pool, block: Block) -> None:
    """Claim a block back while too much else is in use."""
    pool.lend(block)
    pool.lease(128 * MIB)
    pool._cursors.processed_seq = pool._cursors.released_seq = 1
    pool.reclaim()


@pytest.mark.parametrize("drop", [drop_by_lease, drop_by_give_back, drop_by_reclaim])
def test_dropped_mapping_returns_to_the_system(drop: Callable[[Pool, Block], None]) -> None:
    """Nothing of its addresses is left, but what others may have put there meanwhile."""
    pool = Pool(FakeCursors(), 80 * MIB)
    block = pool.lease(64 * MIB)
    start, gone = address(block), weakref.ref(block.storage)
    assert mapped_bytes(start, 64 * MIB) == 64 * MIB
    drop(pool, block)
    assert pool.kept_bytes == 0
    del block
    assert gone() is None
    assert mapped_bytes(start, 64 * MIB) < 64 * MIB


def test_kept_mapping_stays_mapped() -> None:
    """It is there to be used again without a system call."""
    pool = Pool(FakeCursors(), 64 * MIB)
    block = pool.lease(64 * MIB)
    start, alive = address(block), weakref.ref(block.storage)
    pool.give_back(block)
    del block
    assert alive() is not None
    assert mapped_bytes(start, 64 * MIB) == 64 * MIB


def test_mapped_block_is_resident_only_as_touched() -> None:
    """A peer that announces much and sends little costs little."""
    pool = Pool(FakeCursors(), 0)
    before_bytes = resident_bytes()
    block = pool.lease(64 * MIB)
    block.view[:KIB] = bytes(KIB)
    assert resident_bytes() - before_bytes < 16 * MIB
    block.view[:] = bytes(64 * MIB)
    assert resident_bytes() - before_bytes >= 48 * MIB


def test_forked_process_does_not_write_into_our_blocks() -> None:
    """Of neither kind."""
    code = """
import os
from asyncrev.work.block_pool import Pool
from asyncrev.ring.ring import Ring
pool = Pool(Ring(1, 1), 0)
blocks = [pool.lease(256), pool.lease(65536)]
for block in blocks:
    block.view[:4] = b"ours"
child = os.fork()
if not child:
    for block in blocks:
        block.view[:4] = b"its!"
    os._exit(0)
os.waitpid(child, 0)
print(*(bytes(block.view[:4]).decode() for block in blocks))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "ours ours\n"


SCHEDULE = (10_000, 9000, 40_000, 70_000, 200_000)  # lengths of the frames of one round

# The smallest block of the schedule. Counters, cursors and views that come and go take less:
# 0.8 KiB, and 1.8 KiB under a coverage tool, for which every call has a frame object.
TRANSIENT_BYTES = 4096


def run_rounds(pool: Pool, cursors: FakeCursors, rounds: int) -> None:
    """Put frames together and lend every other one; the loop is two entries behind."""
    for _ in range(rounds):
        for nbytes in SCHEDULE:
            pool.reclaim()
            block = pool.lease(nbytes // 4)
            block = pool.grow(block, nbytes // 4, nbytes // 2)
            block = pool.grow(block, nbytes // 2, nbytes)
            if cursors.processed_seq % 2:
                pool.lend(block)
            else:
                pool.give_back(block)
            cursors.processed_seq += 1
            cursors.released_seq = max(0, cursors.processed_seq - 2)


@pytest.fixture
def traced() -> Iterator[None]:
    """Trace allocations; what is made from here on is seen, and nothing is collected late."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


def measure(action: Callable[[], object]) -> tuple[int, int]:
    """Return how much memory all code took at its peak, and how much the pool's lines kept."""
    only = [tracemalloc.Filter(inclusive=True, filename_pattern=pool_module.__file__)]
    before = tracemalloc.take_snapshot().filter_traces(only)
    tracemalloc.reset_peak()
    start_bytes, _ = tracemalloc.get_traced_memory()
    result = action()
    _, peak_bytes = tracemalloc.get_traced_memory()
    after = tracemalloc.take_snapshot().filter_traces(only)
    del result
    grown = [line.size_diff for line in after.compare_to(before, "lineno")]
    return peak_bytes - start_bytes, sum(nbytes for nbytes in grown if nbytes > 0)


@pytest.mark.usefixtures("traced")
def test_steady_state_allocates_nothing() -> None:
    """After a warm-up the same schedule, 1,000 times, makes no block and no other memory."""
    cursors = FakeCursors()
    pool = Pool(cursors, 4 * MIB)
    measure(lambda: run_rounds(pool, cursors, 40))  # warms up what measures, too
    allocations, leases = pool.allocations, pool.leases
    peak_bytes, kept_bytes = measure(lambda: run_rounds(pool, cursors, 1000))
    assert pool.leases > leases + 5000
    assert pool.allocations == allocations
    assert peak_bytes < TRANSIENT_BYTES
    assert kept_bytes < 256


@pytest.mark.usefixtures("traced")
def test_steady_state_measure_sees_a_new_block() -> None:
    """So the test before can fail: a block that is made, kept or not, is above its limits."""
    pool = Pool(FakeCursors(), 0)
    peak_bytes, kept_bytes = measure(lambda: pool.lease(TRANSIENT_BYTES))
    assert peak_bytes >= TRANSIENT_BYTES
    assert kept_bytes >= TRANSIENT_BYTES
    peak_bytes, _ = measure(lambda: pool.give_back(pool.lease(TRANSIENT_BYTES)))
    assert peak_bytes >= TRANSIENT_BYTES
