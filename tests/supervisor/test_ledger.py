"""The ledger of a worker: what is on its way, what it has, and whether it takes anything."""

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.supervisor.ledger import MOST_UNTAKEN, NO_DESCRIPTORS_S, SLOW_TAKE_S, Ledger


class Copy:
    """A copy of a socket."""

    def __init__(self) -> None:
        self.closes = 0

    def close(self) -> None:
        self.closes += 1


def test_a_copy_stays_open_until_it_is_taken() -> None:
    ledger, copies = Ledger(), [Copy(), Copy(), Copy()]
    for number, copy in enumerate(copies):
        ledger.give(copy, number, 0.0)
    ledger.note_taken(2, 0.0)
    assert [copy.closes for copy in copies] == [1, 1, 0]
    assert ledger.take_untaken() == [(copies[2], 2)]
    assert ledger.take_untaken() == []
    assert copies[2].closes == 0


def test_load_counts_what_is_on_its_way_and_what_it_accepted_itself() -> None:
    ledger = Ledger()
    for _ in range(3):
        ledger.give(Copy(), None, 0.0)
    assert ledger.load == 3
    ledger.note_beat(connections=1, ended=1)
    assert ledger.load == 2
    ledger.note_beat(connections=9, ended=1)
    assert (ledger.load, ledger.connections) == (2, 9)
    one = Ledger(accepts_itself=True)
    one.give(Copy(), None, 0.0)
    one.note_beat(connections=9, ended=0)
    assert one.load == 9


def test_ends_are_never_taken_back() -> None:
    """A beat may count a socket that becomes a connection twice, and so an end too few."""
    ledger = Ledger()
    for _ in range(3):
        ledger.give(Copy(), None, 0.0)
    ledger.note_beat(connections=1, ended=2)
    ledger.note_beat(connections=4, ended=-1)
    assert ledger.load == 1


def test_room_ends_with_the_most() -> None:
    ledger = Ledger()
    for _ in range(MOST_UNTAKEN):
        assert ledger.has_room
        ledger.give(Copy(), None, 0.0)
    assert not ledger.has_room
    ledger.note_taken(1, 0.0)
    assert ledger.has_room


def test_who_takes_nothing_for_a_while_is_known_by_it() -> None:
    ledger = Ledger()
    assert not ledger.takes_nothing(99.0)
    ledger.give(Copy(), None, 100.0)
    ledger.give(Copy(), None, 100.0 + SLOW_TAKE_S - 0.1)
    assert not ledger.takes_nothing(100.0 + SLOW_TAKE_S - 0.1)
    assert ledger.takes_nothing(100.0 + SLOW_TAKE_S)
    ledger.note_taken(1, 100.0 + SLOW_TAKE_S)
    assert not ledger.takes_nothing(100.0 + 2 * SLOW_TAKE_S - 0.1)
    ledger.note_taken(2, 300.0)
    assert not ledger.takes_nothing(999.0)


def test_who_has_no_descriptors_gives_one_back_and_gets_nothing_for_a_while() -> None:
    """Those before it are taken; it is neither one of the worker's nor has it ended."""
    ledger, copies = Ledger(), [Copy(), Copy(), Copy()]
    for number, copy in enumerate(copies):
        ledger.give(copy, number, 0.0)
    assert ledger.note_untaken(2, 5.0) == [(copies[1], 1)]
    assert [copy.closes for copy in copies] == [1, 0, 0]
    assert ledger.load == 2
    ledger.note_taken(3, 5.0)
    assert [copy.closes for copy in copies] == [1, 0, 1]
    assert ledger.takes_nothing(5.0 + NO_DESCRIPTORS_S - 0.1)
    assert not ledger.takes_nothing(5.0 + NO_DESCRIPTORS_S)


def test_what_somebody_else_has_already_is_not_given_back_twice() -> None:
    ledger = Ledger()
    ledger.give(Copy(), None, 0.0)
    assert len(ledger.take_untaken()) == 1
    assert ledger.note_untaken(1, 0.0) == []


@given(st.lists(st.sampled_from(["give", "take", "end"])))
def test_each_copy_is_closed_once_or_given_back(steps: list[str]) -> None:
    ledger, copies, taken, ended = Ledger(), [], 0, 0
    for step in steps:
        if step == "give":
            copies.append(Copy())
            ledger.give(copies[-1], None, 0.0)
        elif step == "take" and taken < len(copies):
            taken += 1
            ledger.note_taken(taken, 0.0)
        elif step == "end" and ended < taken:
            ended += 1
            ledger.note_beat(taken - ended, ended)
    assert ledger.load == len(copies) - ended
    untaken = [copy for copy, _ in ledger.take_untaken()]
    assert untaken == copies[taken:]
    assert [copy.closes for copy in copies] == [1] * taken + [0] * len(untaken)
