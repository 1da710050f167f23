"""gathering: all sources at once, once for all who ask, and what does not move."""

import asyncio
import logging

import pytest

from asyncrev.admin import gathering as module
from asyncrev.admin.gathering import Answer, Gathering
from asyncrev.admin.sources import NoWorker
from tests.admin.talking import HEALTH, FakeSource
from tests.support import until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


async def test_answers_come_in_the_order_of_the_sources() -> None:
    """One that does not answer hides no other."""
    one, other = FakeSource("0", x={"a": 1}), FakeSource("1")
    asked = Gathering([one, other])
    assert await asked.ask("x") == [
        Answer("0", {"a": 1}),
        Answer("1", None, "the event loop does not answer"),
    ]


async def test_simultaneous_questions_are_one() -> None:
    """And those of the next 0.2 s; others are others."""
    source = FakeSource(x={"a": 1})
    asked = Gathering([source])
    await asyncio.gather(*(asked.ask("x") for _ in range(100)))
    await asked.ask("x", sort="b", limit=1)
    await asked.ask("x", limit=1, sort="b")
    assert source.asked == [("x", {}), ("x", {"sort": "b", "limit": 1})]


async def test_defect_of_a_source_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """And no answer."""
    asked = Gathering([FakeSource(x=RuntimeError("oops")), FakeSource("1", x={"a": 1})])
    with caplog.at_level(logging.ERROR, "asyncrev"):
        broken, whole = await asked.ask("x")
    assert (broken.said, whole.said) == (None, {"a": 1})
    assert "RuntimeError('oops')" in caplog.text


async def test_question_that_cannot_be_answered_raises() -> None:
    """Whoever has asked hears why."""
    with pytest.raises(ValueError, match="not so"):
        await Gathering([FakeSource(x=ValueError("not so"))]).ask("x")


async def test_pulse_finds_what_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody who asks; and what moves again is not."""
    monkeypatch.setattr(module, "PULSE_S", 0.01)
    monkeypatch.setattr(module, "Shared", lambda: module_shared(-1.0))
    source = FakeSource()
    asked = Gathering([source], stuck_after_s=0.2)
    watching = asyncio.create_task(asked.watch())
    try:
        await until(lambda: len(source.asked) > 3, "it looks")
        assert asked.stuck() == {"0": []}
        source.answers["health"] = None
        await until(lambda: asked.stuck()["0"], "the loop counts as stuck")
        assert "event loop" in asked.stuck()["0"][0]
        source.answers["health"] = HEALTH | {
            "threads": [{"published": 2, "processed": 1, "steps": 0}]
        }
        await until(lambda: "worker thread 0" in str(asked.stuck()), "the worker counts as stuck")
        source.answers["health"] = HEALTH
        await until(lambda: asked.stuck() == {"0": []}, "all moves again")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await asked.close()
    assert source.is_closed


async def test_sources_that_come_and_go_are_asked_at_once() -> None:
    """What was said a moment ago by others is no answer of those that there are now."""
    old, new = FakeSource("0", x={"a": 1}), FakeSource("0", x={"a": 2})
    present = [old]
    asked = Gathering(lambda: tuple(present))
    assert await asked.ask("x") == [Answer("0", {"a": 1})]
    old.worker = "0-old"
    present.insert(0, new)
    assert await asked.ask("x") == [Answer("0", {"a": 2}), Answer("0-old", {"a": 1})]
    present.remove(old)
    assert await asked.ask("x") == [Answer("0", {"a": 2})]
    assert asked.stuck() == {"0": []}
    await asked.close()
    assert new.is_closed


async def test_no_two_workers_have_one_name() -> None:
    """A metric with the same labels twice would make the whole scrape fail."""
    asked = Gathering([FakeSource(name, x={}) for name in ("1", "1-old", "1-old", "1", "1-2")])
    names = [answer.worker for answer in await asked.ask("x")]
    assert names == ["1", "1-old", "1-old-2", "1-2", "1-2-2"]


async def test_successor_of_a_stuck_worker_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although it has its name; and where there is no process, none is stuck."""
    monkeypatch.setattr(module, "PULSE_S", 0.01)
    monkeypatch.setattr(module, "Shared", lambda: module_shared(-1.0))
    stuck, well = FakeSource("0", health=None), FakeSource("0")
    gone = FakeSource("1", health=NoWorker("the worker process has ended"))
    present = [stuck, gone]
    asked = Gathering(lambda: tuple(present), stuck_after_s=0.2)
    watching = asyncio.create_task(asked.watch())
    try:
        await until(lambda: asked.stuck()["0"], "the first counts as stuck")
        assert asked.stuck()["1"] == []
        present[0] = well
        assert asked.stuck() == {"0": [], "1": []}
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await asked.close()


async def test_source_that_goes_while_it_is_asked_is_told_of() -> None:
    """Nothing is kept of it."""
    present = [FakeSource("0"), FakeSource("1")]
    asked = Gathering(lambda: tuple(present))
    asking = asyncio.create_task(asked.ask("health"))
    await asyncio.sleep(0)
    del present[1]
    assert asked.stuck() == {"0": []}
    assert [answer.worker for answer in await asking] == ["0", "1"]
    assert asked.stuck() == {"0": []}


async def test_stop_of_all_is_said_for_each() -> None:
    """Although no worker knows of it; of the others' answers nothing changes."""
    asked = Gathering([FakeSource(x={"a": 1})], is_stopping=lambda: True)
    assert await asked.ask("health") == [Answer("0", HEALTH | {"stopping": True})]
    assert await asked.ask("x") == [Answer("0", {"a": 1})]


module_shared = module.Shared
