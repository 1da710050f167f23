"""admission: quotas, waiters and overflows; worker and delivery are played here."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev import Limits
from asyncrev.bridge.admission import Admission
from asyncrev.bridge.lane import Lane
from asyncrev.errors import LocalError
from asyncrev.frames.registry import as_framing
from asyncrev.limits import LEAST_READ_BYTES
from asyncrev.ring.ring import CLOSE, DATA, EOF, RESUME, Kind, Ring
from asyncrev.ring.row import FIRST_READ_BYTES, SHARE_CALLS
from asyncrev.work.make_work import make_work
from tests.interrupting import everywhere, interrupted
from tests.support import entries_between


class FakeSide:
    """Counts the flushes that were asked for."""

    def __init__(self) -> None:
        self.flush_is_due = False
        self.flushes = 0

    def flush_soon(self) -> None:
        """Note it."""
        self.flushes += 1


class Bench:
    """An admission over a ring, without a bridge."""

    def __init__(
        self,
        slots: int = 2,
        slot_bytes: int = 8,
        entries: int | None = None,
        small_slot_bytes: int = 4096,
        **limits: int,
    ) -> None:
        self.ring = Ring(slots, slot_bytes, entries, small_slot_bytes)
        self.side = FakeSide()
        self.limits = Limits(slots=slots, slot_bytes=slot_bytes, **limits)
        self.admission = Admission(self.ring, self.side, self.limits)  # type: ignore[arg-type]

    def lane(self, framing: str = "raw", *, small_reads: int = 0) -> Lane:
        """Return a lane of nobody that last read a large chunk, or small ones."""
        work = make_work(
            lambda: None,  # type: ignore[arg-type, return-value]
            views_allowed=True,
            framing=as_framing(framing),
            max_frame_bytes=self.limits.max_frame_bytes,
        )
        lane = Lane(None, work, is_framed=framing != "raw")  # type: ignore[arg-type]
        lane.small_reads = small_reads
        return lane

    def send(self, lane: Lane, data: bytes) -> bool:
        """Claim, fill and publish, as a transport does, until all of `data` is in."""
        credit = False
        while data:
            view = self.admission.claim(lane)
            assert not view.readonly
            assert view.contiguous
            assert view.nbytes >= 1
            nbytes = min(view.nbytes, len(data))
            view[:nbytes] = data[:nbytes]
            credit = self.admission.publish(lane, nbytes)
            data = data[nbytes:]
        return credit

    def fill_pool(self, left_bytes: int = 0) -> Lane:
        """Have another lane hold all of the pool but `left_bytes`; return that lane."""
        other = self.lane("line")
        budget = self.admission.budget
        spare_bytes = budget.pool_bytes - budget.reserved_bytes
        budget.set_excess(other, -((left_bytes - spare_bytes) * 8 // 9))
        assert left_bytes - 1 <= budget.pool_bytes - budget.reserved_bytes <= left_bytes
        return other

    def take_one(self, partial_frame_bytes: int = 0) -> tuple[Lane, Kind, bytes, bool]:
        """Process, deliver and release the oldest entry; return it and whether it gave credit."""
        (entry,) = entries_between(self.ring, self.ring.released_seq, self.ring.released_seq + 1)
        seen = (entry.owner, entry.kind, bytes(entry.view[: entry.nbytes]))
        entry.partial_frame_bytes = partial_frame_bytes
        self.ring.mark_processed()
        self.admission.entry_returned(entry.owner, entry)
        credit = self.admission.reply_delivered(entry.owner, entry.nbytes)
        self.ring.release(1)
        return (*seen, credit)

    def take_all(self) -> tuple[list[tuple[Lane, Kind, bytes]], list[Lane]]:
        """Take entries to the end, serving after each; return them and who was served."""
        entries, served = [], []
        while self.ring.released_seq != self.ring.published_seq:
            entries.append(self.take_one()[:3])
            served += self.admission.serve_waiters()
        return entries, served


def test_publish_with_room_goes_on_and_asks_for_a_flush() -> None:
    """The plain way."""
    bench = Bench(slots=4)
    lane = bench.lane()
    assert bench.send(lane, b"abc")
    assert (lane.in_flight_entries, lane.in_flight_bytes) == (1, 3)
    assert bench.side.flushes == 1
    bench.side.flush_is_due = True
    assert bench.send(lane, b"de")
    assert bench.side.flushes == 1  # one is due anyway
    assert [entry[2] for entry in bench.take_all()[0]] == [b"abc", b"de"]
    assert (lane.in_flight_entries, lane.in_flight_bytes) == (0, 0)


def test_claim_without_a_publish_costs_nothing() -> None:
    """A receive that found nothing claims again."""
    bench = Bench()
    lane, other = bench.lane(), bench.lane()
    assert bench.admission.claim(lane) is bench.admission.claim(other)
    assert (len(bench.ring.free_slots), bench.ring.free_entries) == (2, 2)


def test_lane_of_short_reads_claims_small_slots_and_leaves_the_slots_to_others() -> None:
    """One that fills a small slot gets a slot at once, and a small one after two short reads."""
    bench = Bench(slots=8, slot_bytes=64, small_slot_bytes=8)
    lane = bench.lane(small_reads=2)
    sizes = []
    for data in (b"short", b"8 bytes!", b"x" * 64, b"short", b"short", b"short"):
        sizes.append(bench.admission.claim(lane).nbytes)
        bench.send(lane, data)
    assert sizes == [8, 8, 64, 64, 64, 8]
    assert len(bench.ring.free_slots) == 8 - 3
    assert [entry[2] for entry in bench.take_all()[0]][2] == b"x" * 64
    assert len(bench.ring.free_slots) == 8


def test_lanes_with_slots_do_not_stop_lanes_of_short_reads() -> None:
    """Large chunks use up the slots; there are more entries than that."""
    bench = Bench(slots=2, slot_bytes=64, entries=4, small_slot_bytes=8)
    large, late, small = bench.lane(), bench.lane(), bench.lane(small_reads=2)
    assert bench.send(large, b"a" * 64)
    assert bench.send(large, b"b" * 64)
    assert not bench.send(late, b"c" * 12)  # no slot: into the overflow, and it waits
    assert bench.send(small, b"d")
    bench.take_one()
    assert bench.admission.serve_waiters() == [late]
    entries, _ = bench.take_all()
    assert entries == [(large, DATA, b"b" * 64), (small, DATA, b"d"), (late, DATA, b"c" * 12)]


def test_overflow_goes_in_by_small_slots_when_there_are_no_others() -> None:
    """Who waits is served with what there is, in order."""
    bench = Bench(slots=1, slot_bytes=64, entries=4, small_slot_bytes=8)
    large, late, small = bench.lane(), bench.lane(), bench.lane(small_reads=2)
    bench.send(small, b"s")
    bench.send(large, b"l" * 64)
    assert not bench.send(late, b"0123456789ab")
    bench.take_one()  # a small slot is free; the slot is not
    assert bench.admission.serve_waiters() == [late]
    entries, _ = bench.take_all()
    assert entries == [(large, DATA, b"l" * 64), (late, DATA, b"01234567"), (late, DATA, b"89ab")]


def test_publish_by_another_lane_is_refused() -> None:
    """Never one connection's bytes as another's; nor twice for one claim."""
    bench = Bench()
    lane, other = bench.lane(), bench.lane()
    bench.admission.claim(lane)
    with pytest.raises(LocalError, match="not the last to claim"):
        bench.admission.publish(other, 1)
    assert bench.admission.publish(lane, 1)
    with pytest.raises(LocalError, match="not the last to claim"):
        bench.admission.publish(lane, 1)
    assert bench.ring.published_seq == 1


@pytest.mark.parametrize(("overflow_bytes", "expected"), [(3, 3), (8, 8), (100, 8)])
def test_claim_on_a_full_ring_returns_the_overflow_and_never_nothing(
    overflow_bytes: int, expected: int
) -> None:
    """asyncio closes a connection whose buffer is empty."""
    bench = Bench(slots=1, overflow_bytes=overflow_bytes)
    bench.send(bench.lane(), b"x")
    assert bench.admission.claim(bench.lane()).nbytes == expected


def test_publish_of_more_than_the_overflow_raises() -> None:
    """It would be truncated silently otherwise."""
    bench = Bench(slots=1, overflow_bytes=3)
    bench.send(bench.lane(), b"x")
    lane = bench.lane()
    bench.admission.claim(lane)
    with pytest.raises(LocalError, match="publish of 4 bytes; 3 were claimed"):
        bench.admission.publish(lane, 4)


def test_publish_over_the_entry_quota_stops_until_half_is_back() -> None:
    """I8: four allowed, so credit comes when two are left."""
    bench = Bench(slots=8, in_flight_entries=4)
    lane = bench.lane()
    assert [bench.send(lane, b"x") for _ in range(4)] == [True, True, True, False]
    assert [bench.take_one()[3] for _ in range(4)] == [False, True, False, False]


def test_publish_over_the_byte_quota_stops_until_half_is_back() -> None:
    """I8: ten bytes allowed, so credit comes when five or less are left."""
    bench = Bench(slots=8, in_flight_bytes=10)
    lane, other = bench.lane(), bench.lane()
    assert [bench.send(lane, b"1234"), bench.send(lane, b"12"), bench.send(lane, b"1234")] == [
        True,
        True,
        False,
    ]
    assert bench.send(other, b"1234")  # a quota is one lane's own
    assert [bench.take_one()[3] for _ in range(4)] == [False, True, False, False]


def test_quota_of_one_gives_credit_when_nothing_is_in_flight() -> None:
    """I8: half of one is none."""
    bench = Bench(slots=4, in_flight_entries=1)
    lane = bench.lane()
    assert not bench.send(lane, b"x")
    assert not bench.send(lane, b"y")  # it does so although it may not: kept, not lost
    assert [bench.take_one()[3] for _ in range(2)] == [False, True]


@pytest.mark.parametrize("framing", ["raw", "line"])
def test_credit_that_is_asked_for_comes_once_with_the_next_entry(framing: str) -> None:
    """While the lane may publish all the same, and the others hear nothing of it."""
    bench = Bench(slots=8)
    lane, other = bench.lane(framing), bench.lane(framing)
    bench.admission.ask_credit(lane)
    assert [bench.send(one, b"x") for one in (other, lane, lane)] == [True, True, True]
    assert [bench.take_one()[3] for _ in range(3)] == [False, True, False]


def test_lanes_without_a_slot_wait_in_a_fifo() -> None:
    """I9: first come, first served, and nobody overtakes."""
    bench = Bench(slots=2)
    lanes = [bench.lane() for _ in range(5)]
    for number, lane in enumerate(lanes):
        assert bench.send(lane, b"%d" % number) is (number < 2)
    assert bench.admission.waiting_lanes == 3
    assert bench.admission.overflows == 3
    entries, served = bench.take_all()
    assert entries == [(lane, DATA, b"%d" % number) for number, lane in enumerate(lanes)]
    assert served == lanes[2:]
    assert bench.admission.waiting_lanes == 0


def test_lane_that_publishes_although_it_waits_keeps_its_place_and_its_order() -> None:
    """I9, I10: what it reads on goes behind its own overflow, even when a slot is free again."""
    bench = Bench(slots=1, slot_bytes=4)
    first, second = bench.lane(), bench.lane()
    bench.send(first, b"a")
    assert not bench.send(second, b"bcd")
    assert not bench.send(second, b"efg")
    bench.take_one()  # a slot is free, and nobody was served yet
    assert not bench.send(second, b"h")
    assert bench.admission.serve_waiters() == []  # not all of it found a slot
    entries, served = bench.take_all()
    assert entries == [(second, DATA, b"bcde"), (second, DATA, b"fgh")]
    assert served == [second]


def test_end_and_close_go_behind_the_overflow() -> None:
    """I10: overflow, end of input, close, for a full ring."""
    bench = Bench(slots=1, slot_bytes=2)
    lane = bench.lane()
    bench.send(bench.lane(), b"x")
    bench.send(lane, b"ab")
    bench.send(lane, b"c")
    bench.admission.publish_eof(lane)
    assert bench.admission.waiting_lanes == 1
    bench.take_one()
    served = bench.admission.serve_waiters()
    entries, more = bench.take_all()
    assert [entry[1:] for entry in entries] == [(DATA, b"ab"), (DATA, b"c"), (EOF, b"")]
    assert served + more == [lane]
    bench.admission.publish_close(lane)
    assert bench.take_one()[:3] == (lane, CLOSE, b"")


def test_close_drops_the_overflow_and_the_end_that_wait() -> None:
    """Nobody wants the replies; the close still comes, and the place is kept."""
    bench = Bench(slots=1)
    lane, other = bench.lane(), bench.lane()
    bench.send(bench.lane(), b"x")
    bench.send(lane, b"dropped")
    bench.send(other, b"kept")
    bench.admission.publish_eof(lane)
    bench.admission.publish_close(lane)
    bench.take_one()
    bench.admission.serve_waiters()
    entries, _ = bench.take_all()
    assert entries == [(lane, CLOSE, b""), (other, DATA, b"kept")]


def test_end_on_a_full_ring_waits_in_the_fifo() -> None:
    """I9: control entries do not overtake another lane's overflow."""
    bench = Bench(slots=1)
    lanes = [bench.lane() for _ in range(3)]
    bench.send(lanes[0], b"x")
    bench.send(lanes[1], b"y")
    bench.admission.publish_eof(lanes[2])
    bench.take_one()
    bench.admission.publish_eof(lanes[0])  # a slot is free, but others wait for it
    bench.admission.serve_waiters()
    entries, _ = bench.take_all()
    assert [entry[:2] for entry in entries] == [(lanes[1], DATA), (lanes[2], EOF), (lanes[0], EOF)]


