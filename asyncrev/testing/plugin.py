"""pytest fixtures: `asyncrev_server` and `asyncrev_leaks`.

Enable it with `pytest_plugins = ["asyncrev.testing.plugin"]` in the top-level conftest.py, or with
`pytest -p asyncrev.testing.plugin`. It has no entry point, which would load asyncrev and NumPy into
every run of pytest in the environment.
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
    """Fail the test if it leaves descriptors, threads, tasks or unhandled loop exceptions."""
    with LeakCheck() as check:
        yield check


@pytest.fixture
def asyncrev_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., ServerThread]]:
    """Return a factory of running servers, each on a free port; see `ServerThread`.

    The servers drain and close at the end of the test, and their failures fail it.
    """
    # The leak check must run after the servers have ended, whatever the order of a test's
    # arguments.
    if "asyncrev_leaks" in request.fixturenames:
        request.getfixturevalue("asyncrev_leaks")
    with contextlib.ExitStack() as servers:

        def start(*args: Any, **settings: Any) -> ServerThread:
            return servers.enter_context(ServerThread(*args, **settings))

        yield start
