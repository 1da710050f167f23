"""raw_work: each chunk is one call, and its reply is checked."""

from typing import Any

import pytest

from asyncrev.errors import ProcessorError
from asyncrev.ring.ring import CLOSE, DATA, EOF, RESUME
from tests.lane_bench import Bench, Recorder


def test_work_calls_the_processor_in_order_and_keeps_its_replies() -> None:
    """Data as it came, restricted to what was filled; one last reply; one close."""
    recorder = Recorder()
    bench = Bench(lambda: recorder)
    entry = bench.work(DATA, b"abc")
    assert isinstance(entry.result, memoryview)
    assert entry.result == b"abc"
    assert bench.work(EOF).result == b"bye"
    assert bench.work(CLOSE).result is None
    assert recorder.calls == [b"abc", "eof", "close"]
    assert bench.lane_work.processor is None


def test_work_without_leave_to_keep_views_gives_bytes() -> None:
    """Transports that keep what they are given get something that stays."""
    assert type(Bench(Recorder, views_allowed=False).work(DATA, b"abc").result) is bytes


@pytest.mark.parametrize("result", ["text", 3, [1]])
def test_wrong_result_breaks_the_lane(result: Any) -> None:
    """It is the processor's error, like an exception."""
    recorder = Recorder()
    recorder.process = lambda _: result  # type: ignore[method-assign]
    bench = Bench(lambda: recorder)
    assert type(bench.work(DATA, b"x").error) is ProcessorError
    assert bench.lane_work.broken


def test_factory_of_something_else_breaks_the_lane() -> None:
    """It is told which type came."""
    error = Bench(object).work(DATA, b"x").error
    assert type(error) is ProcessorError
    assert "an object of type object, which lacks" in str(error)


class Doubling(Recorder):
    """Answers with twice as much."""

    def process(self, chunk: memoryview) -> bytes:  # type: ignore[override]
        """Return the chunk twice."""
        self.calls.append(bytes(chunk))
        return bytes(chunk) * 2


def test_chunks_behind_a_full_window_are_deferred_and_answered_in_order() -> None:
    """Each entry says how much input its reply answers; the end comes behind what is deferred."""
    bench = Bench(Doubling, window_bytes=3)
    entry = bench.work(DATA, b"abc")
    assert (entry.result, entry.nbytes, entry.surplus_bytes) == (b"abcabc", 3, 3)
    for data in (b"de", b"f"):
        entry = bench.work(DATA, data)
        assert (entry.result, entry.nbytes) == (None, 0)
    assert bench.work(EOF).ended is False
    assert bench.work(RESUME).result is None
    bench.lane_work.window.deliver(3)
    entry = bench.work(RESUME)
    assert (entry.result, entry.nbytes, entry.surplus_bytes) == (b"defdef", 3, 3)
    assert entry.ended is False
    entry = bench.work(RESUME)
    assert (entry.result, entry.ended) == (None, False)  # the end waits for the window, too (I21)
    bench.lane_work.window.deliver(3)
    entry = bench.work(RESUME)
    assert (entry.result, entry.ended) == (b"bye", True)
    assert bench.lane_work.deferred is None


def test_replies_that_are_no_longer_than_their_chunks_take_nothing_of_the_window() -> None:
    """However many there are."""
    bench = Bench(Recorder, window_bytes=1)
    for data in (b"abc", b"defg", b"x"):
        entry = bench.work(DATA, data)
        assert (entry.result, entry.nbytes, entry.surplus_bytes) == (data, len(data), 0)
    assert bench.lane_work.window.produced_bytes == 0


def test_error_of_a_plain_lane_ends_it() -> None:
    """The shortest way, of a lane that has a processor and deferred nothing, keeps the error."""
    recorder = Recorder()
    bench = Bench(lambda: recorder)
    assert bench.work(DATA, b"a").result == b"a"
    recorder.process = lambda chunk: 1 / 0  # type: ignore[method-assign, return-value, assignment]
    assert type(bench.work(DATA, b"b").error) is ZeroDivisionError
    assert bench.lane_work.broken
    assert bench.work(DATA, b"c").error is None
    assert recorder.calls == [b"a"]


def test_end_behind_a_full_window_waits_for_it() -> None:
    """I21: what `eof` returns would be one reply too many; nothing else is deferred."""
    bench = Bench(Doubling, window_bytes=3)
    assert bench.work(DATA, b"abc").result == b"abcabc"
    for kind in (EOF, RESUME, RESUME):
        entry = bench.work(kind)
        assert (entry.result, entry.ended) == (None, False)
    bench.lane_work.window.deliver(3)
    entry = bench.work(RESUME)
    assert (entry.result, entry.ended, entry.surplus_bytes) == (b"bye", True, 3)
    assert bench.lane_work.processor.calls == [b"abc", "eof"]  # type: ignore[attr-defined]