def test_served_lane_over_half_its_quota_waits_for_credit() -> None:
    """I8: a long overflow that has found its slots is not yet a reason to read on."""
    bench = Bench(slots=4, slot_bytes=2, in_flight_bytes=4, overflow_bytes=2)
    lane, other = bench.lane(), bench.lane()
    for _ in range(4):
        bench.send(other, b"x")
    for data in (b"ab", b"cd", b"e"):
        assert not bench.send(lane, data)
    for _ in range(3):
        bench.take_one()
    assert bench.admission.serve_waiters() == []
    assert bench.admission.waiting_lanes == 0
    assert lane.waits_for_credit
    assert [bench.take_one()[3] for _ in range(4)] == [False, False, True, False]
    assert not lane.waits_for_credit


def test_input_closed_means_no_more_slots() -> None:
    """I4: what still comes is set aside and never published."""
    bench = Bench(slots=2)
    lane = bench.lane()
    bench.ring.input_closed = True
    assert not bench.send(lane, b"x")
    bench.admission.publish_eof(bench.lane())
    assert bench.admission.serve_waiters() == []
    assert bench.ring.published_seq == 0
    assert bench.admission.waiting_lanes == 2
    bench.admission.forget_waiters()
    assert bench.admission.waiting_lanes == 0


# -- with frames -------------------------------------------------------------------------------

