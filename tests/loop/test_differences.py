"""loop: its docstring names every way in which it differs from asyncio's, and tests hold each."""

import asyncio
import contextvars
import importlib
import inspect
import os
import re
import socket
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from asyncrev.loop.transport import EpollTransport
from tests.support import until
from tests.wires import Plain, iterations, on_epoll, receive, small_pair, wire

# The tests of each difference; without a name of a module they are here.
TESTS = {
    "Platform": ["test_eventloop.test_loop_without_epoll_says_so"],
    "Selector": [
        "test_ends.test_selector_of_another_kind_is_refused_and_stays_open",
        "test_selector.test_select_returns_epolls_events_of_watches_and_registrations",
    ],
    "Descriptors": ["test_loop_has_one_descriptor_more_than_stock"],
    "Transports": [
        "test_stream_has_a_transport_of_ours",
        "test_eventloop.test_tls_echo_through_create_server_and_create_connection",
    ],
    "Writes": [
        "test_write_side.test_write_when_the_source_is_overwritten_at_once_sends_the_old_bytes",
        "test_write_side.test_writelines_when_the_sources_are_overwritten_at_once_sends_the_old_bytes",
    ],
    "Views": ["test_write_side.test_write_of_a_view_of_any_shape_sends_its_bytes"],
    "Reset": [
        "test_transport.test_reset_while_reading_is_paused_is_noticed",
        "test_reset_after_the_end_of_input_is_noticed",
    ],
    "Pauses": ["test_input_polled_before_a_pause_and_a_resume_is_read_in_its_iteration"],
    "Contexts": ["test_resume_in_another_context_keeps_that_of_the_connection"],
    "Ends": [
        "test_connection_lost_behind_a_write_buffer_comes_an_iteration_after_it",
        "test_write_side.test_write_eof_on_a_socket_that_cannot_shut_loses_the_connection",
    ],
    "Interrupts": [
        "test_transport.test_system_exit_in_a_callback_ends_the_loop_and_the_stream",
        "test_transport.test_interrupt_of_a_receive_ends_the_stream_too",
        "test_write_side.test_system_exit_out_of_send_passes_through_and_ends_the_stream",
    ],
    "Polls": [
        "test_eventloop.test_three_hundred_ready_descriptors_are_all_served",
        "test_selector.test_select_of_more_than_it_returns_serves_the_rest_next",
    ],
    "Handles": [
        "test_ready_streams_of_a_poll_are_one_entry_of_the_queue",
        "test_eventloop.test_slow_callback_of_a_protocol_is_reported_in_debug_mode",
        "test_order.test_random_programs_run_in_the_order_of_the_stock_loop",
    ],
    "Hooks": [
        "test_iterations.test_iteration_hooks_run_around_every_poll_in_the_order_they_were_added",
        "test_iterations.test_wake_from_another_thread_begins_an_iteration",
        "test_ready_batches.test_handler_gets_its_events_up_to_the_next_of_another_in_order",
    ],
}


def test_every_difference_that_is_stated_has_its_tests() -> None:
    """And no other has; each test is there."""
    stated = re.findall(r"^- \*\*(\w+)\*\*: ", inspect.getdoc(EpollEventLoop) or "", re.M)
    assert stated == list(TESTS)
    for test in (test for tests in TESTS.values() for test in tests):
        module, _, name = test.rpartition(".")
        found = importlib.import_module(f"tests.loop.{module}" if module else __name__)
        assert callable(getattr(found, name, None)), test


def test_loop_has_one_descriptor_more_than_stock() -> None:
    """For `wake`."""
    before = len(os.listdir("/proc/self/fd"))
    loops = [asyncio.SelectorEventLoop(), EpollEventLoop()]
    after = len(os.listdir("/proc/self/fd"))
    for loop in loops:
        loop.close()
    assert after - before == 3 + 4
    assert len(os.listdir("/proc/self/fd")) == before


