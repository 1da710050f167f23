"""A processor that is told who its peer is: greets, refuses, and sees what TLS has negotiated."""

import functools
import logging
import os
import socket
import struct
from typing import Any

import pytest

from asyncrev import Bridge, BridgeProtocol, ConnectionInfo, Limits, PeerRefused
from tests.framed import framed
from tests.protocol.served import (
    KIND,
    SMALL,
    Swapcase,
    connect_to,
    every_kind,
    half_closes,
    in_thread,
    resets,
    serve,
    served,
    skip_without,
    tcp_only,
)
from tests.support import ask, receive_all, receive_exactly, until

pytestmark = pytest.mark.asyncio


class Greeter(Swapcase):
    """Greets, and keeps whom it has greeted."""

    seen: list[ConnectionInfo]

    def connected(self, info: ConnectionInfo) -> bytes:
        """Greet."""
        self.seen.append(info)
        return b"hello\n"


def greeter() -> type[Greeter]:
    """Return a `Greeter` of this test's own."""
    return type("Own", (Greeter,), {"seen": []})


@every_kind
async def test_class_greets_before_the_peer_has_said_anything(kind: str) -> None:
    """Once per connection; what comes then is answered as ever."""
    skip_without(kind)
    own = greeter()
    async with served(own, kind=kind) as server:
        with await in_thread(server.connect) as client:
            assert await in_thread(receive_exactly, client, 6) == b"hello\n"
            assert await in_thread(ask, client, b"abc") == b"ABC"
            assert await in_thread(ask, client, b"xyz") == b"XYZ"
            assert len(own.seen) == 1
            made = server.connections[0]
            assert made.info == own.seen[0]
        await until(lambda: made.state.value == "lost", "it is lost")
        assert made.info is None
    assert made.replied_bytes >= 12


@every_kind
async def test_processor_knows_both_addresses_and_what_tls_has_negotiated(kind: str) -> None:
    """As the peer's socket has them."""
    skip_without(kind)
    own = greeter()
    async with served(own, kind=kind) as server:
        with await in_thread(server.connect) as client:
            await in_thread(receive_exactly, client, 6)
            info = own.seen[0]
            assert info.local_address == server.address
            if kind in ("tcp", "unix"):
                assert info.peer_address == client.getsockname()
            if kind == "unix":
                assert info.unix_credentials == (os.getpid(), os.getuid(), os.getgid())
            else:
                assert info.unix_credentials is None
            if "tls" not in kind:
                assert info.tls is None
                return
            assert info.tls is not None
            assert info.tls.version == "TLSv1.3"
            assert "AES" in info.tls.cipher or "CHACHA" in info.tls.cipher
            assert info.tls.server_name == ("localhost" if kind == "tls" else None)
            assert info.tls.peer_certificate is info.tls.peer_certificate_der is None


async def test_factory_that_does_not_say_so_is_told_with_the_first_input() -> None:
    """What it says then precedes the reply."""
    own = greeter()
    async with served(lambda: own()) as server:
        with await in_thread(server.connect) as client, await in_thread(server.connect) as other:
            # The other one's reply shows that nothing was on its way to this one before.
            assert await in_thread(ask_for, other, b"abc", 9) == b"hello\nABC"
            assert len(own.seen) == 1
            assert await in_thread(ask_for, client, b"xyz", 9) == b"hello\nXYZ"


def ask_for(client: socket.socket, data: bytes, nbytes: int) -> bytes:
    """Send `data`; return a reply of `nbytes`."""
    client.sendall(data)
    return receive_exactly(client, nbytes)


@pytest.mark.parametrize("how", ["partial", "declared"])
async def test_factory_may_speak_first_too(how: str) -> None:
    """A partial of such a class does; others declare it."""
    own = greeter()
    if how == "partial":
        factory: Any = functools.partial(own)
    else:

        def factory() -> Greeter:
            return own()

        factory.speaks_first = True
    async with served(factory) as server:
        with await in_thread(server.connect) as client:
            assert await in_thread(receive_exactly, client, 6) == b"hello\n"


async def test_class_may_wait_for_the_first_input() -> None:
    """With a false `speaks_first`."""
    own = type("Quiet", (Greeter,), {"seen": [], "speaks_first": False})
    async with served(own) as server:
        with await in_thread(server.connect) as client:
            assert await in_thread(ask_for, client, b"abc", 9) == b"hello\nABC"


