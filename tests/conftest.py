"""Every test leaves the process as it found it; async tests name the loops that they run on.

`@pytest.mark.asyncio` runs a test on every loop; `@pytest.mark.asyncio(loop_factories=["epoll"])`
on the named ones only. ASYNCREV_TEST_LOOPS names other loops than the usual three (`make matrix`);
then tests that name their loops run if theirs are among them.
"""

import asyncio
import gc
import os
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from asyncrev import EpollEventLoop
from asyncrev.testing.leaks import LeakCheck
from asyncrev.work.raw_work import RawWork
from tests.protocol.served import tls_contexts
from tests.support import DEADLINE_S

try:
    import aiofastnet
except ImportError:
    aiofastnet = None
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

# nohup(1) makes SIGHUP ignored here and in all processes that tests start, some of which must take
# it. A handler is not inherited, so those have the default, and this process still survives.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and (
    threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGHUP, lambda *_: None)

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

LEAKS = LeakCheck(deadline_s=DEADLINE_S, freeze=True)
_recording = LEAKS.recording  # of factories of loops


_all_loops: dict[str, LoopFactory] = {
    "epoll": _recording(EpollEventLoop),
    "asyncio": _recording(asyncio.SelectorEventLoop),
}
if uvloop is not None:
    uvloop.new_event_loop().close()  # libuv keeps a signal pipe from its first loop on, for good
    _all_loops["uvloop"] = _recording(uvloop.new_event_loop)
if aiofastnet is not None:
    _on_asyncio = aiofastnet.loop_factory(asyncio.SelectorEventLoop)
    _all_loops["aiofastnet"] = _recording(_on_asyncio)
    if uvloop is not None:
        _on_uvloop = aiofastnet.loop_factory(uvloop.new_event_loop)
        _all_loops["aiofastnet-uvloop"] = _recording(_on_uvloop)

_asked_for = os.environ.get("ASYNCREV_TEST_LOOPS")
LOOPS: dict[str, LoopFactory] = (
    {name: _all_loops[name] for name in _asked_for.split(",")}
    if _asked_for
    else {name: make for name, make in _all_loops.items() if "aiofastnet" not in name}
)


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, LoopFactory]:
    """Tell pytest-asyncio which loops there are."""
    return _all_loops if _loops_named_by(item) else LOOPS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that name their loops when none of these was asked for."""
    left_out = [item for item in items if not LOOPS.keys() & (_loops_named_by(item) or LOOPS)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def _loops_named_by(item: Any) -> list[str]:
    mark = item.get_closest_marker("asyncio")
    named: list[str] = (mark.kwargs.get("loop_factories") if mark is not None else None) or []
    return named


def pytest_collection_finish() -> None:
    """Keep what imports made out of later collections, which took most of the suite's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def loop_errors() -> list[dict[str, Any]]:
    """The contexts that loops' exception handlers got; a test that expects some clears them."""
    return LEAKS.unhandled


@pytest.fixture(scope="session")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server, and for a client that trusts it."""
    return tls_contexts()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[LeakCheck]:
    """Fail on unhandled loop exceptions, and on tasks, threads and descriptors left behind."""
    with LEAKS:
        yield LEAKS


@pytest.fixture
def snippet_names() -> Iterator[dict[str, Any]]:
    """What snippets define; emptied in the end, for CPython 3.13t never frees their classes."""
    defined: dict[str, Any] = {}
    yield defined
    defined.clear()


@pytest.fixture
def broken_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `LaneWork.do` a defect of this package that the word "die" brings out."""
    do = RawWork.do

    def do_or_die(work: RawWork, entry: Any, *args: Any) -> None:
        if bytes(entry.view[: entry.nbytes]) == b"die":
            raise RuntimeError("a defect")
        do(work, entry, *args)

    monkeypatch.setattr(RawWork, "do", do_or_die)