FRAMED: dict[str, int] = {
    "slot_bytes": 32 * 1024,
    "in_flight_bytes": 1 << 20,
    "max_frame_bytes": 1500,
    "partial_frame_bytes": 1024,
    "pool_connection_bytes": 4096,
    "pool_bytes": 8192,
}


def test_allowed_in_the_pool_limits_the_claim_of_a_framed_lane() -> None:
    """Of others there is as much as the slot has."""
    bench = Bench(slots=4, **FRAMED)
    lane = bench.lane("line")
    assert bench.admission.claim(lane).nbytes == 4096
    bench.fill_pool(left_bytes=2048)
    assert bench.admission.claim(lane).nbytes == 2048
    assert bench.admission.claim(bench.lane()).nbytes == 32 * 1024


def test_slot_and_last_reads_limit_the_claim_of_a_framed_lane() -> None:
    """However much budget there is."""
    large = {**FRAMED, "pool_connection_bytes": 1 << 20, "pool_bytes": 1 << 20}
    assert FIRST_READ_BYTES < 32 * 1024
    bench = Bench(slots=4, **large)
    assert bench.admission.claim(bench.lane("line")).nbytes == FIRST_READ_BYTES
    bench = Bench(slots=4, **{**large, "slot_bytes": 700})
    assert bench.admission.claim(bench.lane("line")).nbytes == 700


