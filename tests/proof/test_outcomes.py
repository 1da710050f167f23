"""Each forbidden outcome is found by the exploration, if a bug brings it about."""

import asyncio
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from asyncrev.bridge.admission import Admission
from asyncrev.bridge.bridge import Bridge
from asyncrev.bridge.delivery import Delivery
from asyncrev.bridge.lane import Lane
from asyncrev.ring.channel import AwaitableSide
from asyncrev.ring.plane import Plane
from asyncrev.ring.ring import Ring
from asyncrev.ring.wakeups import DeliverySignal, Parker
from asyncrev.work.block_pool import Pool
from asyncrev.work.lane_work import InputEnd
from asyncrev.work.reply_window import ReplyWindow
from asyncrev.work.start_tls_work import StartTlsWork
from asyncrev.work.tls_parameters import StartTls
from asyncrev.work.tls_session import TlsSession
from asyncrev.work.tls_work import TlsWork
from asyncrev.work.worker import Worker
from tests.proof.scenarios import bridge, channel_of, limits_of, pipe
from tests.proof.scheduler import Forbidden
from tests.proof.stepped import Scenario, explore_real
from tests.proof.stepped_work import SteppedStartTlsWork
from tests.proof.tls_scenarios import RECORD_BYTES, tls
from tests.support import results

PIPE = pipe(2, 2, hooked=False, apart=False)
ONE_PER_DELIVERY = pipe(3, 3, hooked=False, apart=False, most=1)
BRIDGE = bridge((2, 1), limits=limits_of(2, 4), hooked=False)
OVERFLOWS = bridge((2, 1), limits=limits_of(1, 2), hooked=False)
CLOSED = bridge((1,), limits=limits_of(1, 1), hooked=False, meanwhile="close")
LINES = bridge((3,), limits=limits_of(2, 4, slot_bytes=3), hooked=True, framed=True)
CHANNEL = channel_of(2, 1, hooked=False, meanwhile="cancel get")
ONE_RECORD = limits_of(2, 2, slot_bytes=2 * RECORD_BYTES)
TWO_RECORDS = {"limits": ONE_RECORD, "hooked": False, "piece_bytes": 2 * RECORD_BYTES}
TLS = tls((2,), **TWO_RECORDS)
TLS_WAITS = tls((2,), **TWO_RECORDS, ends="close_notify after replies")
TLS_DRAINED = tls((2,), **TWO_RECORDS, ends="close_notify after replies", meanwhile="drain")
TLS_BAD = tls((1,), limits=ONE_RECORD, hooked=False, ends="bad record")
DOUBLED = {"doubles": True, "share_records": 2, "ends": "close_notify after replies"}
TLS_DOUBLED = tls((2,), **TWO_RECORDS, **DOUBLED)
TLS_STALLED = tls((2,), **TWO_RECORDS, **DOUBLED, meanwhile="stalled")
UPGRADED = {
    "limits": limits_of(1, 1, slot_bytes=2048),
    "hooked": False,
    "piece_bytes": 2048,
    "handshake": True,
    "upgrades": "and waits",
}
TLS_UPGRADED = tls((1,), **UPGRADED, meanwhile="drain")
TLS_CLOSED = tls((1,), limits=ONE_RECORD, hooked=False, meanwhile="close")


def park_after_look(parker: Parker, has_work: Callable[[], bool], timeout_s: float) -> bool:
    """`Parker.park` that looks before it holds the lock."""
    if has_work():
        return True
    with parker._lock:
        parker._parked = True
    parker._poll.poll(timeout_s, 1)
    return has_work()


def unpark_without_lock(parker: Parker) -> bool:
    """`Parker.unpark` that trusts the GIL."""
    wake, parker._parked = parker._parked, False
    return wake


def request_again(signal: DeliverySignal) -> bool:
    """`DeliverySignal.request` that ignores that a delivery will come."""
    with signal._lock:
        signal.awaited = True
        signal.requests += 1
    signal._post()
    return True


def deliver_what_is_published(plane: Plane, end_seq: int) -> Any:
    """`Plane.deliver` by the wrong cursor."""
    return _deliver_plain(plane, plane._ring.published_seq)


_deliver_plain = Plane.deliver