@half_closes
async def test_input_that_ends_at_once_still_gets_the_greeting() -> None:
    """From a class as from a factory."""
    own = greeter()
    for factory in (own, lambda: own()):
        async with served(factory) as server:
            with await in_thread(server.connect) as client:
                client.shutdown(socket.SHUT_WR)
                assert await in_thread(receive_all, client) == b"hello\n"


@pytest.mark.parametrize("framing", ["line", "len32"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "with input"])
async def test_greeting_is_a_frame_where_there_are_frames(framing: str, first: bool) -> None:
    """Before the first reply."""

    class Own(Swapcase):
        speaks_first = first

        def connected(self, info: ConnectionInfo) -> bytes:
            return b"hello"

    frames = [b"abc", b"", b"xyz" * 100]
    wire = b"".join(framed(framing, frame) for frame in frames)
    wanted = b"".join(framed(framing, frame.swapcase()) for frame in [b"HELLO", *frames])
    async with served(Own, framing=framing) as server:
        with await in_thread(server.connect) as client:
            if first:
                hello = framed(framing, b"hello")
                assert await in_thread(receive_exactly, client, len(hello)) == hello
                wanted = wanted.removeprefix(hello)
            assert await in_thread(ask_for, client, wire, len(wanted)) == wanted


class Doorman(Swapcase):
    """Refuses everybody, or whoever says so."""

    at_once = True
    reply = b""

    def connected(self, info: ConnectionInfo) -> None:
        """Refuse at once, perhaps."""
        if self.at_once:
            raise PeerRefused("nobody is expected", reply=self.reply)

    def process(self, chunk: memoryview) -> bytes:
        """Refuse later, perhaps."""
        if b"no" in bytes(chunk):
            raise PeerRefused("it said no", reply=self.reply)
        return super().process(chunk)


@every_kind
@pytest.mark.parametrize("reply", [b"", b"go away"])
async def test_peer_may_be_refused_in_words(
    kind: str, reply: bytes, caplog: pytest.LogCaptureFixture, loop_errors: list[dict[str, Any]]
) -> None:
    """A line in the log, an orderly end for the peer, a reason to count; others do not notice."""
    skip_without(kind)
    caplog.set_level(logging.INFO, "asyncrev")
    own = type("Own", (Doorman,), {"reply": reply})
    async with served(own, kind=kind) as server:
        with await in_thread(server.connect) as client:
            assert await in_thread(receive_all, client) == reply
        await until(lambda: server.connections[0].state.value == "lost", "it is lost")
        assert server.connections[0].abort_reason == "refused"
        assert server.bridge.statistics().processor_errors == 0
    lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert [line.partition(": ")[2] for line in lines] == ["closed: refused: nobody is expected"]
    assert loop_errors == []


@pytest.mark.parametrize("framing", ["raw", "line", "len32"])
async def test_peer_may_be_refused_later(framing: str) -> None:
    """Replies before it go out, then its last one."""
    own = type("Own", (Doorman,), {"reply": b"bye", "at_once": False})
    async with served(own, framing=framing) as server:
        with await in_thread(server.connect) as client:
            if framing == "raw":
                assert await in_thread(ask, client, b"abc") == b"ABC"
                client.sendall(b"no")
                assert await in_thread(receive_all, client) == b"bye"
            else:
                client.sendall(b"".join(framed(framing, one) for one in (b"abc", b"no", b"x")))
                wanted = framed(framing, b"ABC") + framed(framing, b"bye")
                assert await in_thread(receive_all, client) == wanted
        await until(lambda: server.connections[0].state.value == "lost", "it is lost")
        assert server.connections[0].abort_reason == "refused"


