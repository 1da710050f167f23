"""lane_work: one entry's work, and everything that a processor may do to it."""

from typing import Any

import pytest

from asyncrev.errors import PeerRefused, ProcessorError
from asyncrev.ring.ring import CLOSE, DATA, EOF
from tests.lane_bench import Bench, Recorder


def test_work_makes_the_processor_once_and_on_first_use() -> None:
    """A connection that sends nothing costs none; the end of input counts as use."""
    made: list[Recorder] = []
    bench = Bench(lambda: made.append(Recorder()) or made[-1])
    assert not made
    assert bench.work(EOF).result == b"bye"
    bench.work(DATA, b"x")
    assert len(made) == 1


RAISED = [ValueError, SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit]


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("where", ["factory", "process", "eof"])
def test_what_a_processor_raises_breaks_its_lane_and_is_kept(
    where: str, raised: type[BaseException]
) -> None:
    """Nothing comes out of `work`; later entries are passed over; close still comes."""

    def fail(*_: Any) -> Any:
        raise raised(where)

    recorder = Recorder()
    if where != "factory":
        setattr(recorder, where, fail)
    bench = Bench(fail if where == "factory" else lambda: recorder)
    entry = bench.work(EOF if where == "eof" else DATA, b"x")
    assert type(entry.error) is raised
    assert entry.result is None
    assert bench.lane_work.broken
    for kind in (DATA, EOF):
        later = bench.work(kind, b"y")
        assert (later.result, later.error) == (None, None)
    bench.work(CLOSE)
    assert recorder.calls == ([] if where == "factory" else ["close"])


def test_abandoned_lane_gets_no_more_calls_but_close() -> None:
    """Nobody waits for its replies."""
    recorder = Recorder()
    bench = Bench(lambda: recorder)
    bench.work(DATA, b"a")
    bench.lane_work.abandoned = True
    assert bench.work(DATA, b"b").result is None
    assert bench.work(EOF).result is None
    bench.work(CLOSE)
    assert recorder.calls == [b"a", "close"]


def test_close_without_a_hook_or_a_processor_does_nothing() -> None:
    """`close` is optional, and a lane may never have had a processor."""

    class Plain:
        def process(self, chunk: memoryview) -> None: ...

        def eof(self) -> None: ...

    bench = Bench(Plain)
    assert bench.work(CLOSE).error is None
    bench.work(DATA, b"x")
    assert bench.work(CLOSE).error is None


def test_close_that_raises_leaves_its_error() -> None:
    """The processor is let go all the same."""

    def fail() -> None:
        raise ValueError("close")

    recorder = Recorder()
    recorder.close = fail  # type: ignore[method-assign]
    bench = Bench(lambda: recorder)
    bench.work(DATA, b"x")
    assert type(bench.work(CLOSE).error) is ValueError
    assert bench.lane_work.processor is None


def released_view() -> memoryview:
    """Return a view that a `with` statement has released on the way out."""
    with memoryview(b"no") as view:
        return view


class RefusedWithout(PeerRefused):
    """Fails when it is asked for its reply."""

    @property
    def reply(self) -> bytes:  # type: ignore[override]
        """Fail."""
        raise SystemExit

    @reply.setter
    def reply(self, _: bytes) -> None:
        """Take none."""


@pytest.mark.parametrize(
    ("refusal", "kept"),
    [
        (PeerRefused("no", reply=released_view()), ValueError),
        (PeerRefused("no", reply="no"), ProcessorError),  # type: ignore[arg-type]
        (RefusedWithout("no"), SystemExit),
    ],
)
def test_refusal_without_a_reply_that_can_be_sent_ends_its_lane_only(
    refusal: PeerRefused, kept: type[BaseException]
) -> None:
    """The error is why it cannot; the worker goes on."""

    def refuse(_: Any) -> Any:
        raise refusal

    recorder = Recorder()
    recorder.process = refuse  # type: ignore[method-assign]
    bench = Bench(lambda: recorder)
    entry = bench.work(DATA, b"x")
    assert type(entry.error) is kept
    assert bench.lane_work.broken
