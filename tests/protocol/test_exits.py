"""SystemExit and its like, raised by processors, sinks and exception handlers."""

import asyncio
import signal
import socket
import threading
from typing import Any

import pytest

from asyncrev import Bridge, EpollEventLoop, Limits
from asyncrev.errors import BridgeStopped
from tests.protocol.served import connect, in_thread, serve
from tests.sinks import RecordingSink, Upper
from tests.support import ask, receive_all, until

EXITS = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]


class Exits:
    """Answers in capitals; raises `raised` in the method called `where`."""

    where = "process"
    raised: type[BaseException] = SystemExit

    def __init__(self) -> None:
        self._exit("__init__")

    def _exit(self, where: str) -> None:
        if self.where == where:
            raise self.raised(where)

    def process(self, chunk: memoryview) -> bytes:
        """Answer in capitals; a chunk with an exclamation mark brings the exit out."""
        if b"!" in bytes(chunk):
            self._exit("process")
        return bytes(chunk).upper()

    def eof(self) -> bytes:
        """Answer with a full stop."""
        self._exit("eof")
        return b"."

    def close(self) -> None:
        """Let go of nothing."""
        self._exit("close")


@pytest.fixture(params=EXITS)
def raised(request: pytest.FixtureRequest) -> type[BaseException]:
    """One of the exceptions that are not an Exception."""
    kind: type[BaseException] = request.param
    return kind


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["__init__", "process", "eof", "close"])
async def test_exit_out_of_a_processor_ends_its_connection_only(
    where: str,
    raised: type[BaseException],
    loop_errors: list[dict[str, Any]],
) -> None:
    """Another connection is answered before and after; the handler gets it; the drain is clean."""
    made: list[Exits] = []

    class Second(Exits):
        def __init__(self) -> None:
            self.where = where if made else ""
            self.raised = raised
            made.append(self)
            super().__init__()

    async with await serve(Second) as server:
        with connect(server) as other:
            assert await in_thread(ask, other, b"abc") == b"ABC"
            with connect(server) as client:
                if where in ("__init__", "process"):
                    client.sendall(b"x!")
                else:
                    assert await in_thread(ask, client, b"x!") == b"X!"
                    client.shutdown(socket.SHUT_WR)
                ends = await in_thread(receive_all, client)
                assert ends == (b"." if where == "close" else b"")
            await until(lambda: len(server.connections) == 1, "it has gone")
            await until(lambda: loop_errors, "it is reported")
            assert await in_thread(ask, other, b"def") == b"DEF"
            assert server.bridges[0].is_running
            Second.where = ""
            made[0].where = ""
        assert await server.drain()
    assert {type(context["exception"]) for context in loop_errors} == {raised}
    loop_errors.clear()


@pytest.mark.asyncio
async def test_exit_out_of_close_while_the_bridge_ends_is_logged_and_the_end_announced(
    raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """`close` returns, the thread has ended, every sink hears of it."""

    class ExitsAtClose(Exits):
        where = "close"

    ExitsAtClose.raised = raised
    bridge = Bridge(Limits(slots=4, slot_bytes=16))
    bridge.start()
    bad, good = RecordingSink(bridge, ExitsAtClose), RecordingSink(bridge, Upper)
    bad.send(b"abc")
    good.send(b"def")
    await until(lambda: bad.received and good.received, "both are answered")
    await bridge.close(5.0)
    assert not bridge.parts.worker.is_alive()
    assert [type(error) for sink in (bad, good) for error in sink.errors] == [BridgeStopped] * 2
    assert "a processor's close() failed while its bridge ended" in caplog.text
    caplog.clear()  # the record has the traceback, hence the bridge


class ExitingSink(RecordingSink):
    """Raises `raised` in the method named `fail_in`."""

    raised: type[BaseException] = SystemExit

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.fail_in:
            raise self.raised(call)


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["reply", "end", "error", "credit"])
async def test_exit_out_of_a_sink_costs_others_nothing(
    where: str, raised: type[BaseException], loop_errors: list[dict[str, Any]]
) -> None:
    """It is reported, told that it failed, and every entry is released."""

    class Fails(Upper):
        def process(self, chunk: memoryview) -> bytes:
            raise ValueError("deliberate")

    limits = Limits(slots=4, entries=4, slot_bytes=8, in_flight_bytes=16)
    async with Bridge(limits) as bridge:
        ExitingSink.raised = raised
        bad = ExitingSink(bridge, Fails if where == "error" else Upper, fail_in=where)
        good = RecordingSink(bridge)
        for _ in range(4):
            bad.send(b"12345678")
        bad.end()
        good.send(b"good")
        good.end()
        await until(lambda: good.is_over, "the good one is over")
        assert good.received == b"GOOD."
        await until(
            lambda: bridge.statistics().released == bridge.statistics().published,
            "everything is released",
        )
        assert where in bad.calls
        assert bad.errors
    assert raised in {type(context["exception"]) for context in loop_errors}
    loop_errors.clear()


@pytest.mark.asyncio
async def test_exception_handler_that_exits_leaves_no_connection_open(
    raised: type[BaseException],
    caplog: pytest.LogCaptureFixture,
    loop_errors: list[dict[str, Any]],
) -> None:
    """The connection whose processor failed is closed, others are answered."""

    def handler(loop: Any, context: dict[str, Any]) -> None:
        raise raised("of the handler")

    async with await serve(Exits) as server:
        asyncio.get_running_loop().set_exception_handler(handler)
        try:
            with connect(server) as client, connect(server) as other:
                client.sendall(b"x!")
                assert await in_thread(receive_all, client) == b""
                assert await in_thread(ask, other, b"abc") == b"ABC"
        finally:
            asyncio.get_running_loop().set_exception_handler(None)
    of_asyncio = "Unhandled error in exception handler"  # what is raised by no exit
    assert "the loop's exception handler failed" in caplog.text or of_asyncio in caplog.text
    caplog.clear()
    loop_errors.clear()


@pytest.mark.parametrize("factory", [EpollEventLoop, asyncio.SelectorEventLoop])
def test_interrupt_that_may_be_the_users_stops_the_loop_once_all_is_delivered(
    factory: Any, loop_errors: list[dict[str, Any]]
) -> None:
    """With Python's own handler of SIGINT, KeyboardInterrupt may be Ctrl-C: it is not swallowed."""
    assert threading.current_thread() is threading.main_thread()
    loop = factory()
    loop.set_exception_handler(lambda _, context: loop_errors.append(context))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        bridge = Bridge(Limits(slots=4, slot_bytes=16))

        sinks: list[ExitingSink] = []

        async def wait_for_the_interrupt() -> None:
            bridge.start()
            for fail_in, data in (("reply", b"a"), ("", b"b")):
                sinks.append(ExitingSink(bridge, fail_in=fail_in))
                sinks[-1].raised = KeyboardInterrupt
                sinks[-1].send(data)
            await until(lambda: False, "the loop is interrupted")

        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(wait_for_the_interrupt())
        interrupted, other = sinks
        loop.run_until_complete(until(lambda: other.received, "the other is answered"))
        assert (interrupted.received, other.received) == (b"A", b"B")
        assert [type(error) for error in interrupted.errors] == [KeyboardInterrupt]
        loop.run_until_complete(bridge.close())
        assert [context["message"] for context in loop_errors] == ["a sink of the bridge raised"]
        loop_errors.clear()
    finally:
        signal.signal(signal.SIGINT, before)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