def finish_first(worker: Worker) -> None:
    """`Worker._work` that hands each entry back before it works on it."""
    while True:
        for _ in worker._side.take(None):
            entry = worker._side.oldest()
            worker._side.finish()
            entry.owner.work(entry, None, worker._pool)


def mark_two(ring: Ring, result: object = None) -> None:
    """`Ring.mark_processed` that counts double."""
    ring.processed_seq += 2


def answer_backwards(plane: Plane, end_seq: int, *rest: Any) -> None:
    """`Plane.answer` that begins with the newest."""
    ring = plane._ring
    for seq in range(ring.processed_seq, end_seq)[::-1]:
        entry = ring.entry(seq)
        entry.owner.work.do(entry)
    _answer(plane, end_seq, *rest)


_answer = Plane.answer


def release_one_more(ring: Ring, nentries: int) -> None:
    """`Ring.release` of all that is processed, though fewer were looked at."""
    _release(ring, ring.processed_seq - ring.released_seq if nentries else 0)


_release = Ring.release


def deliver_keeping_one(delivery: Delivery) -> bool:
    """`Delivery.deliver` that delivers an entry and forgets to release it, once."""
    entries = results(delivery._ring, 1)
    if entries and entries[0].result and not hasattr(_once, "done"):
        _once.done = True  # type: ignore[attr-defined]
        entries[0].owner.sink.on_reply(entries[0].result)
        return True
    return _deliver(delivery)


def _once() -> None:
    """Remember that it was done, within one test."""


_deliver = Delivery.deliver


def deliver_to_the_first(delivery: Delivery) -> bool:
    """`Delivery.deliver` that gives every result to the lane opened last."""
    for entry in results(delivery._ring, 64):
        if entry.result and entry.owner.sink is not None:
            newest = max(delivery._lanes, key=lambda lane: lane.sink.chunks[0])  # type: ignore
            newest.sink.on_reply(entry.result)  # type: ignore[union-attr]
    return _deliver(delivery)


def feed_eof_first(admission: Admission, lane: Lane) -> bool:
    """`Admission._feed` in which the end of input overtakes what is kept in the overflow."""
    if not (lane.eof_waits and lane.overflow):
        return _feed(admission, lane)
    overflow, lane.overflow = lane.overflow, bytearray()
    _feed(admission, lane)
    lane.overflow = overflow
    return False


_feed = Admission._feed


def close_and_keep_the_sink(one: Bridge, lane: Lane) -> None:
    """`Bridge.close_lane` after which the sink is still told."""
    if not lane.close_waits and lane.sink is not None and lane.sink.end == "":  # type: ignore
        one.parts.admission.publish_close(lane)


def reclaim_early(pool: Pool) -> None:
    """`Pool.reclaim` of blocks whose entry is not released yet."""
    while pool._lent:
        block = pool._lent.popleft()
        pool.reclaimed += 1
        pool.lent_bytes -= block.nbytes
        pool._keep(block)


async def get_and_wait(side: AwaitableSide) -> bytes:
    """`AwaitableSide.get` that can be cancelled after it has taken the buffer."""
    answer = await _get(side)
    await asyncio.sleep(0)
    return answer


_get = AwaitableSide.get


def credit_all(work: TlsWork) -> int:
    """`TlsWork._credit` that takes deferred input for processed: nobody resumes it."""
    credit_bytes, work._uncredited_bytes = work._uncredited_bytes, 0
    return credit_bytes


def defer_nothing(work: TlsWork, *_: object) -> None:
    """`TlsWork._defer` that loses what it should keep."""


def end_at_once(work: TlsWork, session: TlsSession, entry: Any, *more: Any) -> None:
    """`TlsWork._end` that does not wait at a drain for what is deferred."""
    deferred = work.deferred
    if work.input_end is InputEnd.DRAIN and work._stream_ended:
        work.deferred = None
    _end(work, session, entry, *more)
    work.deferred = deferred


_end = TlsWork._end


def stay_stalled(one: Bridge, lane: Lane, is_stalled: bool) -> None:
    """`Bridge.set_stalled` that opens the window, and forgets what was deferred meanwhile."""
    if is_stalled:
        lane.work.window.stall()
    else:
        lane.work.window.go_on()


