"""life: a bridge's loop, and the start and the end of its worker."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asyncrev import Bridge, EpollEventLoop, Limits
from asyncrev.errors import BridgeStopped, LocalError, WorkerDied, WorkerHung
from asyncrev.ring.loop_side import LoopSide
from tests.sinks import Held, RecordingSink, Upper
from tests.support import DEADLINE_S, until, wait_until

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])
LIMITS = Limits(slots=4, entries=4, slot_bytes=8)
LOOPS = pytest.mark.parametrize("factory", [EpollEventLoop, asyncio.SelectorEventLoop])


@EPOLL
async def test_start_twice_is_refused() -> None:
    """A bridge serves one loop, once; while it runs and after."""
    async with Bridge(LIMITS) as bridge:
        with pytest.raises(LocalError, match="started before"):
            bridge.start()
    with pytest.raises(LocalError, match="started before"):
        bridge.start()


def test_start_without_a_loop_is_refused_and_can_be_made_up_for() -> None:
    """Made anywhere, started on a loop."""
    bridge = Bridge(LIMITS)
    with pytest.raises(RuntimeError, match="no running event loop"):
        bridge.start()

    async def main() -> None:
        async with bridge:
            assert bridge.is_running

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        runner.run(main())
    assert not bridge.is_running


@EPOLL
async def test_bridge_never_started_can_be_closed_and_stopped() -> None:
    """Nothing is there to end."""
    bridge = Bridge(LIMITS)
    await bridge.close()
    bridge.stop()
    await bridge.wait_ended()
    assert not bridge.is_running
    assert bridge.error is None
    async with bridge:
        assert bridge.is_running


@EPOLL
async def test_worker_thread_has_the_name_given() -> None:
    """It is what a debugger shows."""
    async with Bridge(LIMITS, name="my-worker"):
        assert "my-worker" in [thread.name for thread in threading.enumerate()]


@EPOLL
async def test_stop_blocks_on_the_loop_and_the_lanes_are_told_later() -> None:
    """The loop's own thread may stop it, more than once."""
    bridge = Bridge(LIMITS)
    bridge.start()
    sink = RecordingSink(bridge)
    sink.send(b"ab")
    bridge.stop()
    bridge.stop()
    assert not bridge.parts.worker.is_alive()
    await bridge.wait_ended()
    await until(lambda: sink.errors, "the lane was told")
    assert sink.received == b"AB"


@pytest.mark.asyncio
async def test_stop_from_another_thread_is_the_same() -> None:
    """Even two at once."""
    bridge = Bridge(LIMITS)
    bridge.start()
    sink = RecordingSink(bridge)
    sink.send(b"ab")
    with ThreadPoolExecutor(2) as pool:
        stops = [asyncio.wrap_future(pool.submit(bridge.stop)) for _ in range(2)]
        await asyncio.gather(*stops)
    await bridge.wait_ended()
    assert sink.received == b"AB"
    assert type(sink.errors[0]) is BridgeStopped


class Stops(Upper):
    """A processor that ends a bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def process(self, chunk: memoryview) -> bytes:
        """Stop, then answer in capitals."""
        self.bridge.stop()
        return super().process(chunk)


@EPOLL
async def test_stop_from_the_workers_own_thread_does_not_wait_for_itself() -> None:
    """A processor may end the bridge that runs it; its reply is still given."""
    bridge = Bridge(LIMITS)
    bridge.start()
    sink = RecordingSink(bridge, lambda: Stops(bridge))
    sink.send(b"ab")
    await bridge.wait_ended()
    assert sink.received == b"AB"


@LOOPS
def test_stop_when_the_loop_does_not_run_ends_the_worker(factory: type) -> None:
    """Between two runs of a loop, from its thread or another; a later run tells the lanes."""
    with asyncio.Runner(loop_factory=factory) as runner:

        async def start() -> tuple[Bridge, RecordingSink]:
            bridge = Bridge(LIMITS)
            bridge.start()
            return bridge, RecordingSink(bridge)

        bridge, sink = runner.run(start())
        bridge.stop()
        assert not bridge.parts.worker.is_alive()
        assert not sink.errors
        runner.run(bridge.close())
        assert type(sink.errors[0]) is BridgeStopped


@EPOLL
async def test_close_closes_the_processors_of_open_lanes_on_the_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each once, one that fails does not cost the others, and it is logged."""
    closed: list[str] = []

    class Closes(Upper):
        def close(self) -> None:
            closed.append(threading.current_thread().name)
            raise ValueError("in close")

    async with Bridge(LIMITS, name="the-worker") as bridge:
        sinks = [RecordingSink(bridge, Closes) for _ in range(2)]
        for sink in sinks:
            sink.send(b"a")
        await until(lambda: all(sink.received for sink in sinks), "both processors exist")
    assert closed == ["the-worker"] * 2
    assert caplog.text.count("ValueError: in close") == 2
    caplog.clear()  # the tracebacks keep the bridge alive


