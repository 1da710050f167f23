"""handshake_gate: a bounded number of places, given in the order in which they were asked for."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asyncrev.server.handshake_gate import HandshakeGate, Place


class Asking:
    """Places of one gate, and the order in which those that had to wait were let in."""

    def __init__(self, most: int) -> None:
        self.gate = HandshakeGate(most, self.note_wait)
        self.let_in: list[int] = []
        self.any_wait = False

    def note_wait(self, any_wait: bool) -> None:
        assert any_wait is not self.any_wait
        self.any_wait = any_wait

    def place(self, number: int) -> Place:
        return self.gate.place(lambda: self.let_in.append(number))

    def places(self, count: int) -> list[Place]:
        return [self.place(number) for number in range(count)]

    @property
    def counted(self) -> tuple[int, int, int, int, int]:
        gate = self.gate
        return gate.within, gate.within_high, gate.waiting, gate.waiting_high, gate.waited


def test_gate_gives_its_places_and_then_has_others_wait_in_order() -> None:
    """A place that is given back goes to who has waited longest."""
    asking = Asking(2)
    places = asking.places(5)
    assert [place.take() for place in places] == [True, True, False, False, False]
    assert asking.gate.is_full
    assert asking.counted == (2, 2, 3, 3, 3)
    places[0].leave()
    assert asking.let_in == [2]
    places[3].leave()  # waits no more
    places[1].leave()
    assert asking.let_in == [2, 4]
    assert asking.counted == (2, 2, 0, 3, 3)
    assert [place.is_taken for place in places] == [False, False, True, False, True]


def test_gate_with_one_place_has_one_at_a_time() -> None:
    """The least that there may be."""
    asking = Asking(1)
    first, *others = asking.places(4)
    assert first.take()
    assert not any(place.take() for place in others)
    for number, place in enumerate([first, *others[:2]], 1):
        assert asking.gate.within == 1
        place.leave()
        assert asking.let_in == list(range(1, number + 1))


@pytest.mark.parametrize("most", [1, 2])
def test_asking_and_leaving_twice_counts_once(most: int) -> None:
    """Whoever waits is asked neither for more patience nor counted again."""
    asking = Asking(most)
    places = asking.places(most + 1)
    for _ in range(2):
        assert [place.take() for place in places] == [True] * most + [False]
    assert asking.counted == (most, most, 1, 1, 1)
    for _ in range(2):
        places[-1].leave()
    for place in places * 2:
        place.leave()
    assert asking.counted == (0, most, 0, 1, 1)
    assert asking.let_in == []


def test_place_is_wanted_while_another_waits() -> None:
    """And only one that is taken."""
    asking = Asking(1)
    first, second = asking.places(2)
    first.take()
    assert not first.is_wanted
    second.take()
    assert (first.is_wanted, second.is_wanted) == (True, False)
    second.leave()
    assert not first.is_wanted


class GateMachine(RuleBasedStateMachine):
    """I25: any connections that ask, wait and leave in any order."""

    @initialize(most=st.integers(1, 4))
    def make(self, most: int) -> None:
        self.asking, self.most = Asking(most), most
        self.places: list[Place] = []
        self.within: list[int] = []
        self.waiting: list[int] = []
        self.let_in: list[int] = []
        self.highest = [0, 0]
        self.waited = 0

    @rule()
    def come(self) -> None:
        self.places.append(self.asking.place(len(self.places)))

    def some(self, data: st.DataObject) -> int | None:
        if not self.places:
            return None
        return data.draw(st.integers(0, len(self.places) - 1))

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        number = self.some(data)
        if number is None:
            return
        taken = self.places[number].take()
        if number not in self.within and number not in self.waiting:
            if len(self.within) < self.most:
                self.within.append(number)
            else:
                self.waiting.append(number)
                self.waited += 1
        assert taken == (number in self.within)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number = self.some(data)
        if number is None:
            return
        self.places[number].leave()
        for numbers in (self.within, self.waiting):
            if number in numbers:
                numbers.remove(number)
        while self.waiting and len(self.within) < self.most:
            self.within.append(self.waiting.pop(0))
            self.let_in.append(self.within[-1])

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "asking"):
            return
        self.highest = [
            max(self.highest[0], len(self.within)),
            max(self.highest[1], len(self.waiting)),
        ]
        within_high, waiting_high = self.highest
        expected = (len(self.within), within_high, len(self.waiting), waiting_high, self.waited)
        assert self.asking.counted == expected
        assert self.asking.let_in == self.let_in
        assert self.asking.any_wait is bool(self.waiting)
        assert len(self.within) <= self.most
        assert not self.waiting or self.asking.gate.is_full
        taken = {number for number, place in enumerate(self.places) if place.is_taken}
        assert taken == set(self.within)


GateMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


class TestGateAgainstAnOracle(GateMachine.TestCase):
    """Runs the machine above."""
