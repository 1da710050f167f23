"""Connections go to who has room, wait while nobody has, and are taken back in their order."""

import socket
from typing import Any

import pytest

from asyncrev.supervisor.handout import HandOut


class Place:
    """A worker with a number of places."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.got: list[Any] = []
        self.serves = True
        self.has_room = True

    def load(self, *, at_the_end: bool = False) -> int | None:
        full = len(self.got) >= self.room
        return len(self.got) if self.serves and (at_the_end or not full) else None

    def hand(self, sock: socket.socket, address: Any) -> None:
        self.got.append(address)


class Bench:
    """A hand-out to places of so much room."""

    def __init__(self, *rooms: int) -> None:
        self.places: list[Any] = [Place(room) for room in rooms]
        self.opens: list[bool] = []
        self.out = HandOut(lambda: self.places, self.opens.append)
        self.sockets: list[socket.socket] = []

    def accept(self, *addresses: str) -> None:
        for address in addresses:
            self.sockets.append(socket.socket())
            self.out.accept(self.sockets[-1], address)

    @property
    def got(self) -> list[list[str]]:
        return [[] if place is None else place.got for place in self.places]


@pytest.fixture
def bench() -> Any:
    benches: list[Bench] = []

    def make(*rooms: int) -> Bench:
        benches.append(Bench(*rooms))
        return benches[-1]

    yield make
    for one in benches:
        for sock in one.sockets:
            sock.close()


def test_doors_close_with_the_last_place(bench: Any) -> None:
    one = bench(1, 1)
    one.accept("a")
    assert one.opens == [True]
    one.accept("b")
    assert one.opens == [True, False]
    assert one.got == [["a"], ["b"]]


def test_what_finds_no_place_waits_for_one(bench: Any) -> None:
    one = bench(1)
    one.accept("a", "b", "c")
    one.places[0].room = 2
    one.out.update()
    assert one.got == [["a", "b"]]
    assert not one.opens[-1]
    one.places[0].room = 9
    one.out.update()
    assert one.got == [["a", "b", "c"]]
    assert one.opens[-1]


def test_who_has_fewest_is_waited_for(bench: Any) -> None:
    """As many as may be are on their way to it; to give more to others would not be even."""
    one = bench(9, 9)
    one.accept("a", "b")
    one.places[0].got.clear()
    one.places[0].has_room = False
    one.accept("c")
    assert one.got == [[], ["b"]]
    assert not one.opens[-1]
    one.places[0].has_room = True
    one.out.update()
    assert one.got == [["c"], ["b"]]
    assert one.opens[-1]


def test_what_is_taken_back_comes_first(bench: Any) -> None:
    one = bench(0)
    one.accept("c")
    one.out.take_back([(one.sockets[0], "a"), (one.sockets[0], "b")])
    one.places[0].room = 9
    one.out.update()
    assert one.got == [["a", "b", "c"]]


def test_the_end_knows_no_limits(bench: Any) -> None:
    one = bench(1, 0)
    one.accept("a", "b", "c", "d")
    assert one.out.finish() == 0
    assert [len(got) for got in one.got] == [2, 2]


def test_without_any_worker_the_end_closes_them(bench: Any) -> None:
    one = bench(0)
    one.accept("a", "b")
    one.places[0] = None
    assert one.out.finish() == 2
    assert [sock.fileno() for sock in one.sockets] == [-1, -1]
