"""protocol: BridgeProtocol answers in order and ends in order, on every loop."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from asyncrev import Bridge, BridgeProtocol, Limits, Reverse
from asyncrev.errors import ProcessorError
from asyncrev.states import ConnectionState
from tests.protocol.served import (
    KIND,
    SMALL,
    Swapcase,
    both_families,
    half_closes,
    in_thread,
    letters,
    plain_only,
    served,
    tcp_only,
)
from tests.support import receive_all, receive_exactly, until

on_all = pytest.mark.asyncio


def ask(client: socket.socket, data: bytes) -> bytes:
    """Send `data`, half-close if the connection can, and return everything that comes back."""
    with client:
        client.sendall(data)
        if KIND == "loop-tls":
            return receive_exactly(client, len(data))
        client.shutdown(socket.SHUT_WR)
        return receive_all(client)


@on_all
@both_families
async def test_chunks_come_back_reversed_in_order(kind: str) -> None:
    """One by one, so that the network does not join them."""

    def talk(client: socket.socket) -> None:
        with client:
            for text in (b"hello", b"x", b"0123456789" * 90):
                client.sendall(text)
                assert receive_exactly(client, len(text)) == text[::-1]

    async with served(Reverse, kind=kind) as server:
        await in_thread(talk, server.connect())
        await until(lambda: server.connections[0].state is ConnectionState.LOST, "it is lost")
        if kind != "tls":
            connection = server.connections[0]
            assert connection.received_bytes == connection.replied_bytes == 906


@on_all
@half_closes
@both_families
@pytest.mark.parametrize("nbytes", [0, 1, 1024, 100_000])
async def test_half_close_is_answered_in_full(kind: str, nbytes: int) -> None:
    """Every byte, then the end of stream."""
    async with served(kind=kind) as server:
        answer = await in_thread(ask, server.connect(), letters(nbytes))
        assert answer == letters(nbytes).swapcase()
        await until(lambda: server.connections[0].state is ConnectionState.LOST, "it is lost")
        assert server.connections[0].abort_reason is None


@on_all
@tcp_only
async def test_client_with_bridge_protocol_answers_its_server() -> None:
    """create_connection: here the bridge is on the side that dialled."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with Bridge(SMALL) as bridge:
            transport, connection = await loop.create_connection(
                lambda: BridgeProtocol(bridge), *listening.getsockname()
            )
            far, _ = await in_thread(listening.accept)
            far.settimeout(10)
            assert await in_thread(ask, far, b"palindrome") == b"emordnilap"
            await until(lambda: connection.state is ConnectionState.LOST, "it is lost")
            assert transport.is_closing()


@on_all
@tcp_only
async def test_tls_is_answered_byte_for_byte(contexts: Any) -> None:
    """More than the ring holds; replies are bytes there, because TLS keeps views."""

    def talk(client: socket.socket) -> None:
        with contexts[1].wrap_socket(client, server_hostname="localhost") as tls:
            for seed in range(8):
                data = letters(15_000, seed)
                tls.sendall(data)
                assert receive_exactly(tls, len(data)) == data.swapcase()

    async with served(ssl=contexts[0]) as server:
        await in_thread(talk, server.connect())
        await until(lambda: server.connections[0].state is ConnectionState.LOST, "it is lost")


@on_all
@tcp_only
async def test_tls_transport_that_is_closing_is_not_closed_once_more(contexts: Any) -> None:
    """asyncio's own raised from then on when it was asked what is unsent, as `abort` does."""

    def talk(client: socket.socket) -> None:
        with contexts[1].wrap_socket(client, server_hostname="localhost") as tls:
            tls.sendall(b"abc")
            assert receive_exactly(tls, 3) == b"ABC"
            assert tls.recv(1) == b""

    async with served(ssl=contexts[0]) as server:
        talking = asyncio.ensure_future(in_thread(talk, server.connect()))
        await until(
            lambda: server.connections and server.connections[0].replied_bytes, "it is answered"
        )
        connection = server.connections[0]
        end = connection.on_end

        def end_while_closing() -> None:
            connection._transport.close()  # as asyncio does when the peer has ended
            end()
            connection.abort("the test says so", None)

        connection.on_end = end_while_closing
        connection.eof_received()
        await talking
        await until(lambda: connection.state is ConnectionState.LOST, "it is lost")
        assert connection.abort_reason == "the test says so"


# -- processors ----------------------------------------------------------------------------------


class Failing(Swapcase):
    """Fails at a chunk that has an exclamation mark."""

    def process(self, chunk: memoryview) -> bytes:
        if b"!" in bytes(chunk):
            raise ZeroDivisionError("!")
        return super().process(chunk)