def test_claim_of_a_framed_lane_is_never_empty() -> None:
    """asyncio closes a connection whose buffer is empty: no slot, no budget, over its quota."""
    bench = Bench(slots=1, overflow_bytes=700, **FRAMED)
    bench.fill_pool()
    lane = bench.lane("line")
    assert bench.admission.claim(lane).nbytes == 1024
    bench.send(bench.lane(), b"x")
    for overflow_bytes in (0, 700, 1400, 2100, 9000):
        lane.overflow = bytearray(overflow_bytes)
        assert bench.admission.claim(lane).nbytes == (
            700 if not overflow_bytes else LEAST_READ_BYTES
        )


def test_framed_lane_without_budget_stops_until_others_give_back() -> None:
    """What it had reserved is not enough for more; the credit comes with the budget."""
    bench = Bench(slots=4, **FRAMED)
    lane, other = bench.lane("line"), bench.fill_pool(left_bytes=2048)
    assert not bench.send(lane, bytes(1800))
    assert (lane.reserved_bytes, lane.waits_for_credit, lane.waits_for_budget) == (2048, True, True)
    assert bench.admission.waiting_lanes == 1
    assert bench.take_one(partial_frame_bytes=1400)[3] is True  # what it keeps needs less: it fits
    assert lane.reserved_bytes == 2048
    assert not bench.send(lane, bytes(500))
    assert bench.take_one(partial_frame_bytes=1900)[3] is False
    assert bench.admission.serve_waiters() == []
    bench.admission.set_excess(other, 0)
    assert bench.admission.serve_waiters() == [lane]
    assert not lane.waits_for_credit
    assert lane.reserved_bytes == 4096