def take_no_alert(session: TlsSession, output: list[bytes]) -> None:
    """`TlsSession.take_output` that leaves what OpenSSL said last."""
    taken: list[bytes] = []
    _take_output(session, taken)
    output += [one for one in taken if len(one) != RECORD_BYTES]


_take_output = TlsSession.take_output


def keep_the_session(work: TlsWork) -> None:
    """`TlsWork.close_processor` that keeps OpenSSL's state."""
    work._inner.close_processor()


def do_without_the_reason(work: StartTlsWork, *args: Any) -> None:
    """`StartTlsWork.do` that takes every end of input for the peer's."""
    work._inner.input_end = InputEnd.PEER
    with mock.patch.object(SteppedStartTlsWork, "input_end", InputEnd.PEER):
        _do(work, *args)


_do = StartTlsWork.do


def upgrade_late(work: StartTlsWork, entry: Any, start: StartTls) -> None:
    """`StartTlsWork._upgrade` for the entry after the next: one more goes to the processor."""
    if work._inner.data_bytes is None:
        work._inner.data_bytes, work._inner.start_tls = 0, start
    else:
        _upgrade(work, entry, start)


_upgrade = StartTlsWork._upgrade


# What is forbidden, in what scenario, by what that takes the place of a method.
BUGS: list[tuple[str, Scenario, type, str, Callable[..., Any], int]] = [
    ("ASLEEP", PIPE, Parker, "park", park_after_look, 2),
    ("WRONG_WRITER", PIPE, Parker, "unpark", unpark_without_lock, 1),
    ("TWO_DELIVERIES", PIPE, DeliverySignal, "request", request_again, 1),
    ("UNFINISHED", BRIDGE, Plane, "deliver", deliver_what_is_published, 1),
    ("REUSED", PIPE, Worker, "_work", finish_first, 1),
    ("DOUBLED", LINES, Pool, "reclaim", reclaim_early, 2),
    ("CURSORS", CHANNEL, Ring, "mark_processed", mark_two, 1),
    ("REORDERED", PIPE, Plane, "answer", answer_backwards, 1),
    ("UNDELIVERED", ONE_PER_DELIVERY, Ring, "release", release_one_more, 1),
    ("DOUBLED", BRIDGE, Delivery, "deliver", deliver_keeping_one, 0),
    ("CROSSED", BRIDGE, Delivery, "deliver", deliver_to_the_first, 0),
    ("EARLY_END", OVERFLOWS, Admission, "_feed", feed_eof_first, 1),
    ("AFTER_END", CLOSED, Bridge, "close_lane", close_and_keep_the_sink, 1),
    ("LOST", CHANNEL, AwaitableSide, "get", get_and_wait, 1),
    ("ASLEEP", TLS_WAITS, TlsWork, "_credit", credit_all, 0),
    ("LOST", TLS, TlsWork, "_defer", defer_nothing, 0),
    ("WINDOW", TLS_DOUBLED, ReplyWindow, "is_full", lambda window: False, 0),
    ("ASLEEP", TLS_STALLED, Bridge, "set_stalled", stay_stalled, 0),
    ("EARLY_END", TLS_DRAINED, TlsWork, "_end", end_at_once, 0),
    ("LOST", TLS_BAD, TlsSession, "take_output", take_no_alert, 0),
    ("LOST", TLS_UPGRADED, StartTlsWork, "do", do_without_the_reason, 0),
    ("REORDERED", TLS_UPGRADED, StartTlsWork, "_upgrade", upgrade_late, 0),
    ("LOST", TLS_CLOSED, TlsWork, "close_processor", keep_the_session, 0),
]


@pytest.mark.parametrize(
    ("what", "scenario", "cls", "method", "bug", "preemptions"),
    BUGS,
    ids=[f"{what}-{cls.__name__}.{method}" for what, _, cls, method, *_ in BUGS],
)
def test_forbidden_outcome_is_found(
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    scenario: Scenario,
    cls: type,
    method: str,
    bug: Callable[..., Any],
    preemptions: int,
) -> None:
    """And the schedule that leads there is told."""
    monkeypatch.setattr(cls, method, bug)
    vars(_once).clear()
    with pytest.raises(Forbidden) as caught:
        explore_real(scenario, preemptions=preemptions)
    assert caught.value.what == what
    assert caught.value.schedule
