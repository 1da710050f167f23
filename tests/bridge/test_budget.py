"""budget: who may hold how much of the pool, rule by rule, and every schedule against a model."""

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncrev import Limits
from asyncrev.bridge.admission import Admission
from asyncrev.bridge.budget import Budget
from asyncrev.bridge.lane import Lane
from asyncrev.frames.registry import FRAMINGS
from asyncrev.limits import FRAME_OVERHEAD_BYTES, LEAST_BLOCK_BYTES, LEAST_READ_BYTES, class_bytes
from asyncrev.ring.ring import CLOSE, Entry, Ring
from asyncrev.testing.transports import split
from asyncrev.work.block_pool import Pool
from asyncrev.work.framer import Framer
from asyncrev.work.make_work import make_work
from asyncrev.work.reverse import Reverse
from tests.support import entries_between

# A pool of two lanes' quota; frames up to 1,500 bytes need blocks of 2,048.
SMALL = Limits(
    slots=8,
    slot_bytes=4096,
    max_frame_bytes=1500,
    partial_frame_bytes=1024,
    pool_connection_bytes=4096,
    pool_bytes=8192,
)


def a_lane() -> Lane:
    """Return a framed lane of nobody."""
    work = make_work(
        lambda: None,  # type: ignore[arg-type, return-value]
        views_allowed=True,
        framing=FRAMINGS["line"],
        max_frame_bytes=1500,
    )
    return Lane(None, work, is_framed=True)  # type: ignore[arg-type]


def held_bytes(lane: Lane) -> int:
    """Return what the loop must take for held by `lane`, replies apart."""
    return lane.partial_frame_bytes + lane.in_flight_bytes + len(lane.overflow)


def write_buffer_bytes(lane: Lane) -> int:
    """Return what a growing bytearray takes for the replies above the high water."""
    return lane.excess_bytes * 9 // 8


# -- allowed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("partial_frame_bytes", "reserved_bytes", "allowed_bytes"),
    [
        (0, 0, 4096),  # the largest class within its quota
        (1000, 0, 3096),  # of which it holds some already
        (3000, 4096, 1096),
        (4000, 4096, LEAST_READ_BYTES),  # at its quota, all the same something
        (4096, 4096, LEAST_READ_BYTES),
    ],
)
def test_allowed_in_an_empty_pool_is_what_the_quota_leaves(
    partial_frame_bytes: int, reserved_bytes: int, allowed_bytes: int
) -> None:
    """One lane may take its quota, in whole classes."""
    budget, lane = Budget(SMALL), a_lane()
    lane.partial_frame_bytes, lane.reserved_bytes = partial_frame_bytes, reserved_bytes
    budget.reserved_bytes = reserved_bytes
    assert budget.allowed_bytes(lane, 1 << 30) == allowed_bytes


def test_allowed_counts_partial_flight_and_overflow_alike() -> None:
    """Wherever it is, it may end up in one block."""
    budget, lane = Budget(SMALL), a_lane()
    lane.partial_frame_bytes, lane.in_flight_bytes, lane.overflow = 100, 200, bytearray(300)
    assert budget.allowed_bytes(lane, 1 << 30) == 4096 - 600


@pytest.mark.parametrize(
    ("others_bytes", "allowed_bytes"),
    [(4096, 4096), (4097, 2048), (6145, 1024), (7000, 1024), (8192, 1024), (9000, 1024)],
)
def test_allowed_in_a_pool_of_others_is_the_largest_class_left(
    others_bytes: int, allowed_bytes: int
) -> None:
    """I15: and never less than what a lane may hold without asking."""
    budget = Budget(SMALL)
    budget.reserved_bytes = others_bytes
    assert budget.allowed_bytes(a_lane(), 1 << 30) == allowed_bytes


