"""iterations: hooks around every poll, wake-ups from any thread, and what a close leaves."""

import asyncio
import threading
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from tests.wires import on_epoll


class Hook:
    """Notes its calls in a shared list."""

    def __init__(self, name: str, calls: list[str], more: bool = False) -> None:
        self.name, self.calls, self.more = name, calls, more

    def before_poll(self) -> bool:
        self.calls.append(f"{self.name} before")
        return self.more

    def after_poll(self) -> None:
        self.calls.append(f"{self.name} after")


@on_epoll
async def test_iteration_hooks_run_around_every_poll_in_the_order_they_were_added() -> None:
    """after the iteration's callbacks; a removed one is called no more."""
    loop, calls = asyncio.get_running_loop(), []
    one, two = Hook("1", calls), Hook("2", calls, more=True)
    loop.add_iteration_hook(one)
    loop.add_iteration_hook(two)
    loop.call_soon(calls.append, "callback")
    await asyncio.sleep(0)
    loop.remove_iteration_hook(one)
    await asyncio.sleep(0)
    loop.remove_iteration_hook(two)
    loop.remove_iteration_hook(two)
    await asyncio.sleep(0)
    iteration = ["1 before", "2 before", "1 after", "2 after", "callback"]
    assert calls == [*iteration, "2 before", "2 after"]


@on_epoll
async def test_call_soon_by_a_hook_makes_the_loop_not_wait() -> None:
    """Nothing else would ever end that poll, because nobody says that more is due."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    class Scheduling(Hook):
        def before_poll(self) -> bool:
            if not self.calls and not loop._ready:
                loop.call_soon(done.set)
                super().before_poll()
            return False

    hook = Scheduling("h", [])
    loop.add_iteration_hook(hook)
    await done.wait()
    loop.remove_iteration_hook(hook)


@on_epoll
async def test_hook_with_more_to_do_makes_the_loop_not_wait() -> None:
    """It is asked again in the next iteration, at once."""
    loop, enough = asyncio.get_running_loop(), asyncio.Event()

    class Counting(Hook):
        def before_poll(self) -> bool:
            super().before_poll()
            if self.calls.count("h before") == 50:
                enough.set()
            return True

    hook = Counting("h", [])
    loop.add_iteration_hook(hook)
    await enough.wait()
    loop.remove_iteration_hook(hook)


@on_epoll
async def test_timer_that_a_hook_sets_is_polled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio computes how long to poll before the hooks run: a drain's linger came a poll late."""
    loop: Any = asyncio.get_running_loop()
    polls_s: list[float] = []
    real = loop._selector._selector

    class Poll:
        """epoll, but for the waiting."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def poll(self, timeout_s: float, most: int) -> Any:
            polls_s.append(timeout_s)
            return real.poll(0, most)

    class Setting(Hook):
        timer: asyncio.TimerHandle | None = None

        def before_poll(self) -> bool:
            if self.timer is None:
                self.timer = loop.call_later(0.5, set_off.set)
            return False

    set_off = asyncio.Event()
    later = loop.call_later(600, set_off.set)
    hook = Setting("h", [])
    monkeypatch.setattr(loop._selector, "_selector", Poll())
    loop.add_iteration_hook(hook)
    await set_off.wait()
    loop.remove_iteration_hook(hook)
    monkeypatch.undo()
    later.cancel()
    assert max(polls_s) <= 0.5 + 0.001


@on_epoll
async def test_wake_from_another_thread_begins_an_iteration() -> None:
    """The loop sleeps without a timeout until then."""
    loop = asyncio.get_running_loop()
    woken, asleep = loop.create_future(), threading.Event()

    class Sleeper(Hook):
        def before_poll(self) -> bool:
            asleep.set()
            return False

        def after_poll(self) -> None:
            if not woken.done() and thread_is_done.is_set():
                woken.set_result(None)

    thread_is_done = threading.Event()

    def wake() -> None:
        assert asleep.wait(10)
        thread_is_done.set()
        loop.wake()

    thread = threading.Thread(target=wake)
    hook = Sleeper("h", [])
    loop.add_iteration_hook(hook)
    thread.start()
    await woken
    loop.remove_iteration_hook(hook)
    thread.join()


def test_wake_of_a_closed_loop_raises() -> None:
    """Closing is idempotent, and lets go of the hooks."""
    loop = EpollEventLoop()
    loop.add_iteration_hook(Hook("h", []))
    loop.close()
    loop.close()
    assert not loop._iteration_hooks
    with pytest.raises(OSError, match="Bad file"):
        loop.wake()


@on_epoll
async def test_close_of_a_running_loop_is_refused_and_changes_nothing() -> None:
    """As stock; the hooks stay."""
    loop, calls = asyncio.get_running_loop(), []
    hook = Hook("h", calls)
    loop.add_iteration_hook(hook)
    with pytest.raises(RuntimeError, match="running"):
        loop.close()
    await asyncio.sleep(0)
    assert calls == ["h before", "h after"]
    loop.remove_iteration_hook(hook)