@pytest.mark.parametrize(
    ("framing", "limits", "last", "text"),
    [
        ("raw", Limits(slots=16, max_reply_bytes=4), b"too long", "max_reply_bytes is 4"),
        ("len32", Limits(slots=16, max_reply_bytes=4), b"too long", "max_reply_bytes is 4"),
        ("line", SMALL, b"two\nlines", "a line end"),
        ("raw", SMALL, "text", "it must return bytes"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_last_word_that_cannot_be_sent_is_the_processors_error(
    framing: str,
    limits: Limits,
    last: bytes,
    text: str,
    at_once: bool,
    loop_errors: list[dict[str, Any]],
) -> None:
    """Not the peer's fault any more."""
    own = type("Own", (Doorman,), {"reply": last, "at_once": at_once})
    async with served(own, limits, framing=framing) as server:
        with await in_thread(server.connect) as client:
            if not at_once:
                client.sendall(b"no" if framing == "raw" else framed(framing, b"no"))
            assert await in_thread(receive_all, client) == b""
        await until(lambda: server.connections[0].state.value == "lost", "it is lost")
        assert server.connections[0].abort_reason == "processor error"
    assert [text in str(context["exception"]) for context in loop_errors] == [True]
    loop_errors.clear()


async def test_exception_of_connected_is_the_processors_error(
    loop_errors: list[dict[str, Any]],
) -> None:
    """It closes its connection only."""

    class Own(Swapcase):
        def connected(self, info: ConnectionInfo) -> None:
            if first:
                first.clear()
                raise ValueError("deliberate")

    first = [1]
    async with served(Own) as server:
        with await in_thread(server.connect) as client:
            assert await in_thread(receive_all, client) == b""
        with await in_thread(server.connect) as client:
            assert await in_thread(ask, client, b"abc") == b"ABC"
        assert server.connections[0].abort_reason == "processor error"
    assert [type(context["exception"]) for context in loop_errors] == [ValueError]
    loop_errors.clear()


async def test_statistics_of_each_connection_have_who_the_peer_is() -> None:
    """And what it has sent."""
    if KIND == "loop-tls":
        pytest.skip("a server's TLS is the worker's")
    async with await serve(Swapcase) as server:
        assert server.connection_statistics() == []
        with await in_thread(connect_to, server.addresses[0]) as client:
            assert await in_thread(ask, client, b"abc") == b"ABC"
            (found,) = server.connection_statistics()
            assert found.info is not None
            assert found.info.local_address == server.addresses[0]
            assert (found.info.tls is not None) is (KIND == "tls")
            assert found.state.value == "open"
            assert found.received_bytes >= 3
            assert found.replied_bytes >= 3
            assert (found.in_flight_bytes, found.unsent_bytes, found.paused) == (0, 0, ())
            assert 0.0 <= found.open_s < 60.0
        await until(lambda: not server.connections, "it is lost")
        assert server.connection_statistics() == []


@tcp_only
async def test_statistics_say_why_a_connection_is_not_read() -> None:
    """Here its peer takes nothing."""
    async with await serve(Swapcase, buffer_bytes=4096, limits=SMALL) as server:
        with connect_to(server.addresses[0], 4096) as client:
            client.setblocking(False)

            def is_paused() -> bool:
                try:
                    client.send(b"x" * 4096)
                except BlockingIOError:
                    pass
                found = server.connection_statistics()
                return bool(found) and "WRITE_BUFFER_FULL" in found[0].paused

            await until(is_paused, "its replies are too many")
            assert server.connection_statistics()[0].unsent_bytes > SMALL.high_water_bytes


@half_closes
async def test_refusal_at_the_end_of_input_is_a_reply_of_its_own() -> None:
    """Behind the one to a last line without an end, which has no end either."""

    class Own(Swapcase):
        def eof(self) -> None:
            raise PeerRefused("too early", reply=b"bye")

    async with served(Own, framing="line") as server:
        with await in_thread(server.connect) as client:
            client.sendall(b"one\ntwo")
            client.shutdown(socket.SHUT_WR)
            assert await in_thread(receive_all, client) == b"ONE\nTWO\nbye\n"


@resets
async def test_address_of_a_peer_that_has_reset_its_connection_is_known(
    loop_errors: list[dict[str, Any]],
) -> None:
    """accept(2) has told it; so a processor that unpacks it does not fail for the peer's fault."""
    told: list[Any] = []

    class Own(Swapcase):
        def connected(self, info: ConnectionInfo) -> None:
            told.append(info.peer_address)

    async with await serve(Own) as server:
        wanted = []
        for _ in range(5):  # the loop does not run meanwhile, so none is accepted before its reset
            client = connect_to(server.addresses[0])
            wanted.append(client.getsockname())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        await until(lambda: server.statistics().accepted == 5, "they are accepted")
        await until(lambda: server.connections.is_idle, "they are lost")
    assert set(told) <= set(wanted)
    assert loop_errors == []


async def test_statistics_before_the_connection_is_made_are_all_zero() -> None:
    """Nothing is known yet."""
    async with Bridge() as bridge:
        found = BridgeProtocol(bridge).statistics()
    assert found.info is None
    assert found.state.value == "new"
    assert (found.open_s, found.unsent_bytes, found.received_bytes) == (0.0, 0, 0)