def test_allowed_shrinks_by_unsent_replies_with_what_a_bytearray_takes_more() -> None:
    """800 bytes take 900, which leaves a class of 2,048 of a quota of 4,096, less 900."""
    budget, lane = Budget(SMALL), a_lane()
    lane.partial_frame_bytes = 1024
    lane.excess_bytes = 800
    assert budget.allowed_bytes(lane, 1 << 30) == 2048 - 1024
    lane.excess_bytes = 8000
    assert budget.allowed_bytes(lane, 1 << 30) == LEAST_READ_BYTES


# -- reserve -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "reserved_bytes"),
    [(0, 0), (512, 0), (513, 2048), (1024, 2048), (1536, 2048), (1537, 4096), (3584, 4096)],
)
def test_reserve_reserves_for_what_is_held_and_one_small_read(
    held: int, reserved_bytes: int
) -> None:
    """In the pool's classes, and nothing for a lane that holds little (I15)."""
    budget, lane = Budget(SMALL), a_lane()
    lane.partial_frame_bytes = held
    assert budget.reserve(lane)
    assert lane.reserved_bytes == budget.reserved_bytes == reserved_bytes
    assert budget.reserve(lane)  # it is the same again, not once more
    assert budget.reserved_bytes == reserved_bytes
    lane.partial_frame_bytes = 0
    assert budget.reserve(lane)
    assert lane.reserved_bytes == budget.reserved_bytes == 0
    assert budget.reserved_high_bytes == reserved_bytes


def test_reserve_beyond_the_pool_waits_and_keeps_what_it_holds() -> None:
    """Of others: refused once, in the queue once, however often it asks."""
    budget, lane = Budget(SMALL), a_lane()
    budget.reserved_bytes = 6144
    lane.partial_frame_bytes = 1600  # is in a block of 2,048, but with a small read it needs 4,096
    for _ in range(2):
        assert not budget.reserve(lane)
        assert (lane.reserved_bytes, budget.reserved_bytes) == (2048, 8192)
        assert lane.waits_for_budget
        assert (budget.waiting_lanes, budget.refusals) == (1, 1)
    budget.reserved_bytes -= 6144
    assert budget.serve_waiters() == [lane]
    assert (lane.reserved_bytes, budget.reserved_bytes) == (4096, 4096)
    assert not lane.waits_for_budget
    assert budget.waiting_lanes == 0


def test_reserve_beyond_its_quota_does_not_wait_for_others() -> None:
    """Nobody else can help it, so it must not stand in the queue."""
    budget, lane = Budget(SMALL), a_lane()
    lane.in_flight_bytes = 4000
    assert not budget.reserve(lane)
    assert lane.reserved_bytes == 4096
    assert (budget.waiting_lanes, budget.refusals, lane.waits_for_budget) == (0, 0, False)
    lane.in_flight_bytes = 1000
    assert budget.reserve(lane)
    assert lane.reserved_bytes == 2048


def test_lane_that_holds_little_never_waits() -> None:
    """I15: the pool is used up and others wait; it goes on."""
    budget, waiter, lane = Budget(SMALL), a_lane(), a_lane()
    budget.reserved_bytes = 8192
    waiter.partial_frame_bytes = 600
    assert not budget.reserve(waiter)
    for held in (0, 100, 512):
        lane.in_flight_bytes = held
        assert budget.allowed_bytes(lane, 1 << 30) >= LEAST_READ_BYTES
        assert budget.reserve(lane)
        assert lane.reserved_bytes == 0


def test_nobody_enlarges_a_reservation_while_somebody_waits() -> None:
    """I16: else many small ones would starve a large one."""
    budget, first, second = Budget(SMALL), a_lane(), a_lane()
    budget.reserved_bytes = 6144
    first.partial_frame_bytes = 1600
    assert not budget.reserve(first)
    budget.reserved_bytes -= 2048  # 2,048 are free, of which the second could take its part
    second.partial_frame_bytes = 600
    assert budget.allowed_bytes(second, 1 << 30) == LEAST_READ_BYTES
    assert not budget.reserve(second)
    assert budget.serve_waiters() == [first]
    assert second.waits_for_budget
    budget.reserved_bytes -= 4096  # that of the others
    assert budget.serve_waiters() == [second]


