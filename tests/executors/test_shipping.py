"""Payloads of a batch, and its answers."""

from concurrent.futures import Future
from typing import Any

from asyncrev.errors import ProcessorError
from asyncrev.executors.batching import Batch, Frame
from asyncrev.executors.results import failure_of
from asyncrev.executors.shipping import answers_of, give_back, payloads_of
from asyncrev.executors.unit import ExecutorUnit


def batch_of(*payloads: bytes) -> Batch:
    """Return a batch of these."""
    return Batch([Frame(None, payload, 0.0) for payload in payloads], ExecutorUnit())


def done(batch: Batch, result: Any = None, error: BaseException | None = None) -> Batch:
    """Let its future have a result."""
    batch.future = Future()
    if error is not None:
        batch.future.set_exception(error)
    else:
        batch.future.set_result(result)
    return batch


def test_large_payloads_go_by_an_arena_that_is_used_again() -> None:
    """If the worker is on this machine."""
    large = b"x" * 20_000
    batch = batch_of(large, b"a")
    assert payloads_of(batch, shares_memory=False) == ([large, b"a"], None)
    sent, use = payloads_of(batch, shares_memory=True)
    assert use is not None
    arena = batch.arena
    assert answers_of(done(batch, list(sent))) == [large, b"a"]
    give_back(batch)
    assert batch.arena is None
    other = batch_of(large)
    other.unit = batch.unit
    payloads_of(other, shares_memory=True)
    assert other.arena is arena
    batch.unit.arenas.close()


def test_small_payloads_need_none() -> None:
    """Nor do their replies."""
    batch = batch_of(b"a")
    assert payloads_of(batch, shares_memory=True) == ([b"a"], None)
    give_back(batch)


def test_failures_become_errors() -> None:
    """Of one frame, or of all if the call itself failed."""
    one, two = answers_of(done(batch_of(b"a", b"b"), [b"A", failure_of(ValueError("so"))]))
    assert (one, type(two), str(two)) == (b"A", ValueError, "so")
    one, two = answers_of(done(batch_of(b"a", b"b"), error=OSError("no luck")))
    assert one is two
    assert isinstance(one, ProcessorError)
    assert "no luck" in str(one)