def test_framed_lane_gets_its_credit_when_slot_quota_and_budget_allow() -> None:
    """I8, I9: each alone is not enough."""
    bench = Bench(slots=2, in_flight_entries=2, overflow_bytes=900, **FRAMED)
    lane, other = bench.lane("line"), bench.fill_pool(left_bytes=2048)
    assert bench.send(lane, bytes(300))
    assert not bench.send(lane, bytes(300))  # its quota
    assert not bench.send(lane, bytes(900))  # no slot
    assert not bench.send(lane, bytes(512))  # no budget
    assert lane.waits_for_slot
    assert lane.waits_for_budget
    assert bench.take_one(partial_frame_bytes=300)[3] is False
    assert bench.admission.serve_waiters() == []  # now it has its slot
    assert not lane.waits_for_slot
    assert bench.take_one(partial_frame_bytes=600)[3] is False  # half its quota, but no budget
    assert lane.waits_for_budget
    assert bench.admission.serve_waiters() == []
    bench.admission.set_excess(other, 0)
    assert bench.admission.serve_waiters() == [lane]
    assert lane.reserved_bytes == 4096


def test_framed_lane_with_budget_waits_for_its_quota() -> None:
    """I8: budget alone is not enough."""
    bench = Bench(slots=4, in_flight_entries=2, **FRAMED)
    lane, other = bench.lane("line"), bench.fill_pool()
    bench.send(lane, bytes(300))
    assert not bench.send(lane, bytes(300))
    assert lane.waits_for_budget
    bench.admission.set_excess(other, 0)
    assert bench.admission.serve_waiters() == []
    assert lane.waits_for_credit
    assert not lane.waits_for_budget
    assert [bench.take_one()[3] for _ in range(2)] == [True, False]


