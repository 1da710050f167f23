"""stream: samples while somebody looks, for those who poll and those who listen."""

import asyncio
import json
from typing import Any

import pytest

pytest.importorskip("h11")

from asyncrev.admin.gathering import Gathering
from asyncrev.admin.history import SERIES
from asyncrev.admin.stream import MOST_STREAMS, Live, Stream
from tests.admin.talking import STATISTICS, FakeSource, watching
from tests.support import until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


def live(*sources: FakeSource, **times: float) -> Live:
    return Live(Gathering(sources or [FakeSource(statistics=STATISTICS)]), **times)


def parsed(event: bytes) -> tuple[int, dict[str, Any]]:
    """Return id and data of one event, which must be one."""
    lines = event.decode().removesuffix("\n\n").split("\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert set(fields) - {"retry"} == {"id", "data"}
    return int(fields["id"]), json.loads(fields["data"])


def opened(figures: Live, after_ms: int = 0) -> Stream:
    stream = figures.open(after_ms)
    assert stream is not None
    return stream


async def test_stream_begins_with_the_history_and_goes_on() -> None:
    """Each event names the newest sample, from which another stream can go on."""
    figures = live()
    async with watching(figures):
        await until(lambda: figures.newest_ms, "there is a sample")
        stream = opened(figures)
        first = await anext(stream)
        assert first.startswith(b"retry: ")
        newest_ms, told = parsed(first)
        assert told["samples"][-1][0] == newest_ms
        assert told["series"] == list(SERIES)
        assert told["ends"] == {"write stall": 2}
        assert told["workers"][0]["stuck"] == []
        second_ms, told = parsed(await anext(stream))
        assert [sample[0] for sample in told["samples"]] == [second_ms]
        assert second_ms > newest_ms
        other = opened(figures, newest_ms)
        _, told = parsed(await anext(other))
        assert told["samples"][0][0] == second_ms


async def test_slow_reader_finds_all_that_it_has_missed() -> None:
    """In one event."""
    figures = live()
    async with watching(figures):
        stream = opened(figures)
        begun_ms, _ = parsed(await anext(stream))
        for _ in range(3):
            await figures.next()
        newest_ms, told = parsed(await anext(stream))
        times = [sample[0] for sample in told["samples"]]
    assert times == sorted(set(times))
    assert len(times) >= 3
    assert begun_ms < times[0]
    assert times[-1] == newest_ms


async def test_stream_ends_at_its_age() -> None:
    """The browser opens another one."""
    figures = live(stream_s=0.0)
    async with watching(figures):
        with pytest.raises(StopAsyncIteration):
            await anext(opened(figures))


async def test_streams_are_bounded() -> None:
    """A place is given back once."""
    figures = live()
    streams = [opened(figures) for _ in range(MOST_STREAMS)]
    assert figures.open(0) is None
    streams[0].close()
    streams[0].close()
    opened(figures)
    assert figures.open(0) is None


async def test_nobody_looks_so_samples_are_rare() -> None:
    """Until somebody does, who does not wait for the next rare one."""
    figures = live(idle_interval_s=3600.0)
    async with watching(figures):
        await until(lambda: figures.newest_ms, "the first sample is there")
        first_ms = figures.newest_ms
        await asyncio.sleep(0.3)  # thirty intervals
        assert figures.newest_ms == first_ms
        stream = opened(figures)
        assert parsed(await anext(stream))[0] == first_ms
        for _ in range(3):
            assert parsed(await anext(stream))[0] > first_ms
        stream.close()
        await until(lambda: not figures.is_looked_at, "nobody looks any more")


async def test_poll_waits_for_what_is_newer_and_not_for_ever() -> None:
    """Without a sample it says what there is."""
    figures = live(interval_s=0.01)
    assert json.loads(await figures.poll(0))["samples"] == []
    async with watching(figures):
        told = json.loads(await figures.poll(0))
        newest_ms = told["samples"][-1][0]
        then = json.loads(await figures.poll(newest_ms))
        assert then["samples"][0][0] > newest_ms
        future = json.loads(await figures.poll(10**14))
        assert future["samples"][0][0] <= newest_ms


async def test_worker_that_does_not_answer_is_a_row() -> None:
    """The others' sums go on."""
    figures = live(FakeSource("0", statistics=STATISTICS), FakeSource("1"))
    async with watching(figures):
        told = json.loads(await figures.poll(0))
    up, down = told["workers"]
    assert (up["up"], down["up"], down["why"]) == (True, False, "the event loop does not answer")
    assert told["samples"][-1][1 + SERIES.index("connections")] == 3


async def test_defect_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """And no end of the samples."""
    source = FakeSource(statistics={"nothing": 1})
    figures = live(source)
    async with watching(figures):
        stream = opened(figures)
        await until(lambda: len(source.asked) > 1, "it was asked again")
        source.answers["statistics"] = STATISTICS
        assert parsed(await anext(stream))[1]["samples"]
    assert caplog.text.count("KeyError") == 1