def test_waiters_are_served_in_fifo_order_as_far_as_the_budget_goes() -> None:
    """I16: the one that does not fit holds back those behind it, even if they would."""
    budget, lanes = Budget(SMALL), [a_lane() for _ in range(4)]
    budget.reserved_bytes = 8192
    for lane, partial_frame_bytes in zip(lanes, (600, 600, 1600, 600), strict=True):
        lane.partial_frame_bytes = partial_frame_bytes
        assert not budget.reserve(lane)
    # What they hold is here, so it is reserved although there is no budget (more than 1,024 only).
    assert [lane.reserved_bytes for lane in lanes] == [0, 0, 2048, 0]
    budget.reserved_bytes = 2048 + 8192 - 5000
    assert budget.serve_waiters() == [lanes[0]]
    budget.reserved_bytes -= 3000
    assert budget.serve_waiters() == [lanes[1]]
    assert budget.serve_waiters() == []
    budget.reserved_bytes -= 4000
    assert budget.serve_waiters() == lanes[2:]
    assert budget.serve_waiters() == []


def test_waiter_that_has_gone_or_holds_its_quota_by_now_is_passed_over() -> None:
    """Budget is of no use to either; the second asks again when its own comes back."""
    budget, lanes = Budget(SMALL), [a_lane() for _ in range(3)]
    budget.reserved_bytes = 8192
    for lane in lanes:
        lane.partial_frame_bytes = 600
        assert not budget.reserve(lane)
    lanes[0].abandon()
    lanes[1].excess_bytes = 4000
    budget.reserved_bytes = 0
    assert budget.serve_waiters() == [lanes[2]]
    assert not any(lane.waits_for_budget for lane in lanes)
    lanes[1].excess_bytes = 0
    assert budget.reserve(lanes[1])


def test_reserve_of_an_abandoned_lane_leaves_its_reservation() -> None:
    """The worker may hold more than the loop knows of, until the close has come back."""
    budget, lane = Budget(SMALL), a_lane()
    lane.in_flight_bytes = 2000
    assert budget.reserve(lane)
    lane.abandoned, lane.in_flight_bytes = True, 0
    assert not budget.reserve(lane)
    assert lane.reserved_bytes == budget.reserved_bytes == 4096
    assert budget.waiting_lanes == 0


def test_forget_gives_back_all_and_forget_waiters_empties_the_queue() -> None:
    """The lane is closed; the bridge has ended."""
    budget, lane, waiter = Budget(SMALL), a_lane(), a_lane()
    lane.partial_frame_bytes = 3000
    assert budget.reserve(lane)
    budget.set_excess(lane, 80)
    assert budget.reserved_bytes == 4096 + 90
    budget.reserved_bytes += 4096
    waiter.partial_frame_bytes = 600
    assert not budget.reserve(waiter)
    budget.forget(lane)
    assert (lane.reserved_bytes, lane.excess_bytes, budget.reserved_bytes) == (0, 0, 4096)
    budget.forget_waiters()
    assert budget.waiting_lanes == 0
    assert budget.serve_waiters() == []
    budget.forget(waiter)
    assert budget.reserved_bytes == 4096


def test_lane_that_is_closed_leaves_the_queue() -> None:
    """While the first one waits, any number may come and go behind it."""
    budget, first = Budget(SMALL), a_lane()
    budget.reserved_bytes = 8192
    first.partial_frame_bytes = 600
    assert not budget.reserve(first)
    for _ in range(3):
        lane = a_lane()
        lane.partial_frame_bytes = 600
        assert not budget.reserve(lane)
        lane.abandon()
        budget.forget(lane)
        assert not lane.waits_for_budget
    assert budget.waiting_lanes == 1
    budget.reserved_bytes = 0
    assert budget.serve_waiters() == [first]


