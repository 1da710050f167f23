"""measurement: intervals add up, and folding loses no count."""

import json

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.bench.measurement import Interval, Outcome, evenly, folding, joined

COUNTS = st.dictionaries(st.integers(0, 10**9), st.integers(1, 1000), max_size=200)


@given(exact=COUNTS, into=COUNTS)
def test_folding_keeps_every_count_and_three_digits(
    exact: dict[int, int], into: dict[int, int]
) -> None:
    """A few at each step."""
    before = sum(into.values())
    folded = dict(into)
    steps = sum(1 for _ in folding(exact, folded))
    assert steps == len(exact) // 64
    assert sum(folded.values()) == before + sum(exact.values())
    alone: dict[int, int] = {}
    for _ in folding(exact, alone):
        pass
    for units in exact:
        assert any(rounded <= units <= rounded * 1.001 for rounded in alone)


@given(shortest=st.integers(0, 10**6), longer=st.integers(0, 10**12), number=st.integers(0, 10**9))
def test_even_times_are_as_many_as_were_asked_for(shortest: int, longer: int, number: int) -> None:
    """Between the two, in at most a thousand steps."""
    counts = evenly(shortest, shortest + longer, number)
    assert sum(counts.values()) == number
    assert len(counts) <= 1000
    assert all(shortest // 100 <= units <= (shortest + longer) // 100 for units in counts)
    if number > 1:
        assert {min(counts), max(counts)} == {shortest // 100, (shortest + longer) // 100}


def test_joined_intervals_are_twice_as_long() -> None:
    """The last one may be alone."""
    intervals = {n: Interval(n, n + 1.0, messages=n, latencies={n: 1}) for n in range(5)}
    longer = joined(intervals)
    assert [(one.from_s, one.to_s, one.messages) for one in longer.values()] == [
        (0, 2, 1),
        (2, 4, 5),
        (4, 5, 4),
    ]
    assert longer[1].latencies == {2: 1, 3: 1}


def test_intervals_and_outcomes_go_through_json() -> None:
    """As processes send them to their parent."""
    interval = Interval(0.5, 1.0, 3, 4, 5, 6, 0.25, {7: 8}, {9: 10})
    assert Interval.from_dict(json.loads(json.dumps(interval.as_dict()))) == interval
    assert interval.duration_s == 0.5
    outcome = Outcome({1: 2}, 3, {"reset": 4}, "wrong", True, [0.5])
    assert Outcome.from_dict(json.loads(json.dumps(outcome.as_dict()))) == outcome


def test_outcomes_of_processes_add_up() -> None:
    """The first mismatch is kept, and errors of a kind are added."""
    outcome = Outcome({1: 2}, 1, {"reset": 1}, None, False, [0.5])
    outcome.add(Outcome({1: 1, 3: 1}, 2, {"reset": 2, "closed": 1}, "wrong", True, [0.75]))
    assert outcome == Outcome(
        {1: 3, 3: 1}, 3, {"reset": 3, "closed": 1}, "wrong", True, [0.5, 0.75]
    )
