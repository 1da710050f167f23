"""Ready frames and the batches made of them."""

import pytest

from asyncrev.executors.batching import Batch, Frame, ReadyFrames, share_of


def frames_of(*sizes: int) -> list[Frame]:
    """Return frames of these lengths, ready at 0, 1, 2 s."""
    return [Frame(None, bytes(size), float(at)) for at, size in enumerate(sizes)]


def ready_of(*sizes: int) -> tuple[ReadyFrames, list[Frame]]:
    """Return them, too."""
    ready, frames = ReadyFrames(), frames_of(*sizes)
    for frame in frames:
        ready.add(frame)
    return ready, frames


@pytest.mark.parametrize(
    ("sizes", "most_bytes", "taken"),
    [((5, 5, 5), 10, 2), ((5, 6), 10, 1), ((50, 1), 10, 1), ((0, 0, 0, 0), 10, 3), ((), 10, 0)],
)
def test_batch_is_bounded_by_frames_and_bytes(
    sizes: tuple[int, ...], most_bytes: int, taken: int
) -> None:
    """At most 3 frames here; the first always."""
    ready, frames = ready_of(*sizes)
    assert ready.take(3, most_bytes) == frames[:taken]
    assert len(ready) == len(sizes) - taken


def test_full_batch_is_noticed() -> None:
    """By frames, by bytes, or one that is tried again."""
    assert ready_of(1, 1)[0].fills(2, 100)
    assert ready_of(60, 40)[0].fills(3, 100)
    assert not ready_of(60, 39)[0].fills(3, 100)
    ready, (frame,) = ready_of(1)
    ready.take(1, 1)
    ready.try_again(frame)
    assert ready.fills(3, 100)


def test_frames_tried_again_go_first_and_alone() -> None:
    """Also if they are put back."""
    ready, (a, b, c) = ready_of(1, 1, 1)
    assert ready.take(2, 100) == [a, b]
    a.tries = b.tries = 1
    ready.try_again(a)
    ready.try_again(b)
    assert ready.again == 2
    assert ready.take(9, 100) == [a]
    ready.put_back([a])
    assert [ready.take(9, 100) for _ in range(3)] == [[a], [b], [c]]


def test_frames_put_back_keep_their_order() -> None:
    """Before those that came later."""
    ready, frames = ready_of(1, 1, 1)
    ready.put_back(ready.take(2, 100))
    assert ready.take_all() == frames
    assert len(ready) == 0


def test_oldest_is_that_of_both_kinds() -> None:
    """None if nothing waits."""
    ready, (a, _) = ready_of(1, 1)
    assert ready.oldest_s == 0.0
    ready.take(1, 100)
    assert ready.oldest_s == 1.0
    a.tries = 1
    ready.try_again(a)
    assert ready.oldest_s == 0.0
    ready.take_all()
    assert ready.oldest_s is None


def test_cancelled_ones_are_taken_out() -> None:
    """The others stay in order."""
    ready, (a, b, c) = ready_of(1, 1, 1)
    b.is_cancelled = True
    assert ready.take_cancelled() == [b]
    assert ready.take_cancelled() == []
    assert ready.take_all() == [a, c]


@pytest.mark.parametrize(
    ("ready", "idle", "share"), [(5, 2, 3), (2, 2, 1), (1, 4, 1), (100, 2, 16), (17, 1, 16)]
)
def test_share_is_even_and_bounded(ready: int, idle: int, share: int) -> None:
    """Rounded up."""
    assert share_of(ready, idle, 16) == share


def test_batch_begins_as_nothing() -> None:
    """No future, no time."""
    batch = Batch(frames_of(1), "unit")
    assert (batch.future, batch.began_s, batch.is_over, batch.arena) == (None, None, False, None)