def test_excess_is_reserved_whatever_others_hold() -> None:
    """I14: the bytes are here. The lane keeps its next small read reserved, for it may read."""
    budget, lane = Budget(SMALL), a_lane()
    lane.partial_frame_bytes = 1600
    assert budget.reserve(lane)
    assert lane.reserved_bytes == 4096
    budget.reserved_bytes = 8192
    budget.set_excess(lane, 800)
    assert (lane.reserved_bytes, budget.reserved_bytes) == (4996, 9092)
    assert budget.reserved_high_bytes == 9092
    assert (budget.waiting_lanes, budget.refusals) == (0, 0)
    budget.set_excess(lane, 80)
    assert (lane.reserved_bytes, budget.reserved_bytes) == (4186, 8282)
    budget.set_excess(lane, 0)
    assert (lane.reserved_bytes, budget.reserved_bytes) == (4096, 8192)


# -- what the worker really takes ----------------------------------------------------------------


class NothingReleased:
    """Cursors of a loop that has been away since the start: the most that can be lent."""

    processed_seq = 0
    released_seq = 0


@given(
    frames=st.lists(st.integers(0, 1500), min_size=1, max_size=30),
    lengths=st.lists(st.integers(1, 2000), min_size=1, max_size=30),
)
def test_worker_takes_less_than_twice_what_a_lane_holds(
    frames: list[int], lengths: list[int]
) -> None:
    """Several frames that span chunks have a block each, until the loop has sent their replies.

    One block for all would be no larger than the reservation; several may be, so this is what
    bounds the pool beside I14: for the bytes in flight, twice as much.
    """
    cursors = NothingReleased()
    pool = Pool(cursors, 1 << 20)
    framer = Framer(FRAMINGS["len32"], Reverse(), pool, max_frame_bytes=1500, views_allowed=True)
    data = b"".join(nbytes.to_bytes(4, "big") + bytes(nbytes) for nbytes in frames)
    replies = []
    received_bytes = 0
    for number, chunk in enumerate(split(data, lengths), 1):
        replies.append(framer.process(memoryview(bytearray(chunk))))
        cursors.processed_seq = number
        received_bytes += len(chunk)
        assert pool.in_use_bytes < 2 * received_bytes + number * LEAST_BLOCK_BYTES
    cursors.released_seq = len(replies)
    pool.reclaim()
    assert framer.partial_frame_bytes == pool.in_use_bytes == 0


# -- every schedule ----------------------------------------------------------------------------


class FakeSide:
    """Nobody is to be woken."""

    flush_is_due = True

    def flush_soon(self) -> None:
        """Do nothing."""


NUMBERS = st.integers(0, 4)
SHARES = st.one_of(st.sampled_from([1.0, 1.0, 0.6, 0.0]), st.floats(0, 1))


class Client:
    """What is true of one connection, beside what the loop knows of it."""

    def __init__(self) -> None:
        self.lane = a_lane()
        self.may_read = True  # as it was told
        self.worker_partial_frame_bytes = 0  # of an unfinished frame, on the worker
        self.unsent_bytes = 0
        self.is_open = True