@EPOLL
async def test_start_without_a_thread_to_be_had_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bridge that did not start is as new."""
    bridge = Bridge(LIMITS)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        with pytest.raises(RuntimeError, match="no thread"):
            bridge.start()
    async with bridge:
        sink = RecordingSink(bridge)
        sink.send(b"a")
        await until(lambda: sink.received == b"A", "it is answered")


def _no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("no thread")


@EPOLL
async def test_hung_processor_is_told_as_worker_hung() -> None:
    """`close` and `stop` name the thread and the time, and a later close succeeds."""
    bridge = Bridge(LIMITS, name="hung-worker")
    bridge.start()
    held = Held()
    sink = RecordingSink(bridge, lambda: held)
    sink.send(b"a")
    await until(held.entered.is_set, "the worker has begun")
    with pytest.raises(WorkerHung, match=r"'hung-worker' did not end in 0\.01 s"):
        await bridge.close(0.01)
    with pytest.raises(WorkerHung, match=r"'hung-worker' did not end in 0\.02 s"):
        bridge.stop(0.02)
    assert bridge.is_running
    held.go.set()
    await bridge.close()
    assert sink.received == b"A"


@pytest.mark.asyncio
@pytest.mark.usefixtures("broken_lane")
async def test_worker_death_is_reported_once_and_told_to_every_sink(
    loop_errors: list[dict[str, Any]],
) -> None:
    """Answers given before it are delivered; the cause is chained; the bridge is over."""
    bridge = Bridge(LIMITS)
    bridge.start()
    sinks = [RecordingSink(bridge) for _ in range(3)]
    sinks[0].send(b"fine")
    sinks[1].send(b"die")
    sinks[2].send(b"lost")
    await until(lambda: all(sink.errors for sink in sinks), "all are told")
    assert [bytes(sink.received) for sink in sinks] == [b"FINE", b"", b""]
    for sink in sinks:
        (error,) = sink.errors
        assert type(error) is WorkerDied
        assert "a defect" in str(error)
        assert type(error.__cause__) is RuntimeError
    assert bridge.error is sinks[0].errors[0]
    assert not bridge.is_running
    with pytest.raises(BridgeStopped):
        RecordingSink(bridge)
    await bridge.close()
    bridge.stop()
    (context,) = loop_errors
    assert "worker thread of a bridge died" in context["message"]
    assert context["exception"] is bridge.error
    loop_errors.clear()


@EPOLL
@pytest.mark.usefixtures("broken_lane")
async def test_worker_death_with_a_full_ring_leaves_nobody_waiting(
    loop_errors: list[dict[str, Any]],
) -> None:
    """Those who wait for a slot are told, and are not fed into a ring that nobody reads."""
    bridge = Bridge(Limits(slots=1, entries=1, slot_bytes=8))
    bridge.start()
    dies, waits = RecordingSink(bridge), RecordingSink(bridge)
    dies.send(b"die")
    waits.send(b"overflow")
    await until(lambda: dies.errors and waits.errors, "both are told")
    assert bridge.statistics().waiting_lanes == 0
    assert bridge.statistics().published == 1
    loop_errors.clear()


@LOOPS
def test_loop_closed_under_a_running_bridge_is_logged_and_does_not_hang(
    factory: type, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker ends by itself, when it finds nobody to answer to."""
    held = Held()

    async def start() -> Bridge:
        bridge = Bridge(LIMITS)
        bridge.start()
        RecordingSink(bridge, lambda: held).send(b"a")
        await until(held.entered.is_set, "the worker has begun")
        return bridge

    with caplog.at_level(logging.ERROR, "asyncrev"):
        with asyncio.Runner(loop_factory=factory) as runner:
            bridge = runner.run(start())
        held.go.set()
        bridge.stop(DEADLINE_S)
        wait_until(lambda: not bridge.parts.worker.is_alive(), "the worker has ended")
    (record,) = caplog.records
    assert record.getMessage() == (
        "the event loop was closed under a bridge with 1 unanswered entries; close the bridge first"
    )


