"""lane: what the loop's record says of one lane."""

import itertools
from typing import Any

import pytest

from asyncrev.bridge.lane import Lane
from asyncrev.work.make_work import make_work
from asyncrev.work.reverse import Reverse


def a_lane(
    *,
    entries: int = 0,
    nbytes: int = 0,
    overflow: bytes = b"",
    ending: bool = False,
    waits_for_slot: bool = False,
    abandoned: bool = False,
    stalled: bool = False,
) -> Lane:
    """Return a lane in a state."""
    sink: Any = object()
    lane = Lane(sink, make_work(Reverse, views_allowed=True), is_framed=False)
    lane.in_flight_entries = entries
    lane.in_flight_bytes = nbytes
    lane.overflow += overflow
    lane.ending = ending
    lane.waits_for_slot = waits_for_slot
    if abandoned:
        lane.abandon()
    if stalled:
        lane.work.window.stall()
    return lane


def test_new_lane_owes_nothing_and_may_read() -> None:
    """It holds no input, and waits for nothing."""
    lane = a_lane()
    assert not lane.is_owed
    assert not lane.is_being_answered
    assert lane.held_bytes == 0
    waits = (lane.waits_for_credit, lane.waits_for_budget, lane.waits_for_slot)
    assert waits == (False, False, False)


def test_abandon_is_seen_by_both_sides() -> None:
    """The loop gives out no reply, and the worker makes none; idempotent."""
    lane = a_lane()
    assert (lane.abandoned, lane.work.abandoned) == (False, False)
    lane.abandon()
    lane.abandon()
    assert (lane.abandoned, lane.work.abandoned) == (True, True)


@pytest.mark.parametrize(
    ("state", "owed", "answered"),
    [
        ({"entries": 1}, True, True),
        ({"entries": 1, "abandoned": True}, True, True),  # its slot has to come back
        ({"nbytes": 5}, True, True),  # deferred
        ({"nbytes": 5, "stalled": True}, True, False),  # deferred, and its peer takes nothing
        ({"nbytes": 5, "abandoned": True}, False, False),  # the worker lets it go
        ({"ending": True}, True, True),
        ({"ending": True, "stalled": True}, True, False),
        ({"ending": True, "abandoned": True}, False, False),
        ({"overflow": b"x"}, True, True),
        ({"overflow": b"x", "waits_for_slot": True, "stalled": True}, True, True),
        ({"waits_for_slot": True}, False, True),  # a control entry
        ({"stalled": True}, False, False),
    ],
)
def test_lane_is_owed_and_is_being_answered(
    state: dict[str, Any], owed: bool, answered: bool
) -> None:
    """The first: replies are still to come. The second: without its peer's help."""
    lane = a_lane(**state)
    assert (lane.is_owed, lane.is_being_answered) == (owed, answered)


def test_in_every_state_who_is_answered_is_owed_or_waits_for_a_slot() -> None:
    """And nothing that a peer does not take keeps a lane's close waiting."""
    both = (False, True)
    for entries, nbytes, ending, waits, abandoned, stalled in itertools.product(
        (0, 1), (0, 1), both, both, both, both
    ):
        lane = a_lane(
            entries=entries,
            nbytes=nbytes,
            ending=ending,
            waits_for_slot=waits,
            abandoned=abandoned,
            stalled=stalled,
        )
        if lane.is_being_answered:
            assert lane.is_owed or lane.waits_for_slot
        if stalled or abandoned:
            assert lane.is_being_answered is bool(entries or waits)


def test_held_bytes_are_partial_frame_in_flight_and_overflow() -> None:
    """For the budget of a framed lane."""
    lane = a_lane(nbytes=20, overflow=b"abc")
    lane.partial_frame_bytes = 100
    assert lane.held_bytes == 123