class AnySchedule(RuleBasedStateMachine):
    """Loop, worker and peers act in any order; the worker keeps what it likes to.

    The receiving side obeys what it is told, as transports do: it reads no more than what it
    claimed, and not at all without credit, or while its replies are above the high water.
    """

    @initialize(
        max_frame_bytes=st.sampled_from([100, 600, 1500, 3000]),
        quotas=st.integers(1, 3),
        frames=st.sampled_from([1, 2, 4]),
        odd_bytes=st.sampled_from([0, 1, 700]),
        slots=st.integers(1, 8),
        more_entries=st.integers(0, 4),
        slot_bytes=st.sampled_from([300, 2048, 9000]),
        entries=st.integers(1, 6),
        lanes=st.integers(1, 5),
    )
    def start(
        self,
        max_frame_bytes: int,
        quotas: int,
        frames: int,
        odd_bytes: int,
        slots: int,
        more_entries: int,
        slot_bytes: int,
        entries: int,
        lanes: int,
    ) -> None:
        """Make a pool for one to three connections, and more connections than that."""
        least = Limits(max_frame_bytes=max_frame_bytes).least_pool_connection_bytes
        quota_bytes = frames * least + odd_bytes
        self.limits = Limits(
            slots=slots,
            slot_bytes=slot_bytes,
            in_flight_entries=entries,
            in_flight_bytes=8192,
            overflow_bytes=900,
            max_frame_bytes=max_frame_bytes,
            partial_frame_bytes=1024,
            pool_connection_bytes=quota_bytes,
            pool_bytes=quotas * quota_bytes,
        )
        self.ring = Ring(slots, slot_bytes, slots + more_entries, small_slot_bytes=1000)
        self.admission = Admission(self.ring, FakeSide(), self.limits)  # type: ignore[arg-type]
        self.budget = self.admission.budget
        self.clients = [Client() for _ in range(lanes)]
        self.of = {client.lane: client for client in self.clients}
        self.answered: collections.deque[int] = collections.deque()  # of processed entries

    # -- what happens ------------------------------------------------------------------------

    @rule(number=NUMBERS, shares=st.lists(SHARES, min_size=1, max_size=4))
    def receive(self, number: int, shares: list[float]) -> None:
        """A peer sends, as much as there is a buffer for, or less; once or more."""
        client = self.clients[number % len(self.clients)]
        for share in shares:
            if client.is_open and client.may_read and not client.lane.excess_bytes:
                self.receive_some(client, share)

    def receive_some(self, client: Client, share: float) -> None:
        """Claim and publish."""
        lane = client.lane
        view = self.admission.claim(lane)
        assert view.nbytes >= min(LEAST_READ_BYTES, self.ring.slot_bytes)
        slots_left = bool(self.ring.free_entries and self.ring.free_slots)
        blocks_bytes = lane.reserved_bytes - write_buffer_bytes(lane)
        others_wait = bool(self.budget._waiters) and self.budget._waiters[0] is not lane
        client.may_read = self.admission.publish(lane, max(1, int(share * view.nbytes)))
        if held_bytes(lane) + LEAST_READ_BYTES <= self.limits.partial_frame_bytes:
            assert client.may_read or not slots_left or self.over_quota(lane)  # I15
        if others_wait:
            assert lane.reserved_bytes - write_buffer_bytes(lane) <= blocks_bytes  # I16

    @precondition(lambda self: self.ring.processed_seq != self.ring.published_seq)
    @rule(shares=st.lists(SHARES, min_size=1, max_size=4))
    def work(self, shares: list[float]) -> None:
        """The worker answers the next entries, and keeps some of what it has."""
        for share in shares:
            if self.ring.processed_seq != self.ring.published_seq:
                self.work_on_one(share)

    def work_on_one(self, share: float) -> None:
        """Answer the next entry."""
        seq = self.ring.processed_seq
        (entry,) = entries_between(self.ring, seq, seq + 1)
        client = self.of[entry.owner]
        has_bytes = client.worker_partial_frame_bytes + entry.nbytes
        longest_bytes = self.limits.max_frame_bytes + FRAME_OVERHEAD_BYTES
        if entry.kind is CLOSE:
            client.worker_partial_frame_bytes = entry.partial_frame_bytes = 0
        elif client.lane.abandoned:
            entry.partial_frame_bytes = 0  # as FramedWork: the block is kept until the close
        else:
            keeps_bytes = int(share * min(has_bytes, longest_bytes))
            client.worker_partial_frame_bytes = entry.partial_frame_bytes = keeps_bytes
        self.answered.append(has_bytes - client.worker_partial_frame_bytes)
        self.ring.mark_processed()

    @precondition(lambda self: self.answered)
    @rule(entries=st.integers(1, 4), taken=SHARES)
    def deliver(self, entries: int, taken: float) -> None:
        """The loop gives results out, as `Bridge` does; peers take some of the replies at once."""
        seq = self.ring.released_seq
        settled = 0
        for entry in entries_between(self.ring, seq, min(seq + entries, self.ring.processed_seq)):
            settled += 1
            self.deliver_one(entry, self.answered.popleft(), taken)
        self.ring.release(settled)
        self.serve()

    def deliver_one(self, entry: Entry, reply_bytes: int, taken: float) -> None:
        """Take the entry back, write the reply, then give the credit."""
        lane: Lane = entry.owner
        client = self.of[lane]
        self.admission.entry_returned(lane, entry)
        if not client.is_open:
            assert not self.admission.reply_delivered(lane, entry.nbytes)
            return
        client.unsent_bytes += int((1 - taken) * reply_bytes)
        excess_bytes = client.unsent_bytes or None
        if self.admission.reply_delivered(lane, entry.nbytes, excess_bytes):
            client.may_read = True

    def set_excess(self, client: Client, excess_bytes: int) -> None:
        """Tell what is unsent; the high water is none here."""
        if self.admission.set_excess(client.lane, excess_bytes):
            client.may_read = True

    def serve(self) -> None:
        """Serve who waits."""
        for lane in self.admission.serve_waiters():
            if self.of[lane].is_open:  # a bridge makes no difference either
                self.of[lane].may_read = True
        self.check_that_the_first_waiter_really_has_to_wait()

    @rule(number=NUMBERS)
    def take(self, number: int) -> None:
        """A peer takes all its replies."""
        client = self.clients[number % len(self.clients)]
        if client.is_open and client.unsent_bytes:
            client.unsent_bytes = 0
            self.set_excess(client, 0)
            self.serve()

    @rule(number=NUMBERS)
    def close(self, number: int) -> None:
        """A peer goes, or is aborted; in one of two cases another connection comes in its place."""
        client = self.clients[number % len(self.clients)]
        if client.is_open:
            self.close_one(client)
            if number % 2:
                self.clients[number % len(self.clients)] = fresh = Client()
                self.of[fresh.lane] = fresh

    def close_one(self, client: Client) -> None:
        """Do what `Bridge.close_lane` does."""
        client.is_open = False
        client.lane.abandon()
        self.admission.publish_close(client.lane)

    # -- what must hold ----------------------------------------------------------------------

    def over_quota(self, lane: Lane) -> bool:
        """Return whether `lane` has more in flight than it may (I8)."""
        limits = self.limits
        return (
            lane.in_flight_entries >= limits.in_flight_entries
            or lane.in_flight_bytes >= limits.in_flight_bytes
        )

    def check_that_the_first_waiter_really_has_to_wait(self) -> None:
        """Right after serving, nobody stands in the queue who could have been served."""
        budget = self.budget
        while budget._waiters and budget._waiters[0].abandoned:
            budget.serve_waiters()
        if budget._waiters:
            lane = budget._waiters[0]
            wants = class_bytes(held_bytes(lane) + LEAST_READ_BYTES) + write_buffer_bytes(lane)
            assert wants - lane.reserved_bytes > budget.pool_bytes - budget.reserved_bytes

    @invariant()
    def reservations_add_up(self) -> None:
        """The total is the sum of the lanes', and its high mark is no lower."""
        lanes = list(self.of)
        assert all(lane.reserved_bytes >= write_buffer_bytes(lane) for lane in lanes)
        total_bytes = sum(lane.reserved_bytes for lane in lanes)
        assert total_bytes == self.budget.reserved_bytes <= self.budget.reserved_high_bytes

    @invariant()
    def pool_is_never_promised_twice(self) -> None:
        """I14: without unsent replies, all reservations are within the pool and each quota."""
        blocks = [lane.reserved_bytes - write_buffer_bytes(lane) for lane in self.of]
        assert sum(blocks) <= self.limits.pool_bytes
        assert all(nbytes <= self.limits.pool_connection_bytes for nbytes in blocks)

    @invariant()
    def what_the_worker_may_need_is_reserved(self) -> None:
        """Any part of what a lane holds may be one frame, and that frame's block is paid for."""
        for client in self.of.values():
            lane = client.lane
            blocks_bytes = lane.reserved_bytes - write_buffer_bytes(lane)
            if not lane.abandoned and held_bytes(lane) > self.limits.partial_frame_bytes:
                assert class_bytes(held_bytes(lane)) <= blocks_bytes
            if client.worker_partial_frame_bytes > self.limits.partial_frame_bytes:
                assert class_bytes(client.worker_partial_frame_bytes) <= blocks_bytes

    @invariant()
    def who_may_read_has_a_small_read_reserved(self) -> None:
        """Else that read would need what nobody has promised."""
        for client in self.of.values():
            lane = client.lane
            if client.is_open and client.may_read:
                wants = held_bytes(lane) + LEAST_READ_BYTES
                if wants > self.limits.partial_frame_bytes:
                    assert class_bytes(wants) + write_buffer_bytes(lane) <= lane.reserved_bytes

    @invariant()
    def lanes_know_what_they_were_told(self) -> None:
        """Who may not read waits for something that will come, and nobody else does."""
        for client in self.of.values():
            lane = client.lane
            if client.is_open:
                assert client.may_read is not (lane.waits_for_credit or lane.waits_for_slot)
                assert lane.waits_for_budget is (lane in self.budget._waiters)

    # -- the end -----------------------------------------------------------------------------

    def settle_down(self) -> None:
        """Answer everything, finish every frame that brought something, take every reply."""
        while self.ring.published_seq != self.ring.released_seq:
            while self.ring.processed_seq != self.ring.published_seq:
                self.work_on_one(0.0)
            self.deliver(8, 1.0)
        for number, client in enumerate(self.clients):
            if client.is_open:
                self.take(number)

    def teardown(self) -> None:
        """Nobody waits for ever, and nothing stays reserved.

        Whoever may read finishes its frame. If nobody is left but those who wait for each other
        with unfinished frames, a deadline aborts the first of them; then the rest goes on.
        """
        if not hasattr(self, "clients"):
            return
        self.settle_down()
        while True:
            open_ones = [client for client in self.clients if client.is_open]
            readers = [c for c in open_ones if c.may_read and c.lane.partial_frame_bytes]
            for client in readers:
                if client.may_read:
                    self.receive_some(client, 0.0)
            self.settle_down()
            stopped = [client for client in open_ones if not client.may_read]
            if readers:
                continue
            if not stopped:
                break
            assert all(client.lane.waits_for_budget for client in stopped)
            assert all(client.lane.partial_frame_bytes for client in stopped)
            assert len(stopped) > 1  # one alone always fits
            self.close_one(stopped[0])
            self.settle_down()
        assert self.admission.waiting_lanes == 0
        assert self.budget.reserved_bytes == 0
        for client in self.clients:
            if client.is_open:
                self.receive_some(client, 1.0)
                self.close_one(client)
        self.settle_down()
        assert self.budget.reserved_bytes == 0
        assert all(lane.reserved_bytes == 0 for lane in self.of)


class TestBudgetAgainstAnOracle(AnySchedule.TestCase):  # type: ignore[misc, valid-type]
    """I14 to I16, by schedules that are tried each time."""

    settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


@pytest.mark.slow
class TestBudgetForLong(AnySchedule.TestCase):  # type: ignore[misc, valid-type]
    """The same, much more of it."""

    settings = settings(max_examples=600, stateful_step_count=80, deadline=None)


@pytest.mark.parametrize("held_bytes", [0, 1, 3000, 4096, 100_000])
@pytest.mark.parametrize("wanted_bytes", [LEAST_READ_BYTES, 4096, 65_536, 262_144])
def test_allowed_is_what_is_wanted_while_there_is_much(held_bytes: int, wanted_bytes: int) -> None:
    """The short way and the long one agree."""
    budget = Budget(Limits())
    lane = a_lane()
    lane.in_flight_bytes = held_bytes
    assert budget.allowed_bytes(lane, wanted_bytes) == wanted_bytes
    budget.reserve(lane)
    assert budget.allowed_bytes(lane, wanted_bytes) == wanted_bytes
    lane.reserved_bytes += 1  # only to go the long way
    assert budget.allowed_bytes(lane, wanted_bytes) == wanted_bytes