def test_framed_lane_at_its_own_quota_stops_until_its_own_comes_back() -> None:
    """Others' budget is of no use to it, so it does not stand in the queue."""
    bench = Bench(slots=4, **FRAMED)
    lane = bench.lane("line")
    assert not bench.send(lane, bytes(4000))
    assert bench.admission.waiting_lanes == 0
    assert bench.take_one(partial_frame_bytes=1508)[3] is True
    assert bench.take_all() == ([], [])


def test_excess_gives_credit_only_to_who_waits_for_nothing_else() -> None:
    """A lane that may read hears nothing; one without a slot waits on."""
    bench = Bench(slots=1, **FRAMED)
    lane = bench.lane("line")
    bench.admission.set_excess(lane, 3600)
    assert lane.reserved_bytes == 4050
    assert not bench.send(lane, bytes(600))
    assert bench.admission.set_excess(lane, 0) is True
    assert bench.admission.set_excess(lane, 0) is False
    bench.admission.set_excess(lane, 3600)
    assert not bench.send(lane, bytes(500))  # there is no slot
    assert bench.admission.set_excess(lane, 0) is False
    _, served = bench.take_all()
    assert served == [lane]


def test_lane_that_may_read_keeps_its_next_read_reserved_whatever_is_unsent() -> None:
    """I14: it was given up when replies went unsent, and the read came all the same."""
    bench = Bench(slots=4, **FRAMED)
    lane = bench.lane("line")
    assert bench.send(lane, bytes(1900))  # a block of 2,048; with a small read it needs 4,096
    assert lane.reserved_bytes == 4096
    bench.fill_pool()
    assert bench.admission.set_excess(lane, 800) is False
    assert lane.reserved_bytes == 4096 + 900
    assert not lane.waits_for_budget
    bench.admission.set_excess(lane, 0)
    assert lane.reserved_bytes == 4096


def test_failed_lane_gets_no_credit_when_its_replies_are_taken() -> None:
    """Nothing follows an error; its reservation stays until the close."""
    bench = Bench(slots=4, **FRAMED)
    lane = bench.lane("line")
    assert not bench.send(lane, bytes(4000))
    bench.admission.set_excess(lane, 80)
    lane.abandon()
    assert bench.admission.set_excess(lane, 0) is False
    assert bench.take_one()[3] is False
    assert lane.reserved_bytes == 4096
    bench.admission.publish_close(lane)
    bench.take_one()
    assert bench.admission.budget.reserved_bytes == 0


def test_close_that_waits_for_a_slot_leaves_the_reservation_alone() -> None:
    """The worker holds what was in flight until the close comes by, though the loop forgot it."""
    bench = Bench(slots=1, **FRAMED)
    lane, next_lane = bench.lane("line"), bench.lane()
    assert bench.send(lane, bytes(1500))
    reserved_bytes = lane.reserved_bytes
    assert reserved_bytes == 2048
    lane.abandon()
    bench.admission.publish_close(lane)  # behind the one slot
    assert not bench.send(next_lane, b"x")
    bench.take_one()
    assert bench.admission.serve_waiters() == []
    assert lane.reserved_bytes == reserved_bytes
    bench.take_all()
    assert bench.admission.budget.reserved_bytes == 0


