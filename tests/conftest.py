"""Every test leaves the process as it found it; async tests name the loops that they run on.

`@pytest.mark.asyncio` runs a test on every loop; `@pytest.mark.asyncio(loop_factories=["epoll"])`
on the named ones only.
"""

import asyncio
import asyncio.runners
import gc
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import trustme

from asyncrev import EpollEventLoop
from tests.support import wait_until

try:
    import uvloop
except ImportError:  # it has no wheel for this interpreter
    uvloop = None

# Nothing here is timed: on a busy machine an example may take long.
hypothesis.settings.register_profile(
    "asyncrev",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile("asyncrev")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_unhandled: list[dict[str, Any]] = []
_left_tasks: list[str] = []


def _recording(factory: LoopFactory) -> LoopFactory:
    """Return a factory of loops whose unhandled exceptions are kept for `nothing_is_left`."""

    def make() -> asyncio.AbstractEventLoop:
        loop = factory()
        loop.set_exception_handler(lambda _, context: _unhandled.append(context))
        return loop

    return make


LOOPS: dict[str, LoopFactory] = {
    "epoll": _recording(EpollEventLoop),
    "asyncio": _recording(asyncio.SelectorEventLoop),
}
if uvloop is not None:
    uvloop.new_event_loop().close()  # libuv keeps a signal pipe from its first loop on, for good
    LOOPS["uvloop"] = _recording(uvloop.new_event_loop)


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, LoopFactory]:
    """Tell pytest-asyncio which loops there are."""
    return LOOPS


def pytest_collection_finish() -> None:
    """Keep what imports made out of later collections, which took most of the suite's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def loop_errors() -> list[dict[str, Any]]:
    """The contexts that loops' exception handlers got; a test that expects some clears them."""
    return _unhandled


@pytest.fixture(scope="session")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server, and for a client that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass  # the listing's own descriptor
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail on unhandled loop exceptions, and on tasks, threads and descriptors left behind."""
    cancel_all = asyncio.runners._cancel_all_tasks

    def note_and_cancel_all(loop: asyncio.AbstractEventLoop) -> None:
        _left_tasks.extend(repr(task) for task in asyncio.all_tasks(loop))
        cancel_all(loop)

    monkeypatch.setattr(asyncio.runners, "_cancel_all_tasks", note_and_cancel_all)
    _unhandled.clear()
    _left_tasks.clear()
    gc.collect()
    threads = set(threading.enumerate())
    descriptors = _descriptors()

    yield

    assert not _unhandled, f"unhandled loop exceptions: {_unhandled}"
    assert not _left_tasks, f"tasks left: {_left_tasks}"
    wait_until(lambda: set(threading.enumerate()) <= threads, "its threads have ended")
    gc.collect()  # after the threads, whose last frames keep things alive
    gc.freeze()  # what is left now belongs to the session, and need not be looked through again
    left = {fd: what for fd, what in _descriptors().items() if descriptors.get(fd) != what}
    assert not left, f"descriptors left: {left}"
