"""pytest fixtures: `asyncrev_server` and `asyncrev_leaks`.

Loaded on purpose only, by `pytest_plugins = ["asyncrev.testing.plugin"]` in the top conftest.py or
by `pytest -p asyncrev.testing.plugin`. An entry point would load it into every run of pytest in the
environment, and asyncrev and NumPy with it.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncrev.testing.leaks import LeakCheck
from asyncrev.testing.threads import ServerThread

__all__ = ["asyncrev_leaks", "asyncrev_server"]


@pytest.fixture
def asyncrev_leaks() -> Iterator[LeakCheck]:
    """Fail the test if it leaves descriptors, threads, tasks or unhandled exceptions of loops."""
    with LeakCheck() as check:
        yield check


@pytest.fixture
def asyncrev_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., ServerThread]]:
    """Return a factory of running servers, each on a free port, with `ServerThread`'s arguments.

    They drain and close at the end of the test, and what went wrong there fails it.
    """
    # The check must look when the servers have gone, whatever the order of a test's arguments.
    if "asyncrev_leaks" in request.fixturenames:
        request.getfixturevalue("asyncrev_leaks")
    with contextlib.ExitStack() as servers:

        def start(*args: Any, **settings: Any) -> ServerThread:
            return servers.enter_context(ServerThread(*args, **settings))

        yield start
