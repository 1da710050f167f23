"""sources: a server on another thread's loop is asked, one thing at a time, within a time."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asyncrev.admin.sources import LocalSource, NoAnswer
from asyncrev.testing.loop_thread import LoopThread
from tests.support import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


class Slow:
    """Stands for `Answers`; counts, and waits where a test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.most_at_once = 0

    async def answer(self, what: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self.begun += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if what == "nothing":
                raise ValueError("nobody answers 'nothing'")
            await asyncio.sleep(0)
            return {"what": what, **arguments}
        finally:
            self.at_once -= 1


@contextlib.asynccontextmanager
async def source_of(answers: Any) -> AsyncIterator[tuple[LocalSource, LoopThread]]:
    async def main(ready: Callable[[], None], stop: asyncio.Event) -> None:
        ready()
        await stop.wait()

    thread = LoopThread(main, "served")
    assert thread.start(DEADLINE_S)
    assert thread.loop is not None
    source = LocalSource(answers, thread.loop)
    try:
        yield source, thread
    finally:
        source.close()
        assert thread.stop(DEADLINE_S)


async def test_answer_comes_from_the_other_thread() -> None:
    """With the arguments; a question that cannot be answered raises here."""
    async with source_of(Slow()) as (source, _):
        assert await source.ask("x", sort="bytes") == {"what": "x", "sort": "bytes"}
        with pytest.raises(ValueError, match="nobody answers"):
            await source.ask("nothing")
        assert await source.ask("y") == {"what": "y"}


async def test_questions_come_one_at_a_time() -> None:
    """However many ask."""
    slow = Slow()
    async with source_of(slow) as (source, _):
        answers = await asyncio.gather(*(source.ask(str(number)) for number in range(50)))
    assert [answer["what"] for answer in answers] == [str(number) for number in range(50)]
    assert (slow.begun, slow.most_at_once) == (50, 1)


async def test_stuck_loop_gives_no_answer_and_gets_one_callback() -> None:
    """Later questions come to nothing at once; when it moves again, they are answered."""
    slow, go_on, stuck = Slow(), threading.Event(), threading.Event()

    def block() -> None:
        stuck.set()
        go_on.wait()

    async with source_of(slow) as (source, thread):
        thread.loop.call_soon_threadsafe(block)
        await until(stuck.is_set, "the loop is stuck")
        try:
            loop = asyncio.get_running_loop()
            for _ in range(20):
                with pytest.raises(NoAnswer):
                    await source.ask("x", 0.05)
            begun_s = loop.time()
            with pytest.raises(NoAnswer):
                await source.ask("x", 0.05)
            assert loop.time() - begun_s < 0.04
            assert slow.begun == 0
        finally:
            go_on.set()
        await until(lambda: slow.begun, "the loop moves")
        assert await source.ask("y", 10.0) == {"what": "y"}
    assert slow.begun == 2


async def test_closed_loop_gives_no_answer() -> None:
    """No coroutine is left that nobody awaits."""
    loop = asyncio.SelectorEventLoop()
    loop.close()
    with pytest.raises(NoAnswer, match="closed"):
        await LocalSource(Slow(), loop).ask("x")


async def test_close_forgets_what_was_asked() -> None:
    """The other loop has no task of it any more."""

    class Never:
        began = threading.Event()
        cancelled = threading.Event()

        async def answer(self, what: str, arguments: dict[str, Any]) -> dict[str, Any]:
            self.began.set()
            try:
                return await asyncio.get_running_loop().create_future()
            finally:
                self.cancelled.set()

    never = Never()
    async with source_of(never) as (source, _):
        with pytest.raises(NoAnswer):
            await source.ask("x", 0.01)
        await until(never.began.is_set, "it was asked")
        source.close()
        await until(never.cancelled.is_set, "it is forgotten")
