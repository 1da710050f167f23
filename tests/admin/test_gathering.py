"""gathering: all sources at once, once for all who ask, and what does not move."""

import asyncio
import logging

import pytest

from asyncrev.admin import gathering as module
from asyncrev.admin.gathering import Answer, Gathering
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
        source.answers["health"] = HEALTH | {"threads": [{"published": 2, "processed": 1}]}
        await until(lambda: "worker thread 0" in str(asked.stuck()), "the worker counts as stuck")
        source.answers["health"] = HEALTH
        await until(lambda: asked.stuck() == {"0": []}, "all moves again")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await asked.close()
    assert source.is_closed


module_shared = module.Shared
