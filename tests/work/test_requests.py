"""requests: two queues with counts that each side may read when the other is at rest."""

from asyncrev.work.requests import Request, RequestKind, Requests


def frame(nbytes: int) -> Request:
    return Request(RequestKind.FRAME, b"x" * nbytes, b"", nbytes)


def test_room_is_what_is_left_of_the_number() -> None:
    """A request has its place until its reply is given out, not until it is answered."""
    requests = Requests(3, 1000)
    assert requests.room() == 3
    for _ in range(2):
        requests.make(frame(10))
    assert (requests.room(), requests.pending, requests.pending_bytes) == (1, 2, 20)
    requests.returned.append(requests.made.popleft())
    assert requests.room() == 1
    assert requests.next_returned() is not None
    assert (requests.room(), requests.pending, requests.pending_bytes) == (2, 1, 10)
    assert requests.next_returned() is None


def test_there_is_no_room_while_bytes_are_used_up() -> None:
    """One request may exceed them, because it is here."""
    requests = Requests(10, 100)
    requests.make(frame(99))
    assert requests.room() == 9
    requests.make(frame(500))
    assert requests.room() == 0
    requests.returned.append(requests.made.popleft())
    requests.next_returned()
    assert requests.room() == 0
    requests.returned.append(requests.made.popleft())
    requests.next_returned()
    assert requests.room() == 10


def test_more_than_the_number_leaves_no_negative_room() -> None:
    """The end of input may make two more."""
    requests = Requests(1, 100)
    for _ in range(3):
        requests.make(Request(RequestKind.EOF))
    assert requests.room() == 0


def test_order_is_kept() -> None:
    """What is made first is taken first, on both ways."""
    requests = Requests(5, 100)
    for nbytes in (1, 2, 3):
        requests.make(frame(nbytes))
    taken = [requests.made.popleft() for _ in range(3)]
    assert [request.nbytes for request in taken] == [1, 2, 3]
    requests.returned.extend(taken)
    given = [requests.next_returned() for _ in range(3)]
    assert given == taken