def test_chunk_of_many_calls_makes_the_next_reads_shorter_and_few_longer() -> None:
    """As many bytes as took about SHARE_CALLS; never less than the least, nor more than a slot."""
    large = {**FRAMED, "pool_connection_bytes": 1 << 20, "pool_bytes": 1 << 20}
    bench = Bench(slots=4, **large)
    lane = bench.lane("line")

    def read(nbytes: int, calls: int) -> int:
        bench.send(lane, bytes(nbytes))
        entries_between(bench.ring, bench.ring.released_seq, bench.ring.published_seq)[
            0
        ].calls = calls
        bench.take_one()
        return bench.admission.claim(lane).nbytes

    assert read(FIRST_READ_BYTES, 4 * SHARE_CALLS) == FIRST_READ_BYTES // 4
    assert read(FIRST_READ_BYTES // 4, SHARE_CALLS) == FIRST_READ_BYTES // 4
    assert read(FIRST_READ_BYTES // 4, SHARE_CALLS // 2) == FIRST_READ_BYTES // 2
    assert read(100, 1) == FIRST_READ_BYTES // 2  # it was not limited by it
    for _ in range(4):
        last = read(lane.read_bytes, 1)
    assert last == 32 * 1024
    assert read(lane.read_bytes, 10_000_000) == LEAST_READ_BYTES


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "take", "serve", "end", "close"]),
        st.integers(0, 3),
        st.binary(min_size=1, max_size=4),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(
    slots=st.integers(1, 4),
    more_entries=st.integers(0, 3),
    small_slot_bytes=st.integers(1, 4),
    in_flight=st.integers(1, 4),
    steps=STEPS,
)
def test_any_schedule_keeps_every_lanes_bytes_in_order(
    slots: int,
    more_entries: int,
    small_slot_bytes: int,
    in_flight: int,
    steps: list[tuple[str, int, bytes]],
) -> None:
    """I8-I10: nothing lost, doubled or reordered, and every lane that stops gets its credit."""
    bench = Bench(slots, 4, slots + more_entries, small_slot_bytes, in_flight_entries=in_flight)
    lanes = [bench.lane(small_reads=number % 3) for number in range(4)]
    sent = [b""] * 4
    got = [b""] * 4
    stopped: set[int] = set()
    ended: set[int] = set()
    closed: set[int] = set()
    seen: list[tuple[int, Any]] = []

    def take() -> None:
        lane, kind, data, credit = bench.take_one()
        number = lanes.index(lane)
        seen.append((number, kind))
        got[number] += data
        if credit:
            stopped.discard(number)

    def serve() -> None:
        stopped.difference_update(lanes.index(lane) for lane in bench.admission.serve_waiters())

    for what, number, data in steps:
        if what == "send" and number not in ended | closed:
            sent[number] += data
            if not bench.send(lanes[number], data):
                stopped.add(number)
        elif what == "take" and bench.ring.published_seq != bench.ring.released_seq:
            take()
            serve()
        elif what == "serve":
            serve()
        elif what == "end" and number not in ended | closed:
            ended.add(number)
            bench.admission.publish_eof(lanes[number])
        elif what == "close" and number not in closed:
            closed.add(number)
            bench.admission.publish_close(lanes[number])
        if bench.admission.waiting_lanes:
            assert not (bench.ring.free_entries and bench.ring.free_slots)  # I9
    while bench.ring.published_seq != bench.ring.released_seq:
        take()
        serve()
    assert bench.admission.waiting_lanes == 0
    for number, lane in enumerate(lanes):
        assert (lane.in_flight_entries, lane.in_flight_bytes, lane.overflow) == (0, 0, b"")
        kinds = [kind for n, kind in seen if n == number]
        control = [kind for kind in kinds if kind is not DATA]
        assert kinds[len(kinds) - len(control) :] == control
        if number in closed:
            assert sent[number].startswith(got[number])
            assert control in ([CLOSE], [EOF, CLOSE])
        else:
            assert got[number] == sent[number]
            assert control == [EOF] * (number in ended)
            assert number not in stopped


def test_interrupt_anywhere_in_the_service_of_a_waiter_doubles_and_loses_nothing() -> None:
    """What has overflowed goes in once, in order, and is counted."""

    def scenario(place: int) -> bool:
        bench = Bench(slots=4, entries=4, slot_bytes=8)
        first, lane = bench.lane(), bench.lane()
        for _ in range(4):
            bench.send(first, b"x")
        bench.send(lane, b"abcdefghijkl")
        admission = bench.admission
        lane.resume_waits = True
        admission.publish_eof(lane)
        for _ in range(4):
            bench.take_one()
        was = interrupted(admission.serve_waiters, place, Admission._feed, Ring.publish)
        admission.serve_waiters()
        entries, _ = bench.take_all()
        assert b"".join(data for owner, _, data in entries if owner is lane) == b"abcdefghijkl"
        assert [kind for _, kind, data in entries if not data] == [EOF, RESUME]
        assert (lane.in_flight_entries, lane.in_flight_bytes) == (0, 0)
        return was

    everywhere(scenario, least=20)
