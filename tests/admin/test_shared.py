"""shared: one answer for all who ask at once, for a moment."""

import asyncio

import pytest

from asyncrev.admin.shared import MOST_KEPT, Shared

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


class Maker:
    """Counts how often it makes something, and waits until it may."""

    def __init__(self) -> None:
        self.made = 0
        self.may = asyncio.Event()

    async def make(self) -> int:
        self.made += 1
        number = self.made
        await self.may.wait()
        return number


async def test_those_who_ask_at_once_share_one_answer() -> None:
    """And those who ask a moment later, too."""
    shared, maker = Shared(60.0), Maker()
    asking = [asyncio.create_task(shared.get("x", maker.make)) for _ in range(20)]
    await asyncio.sleep(0)
    maker.may.set()
    assert await asyncio.gather(*asking) == [1] * 20
    assert await shared.get("x", maker.make) == 1
    assert await shared.get("y", maker.make) == 2


async def test_answer_is_made_again_after_its_time() -> None:
    """Here it has none at all, but for those who wait while it is made."""
    shared, maker = Shared(-1.0), Maker()
    maker.may.set()
    assert await shared.get("x", maker.make) == 1
    assert await asyncio.gather(*(shared.get("x", maker.make) for _ in range(3))) == [2] * 3


async def test_who_is_cancelled_cancels_nobody_else() -> None:
    """The answer is made for the other one."""
    shared, maker = Shared(), Maker()
    one, other = (asyncio.create_task(shared.get("x", maker.make)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    maker.may.set()
    assert await other == 1
    assert one.cancelled()


async def test_errors_go_to_all_who_share() -> None:
    """And are not left behind with nobody to look at them."""

    async def fail() -> None:
        raise ValueError("no")

    shared = Shared()
    found = await asyncio.gather(*(shared.get("x", fail) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in found] == ["no"] * 3


async def test_number_of_kept_answers_has_a_bound() -> None:
    """A peer may ask for many different things."""
    shared, maker = Shared(60.0), Maker()
    maker.may.set()
    for number in range(10 * MOST_KEPT):
        await shared.get(number, maker.make)
    assert len(shared._tasks) <= MOST_KEPT


async def test_close_cancels_what_is_being_made() -> None:
    """Who waits for it hears so."""
    shared, maker = Shared(), Maker()
    asking = asyncio.create_task(shared.get("x", maker.make))
    await asyncio.sleep(0)
    await shared.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
