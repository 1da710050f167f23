"""Other people's programs on our loop, and on asyncio's, to tell their faults from ours.

`make ecosystem` installs them and runs this folder; `make test` does not. What was tried, with
versions, is in docs/compatibility.md.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from asyncrev import EpollEventLoop
from tests.support import DEADLINE_S

Result = TypeVar("Result")
Run = Callable[[Coroutine[Any, Any, Result]], Result]

MOST_S = 3 * DEADLINE_S  # for all of one test; each takes well under a second on an idle machine


@pytest.fixture(params=["epoll", "epoll-debug", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run[Any]:
    """Run a coroutine to its end on a loop that the name of the test tells, with a deadline."""
    factory = asyncio.SelectorEventLoop if request.param == "asyncio" else EpollEventLoop

    def run_on_it(main: Coroutine[Any, Any, Result]) -> Result:
        async def bounded() -> Result:
            assert type(asyncio.get_running_loop()) is factory
            async with asyncio.timeout(MOST_S):
                return await main

        debug = request.param == "epoll-debug"
        with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
            return runner.run(bounded())

    return run_on_it


@pytest.fixture
def payload() -> bytes:
    """More than the buffers of a loopback connection take at once, of no short period."""
    return b"".join(number.to_bytes(4, "big") for number in range(250_000))