@on_epoll
async def test_stream_has_a_transport_of_ours() -> None:
    """Which tells what it is and what state it is in."""
    async with wire(Plain()) as (transport, _):
        assert type(transport) is EpollTransport
        assert re.fullmatch(
            r"<EpollTransport open fd=\d+ reading write_buffer=0 bytes>", repr(transport)
        )


@on_epoll
async def test_reset_after_the_end_of_input_is_noticed() -> None:
    """A peer that has shut its sending side, and then goes without taking what we have."""
    protocol = Plain(keep_open=True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        mine = socket.create_connection(listening.getsockname())
        peer, _ = listening.accept()
    async with wire(protocol, lambda: (mine, peer)) as (transport, _):
        peer.shutdown(socket.SHUT_WR)
        await iterations(4)
        assert protocol.calls == ["made", "eof"]
        transport.write(b"never read")
        await iterations(2)
        peer.close()
        await until_lost(protocol)
    assert isinstance(protocol.error, ConnectionError)


@on_epoll
async def test_input_polled_before_a_pause_and_a_resume_is_read_in_its_iteration() -> None:
    """Both come ready in one poll; the first pauses and resumes the second."""
    order: list[str] = []
    streams: list[Any] = []

    class Pausing(Plain):
        def data_received(self, data: bytes) -> None:
            order.append("data")
            for other in streams:
                if other is not self:
                    other.transport.pause_reading()
                    other.transport.resume_reading()

    streams += [Pausing(), Pausing()]
    async with wire(streams[0]) as (_, peer_0), wire(streams[1]) as (_, peer_1):
        await iterations(2)
        peer_0.send(b"x")
        peer_1.send(b"x")
        asyncio.get_running_loop().call_soon(
            lambda: asyncio.get_running_loop().call_soon(order.append, "next iteration")
        )
        await iterations(3)
        assert order == ["data", "data", "next iteration"]


@on_epoll
async def test_resume_in_another_context_keeps_that_of_the_connection() -> None:
    """The context is not copied again at every resume."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    class Looking(Plain):
        def data_received(self, data: bytes) -> None:
            seen.append(variable.get())

    variable.set("connecting")
    async with wire(Looking()) as (transport, peer):
        transport.pause_reading()
        await iterations(2)
        variable.set("resuming")
        transport.resume_reading()
        peer.send(b"x")
        await iterations(4)
    assert seen == ["connecting"]


@on_epoll
async def test_connection_lost_behind_a_write_buffer_comes_an_iteration_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never out of the write that empties it."""
    calls_at_end: list[list[str]] = []
    protocol = Plain()
    async with wire(protocol, small_pair) as (transport, peer):
        lose = transport._lose

        def noting_lose(_: object, error: BaseException | None) -> None:
            lose(error)
            calls_at_end.append(list(protocol.calls))

        monkeypatch.setattr(type(transport), "_lose", noting_lose)
        transport.write(bytes(50_000))
        transport.close()
        assert len(await receive(peer)) == 50_000
        await until_lost(protocol)
    assert calls_at_end == [[call for call in protocol.calls if call != "lost"]]


@on_epoll
@pytest.mark.parametrize("debug", [False, True])
async def test_ready_streams_of_a_poll_are_one_entry_of_the_queue(debug: bool) -> None:
    """In debug mode each has a Handle, by which it is timed."""
    loop: Any = asyncio.get_running_loop()
    loop.set_debug(debug)
    protocols = [Plain() for _ in range(3)]
    async with (
        wire(protocols[0]) as (_, peer_0),
        wire(protocols[1]) as (_, peer_1),
        wire(protocols[2]) as (_, peer_2),
    ):
        await iterations(2)
        for peer in (peer_0, peer_1, peer_2):
            peer.send(b"x")
        before = len(loop._ready)
        loop._process_events(loop._selector.select(0))
        assert len(loop._ready) - before == (3 if debug else 1)
        await iterations(2)
        assert [bytes(protocol.data) for protocol in protocols] == [b"x"] * 3


async def until_lost(protocol: Plain) -> None:
    """Wait for the end of the connection of `protocol`."""
    await until(lambda: "lost" in protocol.calls, "it is lost")