@on_all
@both_families
async def test_processor_that_raises_closes_only_its_connection(
    kind: str, loop_errors: list[dict[str, Any]]
) -> None:
    """Earlier replies arrive, then the end; the handler is told which; a neighbour is served."""

    def talk(client: socket.socket, neighbour: socket.socket) -> None:
        with client, neighbour:
            client.sendall(b"abc")
            assert receive_exactly(client, 3) == b"ABC"
            client.sendall(b"!")
            assert receive_all(client) == b""
            neighbour.sendall(b"fine")
            assert receive_exactly(neighbour, 4) == b"FINE"

    async with served(Failing, kind=kind) as server:
        await in_thread(talk, server.connect(), server.connect())
        (context,) = loop_errors
        assert isinstance(context["exception"], ZeroDivisionError)
        assert context["protocol"].abort_reason == "processor error"
        assert context["transport"] is context["protocol"]._transport
        loop_errors.clear()
        assert server.bridge.statistics().processor_errors == 1


@on_all
@plain_only
async def test_processor_that_raises_before_the_end_of_input_is_reported_once(
    loop_errors: list[dict[str, Any]],
) -> None:
    """Data and end arrive together, so the end is in the ring when the error comes back."""
    gate = threading.Event()

    class Gated(Failing):
        def process(self, chunk: memoryview) -> bytes:
            assert gate.wait(10)
            return super().process(chunk)

    async with served(Gated) as server:
        client = server.connect()
        asking = asyncio.create_task(in_thread(ask, client, b"!"))
        await until(lambda: server.bridge.statistics().published == 2, "the end is published")
        gate.set()
        assert await asking == b""
        await until(lambda: server.connections[0].state is ConnectionState.LOST, "it is lost")
        assert [type(context["exception"]) for context in loop_errors] == [ZeroDivisionError]
        loop_errors.clear()


class Results:
    """Answers with one kind of result after another."""

    has_begun = threading.Event()

    def __init__(self) -> None:
        self.count = 0

    def process(self, chunk: memoryview) -> Any:
        self.count += 1
        if self.count == 1:
            self.has_begun.set()
            return None
        if self.count == 2:
            return bytearray(b"bytearray ")
        if self.count == 3:
            return b"bytes "
        if self.count == 4:
            return chunk[1:]
        if self.count == 5:
            return memoryview(b"a-b-c-").cast("B")[::2]
        if self.count == 6:
            return memoryview(b"12345678").cast("I")
        return "text"

    def eof(self) -> bytes:
        return b" the end"


@on_all
@half_closes
async def test_processor_may_return_every_kind_of_buffer(
    loop_errors: list[dict[str, Any]],
) -> None:
    """What is no buffer is an error of that connection."""
    expected = [b"", b"bytearray ", b"bytes ", b"iew", b"abc", b"12345678"]

    def talk(client: socket.socket, wrong: bool) -> None:
        for reply in expected:
            client.sendall(b"view" if reply else b"?")
            if not reply:
                assert Results.has_begun.wait(10)
            assert receive_exactly(client, len(reply)) == reply
        if wrong:
            client.sendall(b"x")
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == (b"" if wrong else b" the end")
        client.close()

    async with served(Results) as server:
        for wrong in (False, True):
            Results.has_begun.clear()
            await in_thread(talk, server.connect(), wrong)
        (context,) = loop_errors
        assert isinstance(context["exception"], ProcessorError)
        loop_errors.clear()


@on_all
async def test_function_is_a_processor() -> None:
    """From bytes to bytes, a chunk at a time."""
    async with served(bytes.upper) as server:
        assert await in_thread(ask, server.connect(), letters(5000)) == letters(5000).upper()


# -- a bridge that has ended ----------------------------------------------------------------------


@on_all
@tcp_only
async def test_bridge_that_does_not_run_refuses_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a log line; the peer sees the end."""
    loop = asyncio.get_running_loop()
    bridge = Bridge(SMALL)
    server = await loop.create_server(lambda: BridgeProtocol(bridge), "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())

    def see_the_end() -> bytes:
        with client:
            try:
                return client.recv(1)
            except ConnectionResetError:
                return b""

    assert await in_thread(see_the_end) == b""
    assert "never started" in caplog.text
    caplog.clear()  # the error in the record keeps the bridge alive
    server.close()
    await server.wait_closed()


@on_all
async def test_bridge_that_stops_closes_its_connections() -> None:
    """Without a report: it is the program's own wish."""
    async with served() as server:
        client = server.connect()
        await until(
            lambda: server.connections and server.connections[0].state is ConnectionState.OPEN,
            "it is open",
        )
        await server.bridge.close()
        assert await in_thread(receive_all, client) == b""
        client.close()
        await until(lambda: server.connections[0].state is ConnectionState.LOST, "it is lost")
        assert server.connections[0].abort_reason == "bridge ended"


@on_all
async def test_many_connections_on_the_tiniest_rings() -> None:
    """I9: with 1 and with 2 slots, every connection gets all its own bytes."""
    for slots in (1, 2):
        limits = Limits(
            slots=slots, entries=slots, slot_bytes=512, in_flight_bytes=512, high_water_bytes=512
        )
        async with served(limits=limits) as server:
            answers = await asyncio.gather(
                *(in_thread(ask, server.connect(), letters(6000, seed)) for seed in range(12))
            )
            for seed, answer in enumerate(answers):
                assert answer == letters(6000, seed).swapcase()
            assert server.bridge.statistics().overflows
