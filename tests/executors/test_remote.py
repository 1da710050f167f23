"""What runs in a worker."""

import pytest

from asyncrev.executors.arena_use import ArenaUse
from asyncrev.executors.remote import resolve, run_batch, try_function
from asyncrev.executors.results import FrameFailure
from tests.executors import work


def test_name_is_imported_and_an_object_is_itself() -> None:
    """Names may have dots."""
    assert resolve("tests.executors.work:Holder.static") is work.Holder.static
    assert resolve(work.flip) is work.flip
    with pytest.raises(AttributeError):
        resolve("tests.executors.work:no_such")


def test_each_frame_is_answered_or_fails_alone() -> None:
    """In order."""
    one, two, three = run_batch(work.obey, [b"a", b"raise so", b"c"])
    assert (one, three) == (b"A", b"C")
    assert isinstance(two, FrameFailure)
    assert (two.type_name, two.text) == ("ValueError", "so")


def test_reply_that_may_change_is_copied() -> None:
    """It is pickled or read later."""
    kept = bytearray(b"abc")
    assert run_batch(lambda frame: memoryview(kept), [b""]) == [b"abc"]


def test_function_or_arena_that_is_not_there_fails_every_frame() -> None:
    """The batch returns."""
    for answers in (
        run_batch("no_such_module:work", [b"a", b"b"]),
        run_batch(work.flip, [b"a", b"b"], ArenaUse(0, 0, -5, 0)),
    ):
        assert [type(answer) for answer in answers] == [FrameFailure] * 2


def test_trial_calls_the_function_if_it_may() -> None:
    """And reports what went wrong."""
    assert try_function("tests.executors.work:tried", call=False) is None
    assert try_function(work.flip, call=True) is None
    failure = try_function("tests.executors.work:tried", call=True)
    assert failure is not None
    assert failure.type_name == "IndexError"