@LOOPS
def test_loop_closed_under_an_idle_bridge_is_nobodys_loss(
    factory: type, caplog: pytest.LogCaptureFixture
) -> None:
    """With everything answered there is nothing to say; `stop` still ends the thread."""

    async def start() -> Bridge:
        bridge = Bridge(LIMITS)
        bridge.start()
        sink = RecordingSink(bridge)
        sink.send(b"a")
        await until(lambda: sink.received, "it was answered")
        await until(lambda: bridge.statistics().released == 1, "it is released")
        return bridge

    with caplog.at_level(logging.ERROR, "asyncrev"):
        with asyncio.Runner(loop_factory=factory) as runner:
            bridge = runner.run(start())
        bridge.stop(DEADLINE_S)
        assert not bridge.parts.worker.is_alive()
    assert not caplog.records


@EPOLL
async def test_close_that_is_cancelled_can_be_called_again() -> None:
    """Waiting for the end is not ending."""
    bridge = Bridge(LIMITS)
    bridge.start()
    held = Held()
    RecordingSink(bridge, lambda: held).send(b"a")
    await until(held.entered.is_set, "the worker has begun")
    closing = asyncio.ensure_future(bridge.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    held.go.set()
    await bridge.close()
    assert not bridge.is_running


@EPOLL
async def test_worker_ends_while_the_loop_takes_lanes_out() -> None:
    """On a free-threaded build an iteration on its thread may meet a change on the loop's."""

    class Changing(set[Any]):
        def __iter__(self) -> Any:
            if threading.current_thread() is not threading.main_thread():
                raise RuntimeError("Set changed size during iteration")
            return super().__iter__()

    async with Bridge(LIMITS) as bridge:
        bridge.parts.lanes._lanes = Changing()
        await bridge.close()
    assert bridge.error is None


@EPOLL
async def test_stop_from_another_thread_has_the_loop_close_the_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """I4: only the loop publishes, so only the loop can say that it has finished."""
    closers: list[threading.Thread] = []
    close = LoopSide.close

    def note_and_close(side: LoopSide) -> None:
        closers.append(threading.current_thread())
        close(side)

    monkeypatch.setattr(LoopSide, "close", note_and_close)
    bridge = Bridge(LIMITS)
    bridge.start()
    with ThreadPoolExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(bridge.stop))
    await bridge.wait_ended()
    assert set(closers) == {threading.current_thread()}


@EPOLL
@pytest.mark.usefixtures("broken_lane")
async def test_ends_are_told_in_whole_sentences(
    caplog: pytest.LogCaptureFixture, loop_errors: list[dict[str, Any]]
) -> None:
    """What users read in logs and tracebacks."""

    class Closes(Upper):
        def close(self) -> None:
            raise ValueError("in close")

    bridge = Bridge(LIMITS)
    with pytest.raises(BridgeStopped, match=r"^the bridge was never started$"):
        RecordingSink(bridge)
    async with bridge:
        with pytest.raises(LocalError, match=r"^this bridge was started before; make another one$"):
            bridge.start()
        sink = RecordingSink(bridge, Closes)
        sink.send(b"a")
        await until(lambda: sink.received, "the processor exists")
    assert str(sink.errors[0]) == "the bridge was stopped while this was open"
    with pytest.raises(BridgeStopped, match=r"^the bridge is stopped$"):
        RecordingSink(bridge)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["a processor's close() failed while its bridge ended"]
    caplog.clear()  # the traceback keeps the bridge alive
    async with Bridge(LIMITS) as bridge:
        RecordingSink(bridge).send(b"die")
        await until(lambda: loop_errors, "the death is reported")
    (context,) = loop_errors
    assert context["message"] == ("the worker thread of a bridge died; its connections are closed")
    loop_errors.clear()


@EPOLL
async def test_worker_that_hangs_is_told_with_the_cause() -> None:
    """The whole sentence."""
    bridge = Bridge(LIMITS, name="hung-worker")
    bridge.start()
    held = Held()
    RecordingSink(bridge, lambda: held).send(b"a")
    await until(held.entered.is_set, "the worker has begun")
    with pytest.raises(
        WorkerHung,
        match=r"^thread 'hung-worker' did not end in 0\.01 s: a processor does not return$",
    ):
        await bridge.close(0.01)
    held.go.set()
    await bridge.close()
