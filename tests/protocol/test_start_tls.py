"""An upgrade to TLS within a connection, as server and as client, on every loop."""

import asyncio
import logging
import shutil
import smtplib
import socket
import ssl
import subprocess
from typing import Any

import pytest

import asyncrev
from asyncrev import Bridge, BridgeProtocol, ConnectionInfo, Limits, PeerRefused, StartTls
from asyncrev.limits import TLS_CONNECTION_BYTES
from tests.framed import framed
from tests.protocol.served import (
    Swapcase,
    connect,
    half_closes,
    in_thread,
    letters,
    plain_only,
    serve,
    served,
    tcp_only,
)
from tests.support import DEADLINE_S, ask, receive_all, receive_exactly, until
from tests.tls_pair import client_context, server_context
from tests.tls_proxy import through_tls

pytestmark = [pytest.mark.asyncio, plain_only]


class Upgrading(Swapcase):
    """Answers frames with their case swapped; the frame "tls" with "go", and TLS."""

    may_start_tls = True
    speaks_first = False
    seen: list[Any]
    version = "1.3"

    def connected(self, info: ConnectionInfo) -> None:
        """Keep who it is; a second time after the upgrade."""
        self.seen.append(info)

    def process(self, chunk: memoryview) -> Any:
        """Answer, or upgrade."""
        self.seen.append(bytes(chunk))
        if bytes(chunk) == b"tls":
            return StartTls(server_context(self.version), b"go")
        return super().process(chunk)


def upgrading(version: str = "1.3") -> type[Upgrading]:
    """Return an `Upgrading` of this test's own."""
    return type("Own", (Upgrading,), {"seen": [], "version": version})


def upgrade(client: socket.socket, version: str = "1.3") -> ssl.SSLSocket:
    """Return `client`, to which "go" was said, over TLS."""
    return client_context(version).wrap_socket(
        client, server_hostname="localhost", suppress_ragged_eofs=False
    )


def wired(framing: str, data: bytes) -> bytes:
    """Return `data` as a message."""
    return data if framing == "raw" else framed(framing, data)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("framing", ["raw", "line", "len32"])
async def test_connection_goes_on_over_tls(framing: str, version: str) -> None:
    """With the same processor, which is told what was negotiated."""
    own = upgrading(version)
    async with served(own, framing=framing) as server:

        def talk() -> None:
            with server.connect() as plain:
                assert ask(plain, wired(framing, b"abc")) == wired(framing, b"ABC")
                go = wired(framing, b"go")
                plain.sendall(wired(framing, b"tls"))
                assert receive_exactly(plain, len(go)) == go
                with upgrade(plain, version) as client:
                    for data in (b"abc", letters(900)):
                        wire = wired(framing, data)
                        assert ask(client, wire) == wired(framing, data.swapcase())
                    client.unwrap().close()

        await in_thread(talk)
        await until(lambda: server.connections[0].state.value == "lost", "it is lost")
        assert server.connections[0].abort_reason is None
    infos = [one for one in own.seen if isinstance(one, ConnectionInfo)]
    assert [info.tls is not None for info in infos] == [False, True]
    assert infos[1].tls is not None
    assert infos[1].tls.server_name == "localhost"
    assert infos[1].tls.version == f"TLSv{version}"
    assert infos[1].peer_address == infos[0].peer_address


@half_closes
async def test_half_close_works_after_the_upgrade() -> None:
    """Data, close_notify, FIN; then all replies, close_notify, FIN."""
    async with served(upgrading(), framing="len32") as server:

        def talk() -> bytes:
            with server.connect() as plain:
                plain.sendall(framed("len32", b"tls"))
                receive_exactly(plain, 6)
                with through_tls(plain, client_context(), "localhost", DEADLINE_S) as client:
                    client.sendall(framed("len32", letters(1000)) * 50)
                    client.shutdown(socket.SHUT_WR)
                    return receive_all(client)

        replies = await in_thread(talk)
        assert replies == framed("len32", letters(1000).swapcase()) * 50


@pytest.mark.parametrize("framing", ["line", "len32"])
@pytest.mark.parametrize("pieces", ["one segment", "byte by byte"])
async def test_text_behind_the_upgrade_is_never_processed(
    framing: str, pieces: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails as a handshake (CVE-2011-0411)."""
    caplog.set_level(logging.INFO, "asyncrev")
    own = upgrading()
    async with served(own, framing=framing) as server:

        def talk() -> bytes:
            with server.connect() as plain:
                if plain.family is not socket.AF_UNIX:
                    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                wire = wired(framing, b"abc") + wired(framing, b"tls")
                wire += wired(framing, b"injected") * 3
                step = len(wire) if pieces == "one segment" else 1
                try:
                    for off in range(0, len(wire), step):
                        plain.sendall(wire[off : off + step])
                    return receive_all(plain)
                except OSError:
                    return b""

        received = await in_thread(talk)
        await until(lambda: server.connections[0].state.value == "lost", "it is lost")
        assert server.connections[0].abort_reason == "TLS handshake failed"
    assert b"injected" not in own.seen
    if pieces == "one segment":
        wanted = wired(framing, b"ABC") + wired(framing, b"go")
        assert received.startswith(wanted)
        assert b"INJECTED" not in received


async def test_client_that_sends_its_hello_at_once_is_served() -> None:
    """A handshake behind the request, in the same segment, is not injection."""
    own = upgrading()
    async with served(own, framing="line") as server:

        def talk() -> bytes:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            session = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                session.do_handshake()
            with server.connect() as plain:
                plain.sendall(b"tls\n" + outgoing.read())
                assert receive_exactly(plain, 3) == b"go\n"
                while True:
                    incoming.write(plain.recv(65536))
                    try:
                        session.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        pass
                session.write(b"abc\n")
                plain.sendall(outgoing.read())
                while True:
                    try:
                        return session.read(100)
                    except ssl.SSLWantReadError:
                        incoming.write(plain.recv(65536))

        assert await in_thread(talk) == b"ABC\n"


async def test_silent_handshake_has_its_deadline() -> None:
    """From the upgrade on."""
    limits = Limits(slots=16, tls_handshake_timeout_s=0.2)
    async with served(upgrading(), limits, framing="line") as server:
        with await in_thread(server.connect) as plain:
            assert await in_thread(ask, plain, b"abc\n") == b"ABC\n"
            plain.sendall(b"tls\n")
            assert await in_thread(receive_all, plain) == b"go\n"
        assert server.connections[0].abort_reason == "TLS handshake deadline"


async def test_handshake_that_has_failed_is_not_late_too(caplog: pytest.LogCaptureFixture) -> None:
    """While the connection lingers for a peer that does not close: one reason, and one line."""
    caplog.set_level(logging.INFO, "asyncrev")
    limits = Limits(slots=16, tls_handshake_timeout_s=0.1, linger_timeout_s=0.6)
    async with served(upgrading(), limits, framing="line") as server:
        with await in_thread(server.connect) as plain:
            plain.sendall(b"tls\nthis is no hello\n")
            assert await in_thread(receive_exactly, plain, 3) == b"go\n"
            await until(lambda: server.connections[0].state.value == "lost", "it is lost")
        assert server.connections[0].abort_reason == "TLS handshake failed"
    closed = [one.getMessage() for one in caplog.records if "closed:" in one.getMessage()]
    assert ["wrong version number" in line for line in closed] == [True]


@pytest.mark.parametrize(
    ("declared", "again", "text"),
    [(False, False, "may_start_tls"), (True, True, "over TLS")],
    ids=["not declared", "twice"],
)
@pytest.mark.parametrize("framing", ["raw", "line"])
async def test_upgrade_that_cannot_be_is_the_processors_error(
    framing: str,
    declared: bool,
    again: bool,
    text: str,
    loop_errors: list[dict[str, Any]],
) -> None:
    """In words."""
    own = type("Own", (Upgrading,), {"seen": [], "may_start_tls": declared})
    async with served(own, framing=framing) as server:

        def talk() -> None:
            with server.connect() as plain:
                plain.sendall(wired(framing, b"tls"))
                if not again:
                    receive_all(plain)
                    return
                receive_exactly(plain, len(wired(framing, b"go")))
                with upgrade(plain) as client:
                    client.sendall(wired(framing, b"tls"))
                    receive_all(client)

        await in_thread(talk)
        await until(lambda: server.connections[0].state.value == "lost", "it is lost")
        assert server.connections[0].abort_reason == "processor error"
    assert [text in str(context["exception"]) for context in loop_errors] == [True]
    loop_errors.clear()


@half_closes
@pytest.mark.parametrize("declared", [True, False])
async def test_request_without_a_line_end_is_answered_and_nothing_follows(
    declared: bool, loop_errors: list[dict[str, Any]]
) -> None:
    """A peer that ends its stream right behind it makes no error of the processor's."""
    own = type("Own", (Upgrading,), {"seen": [], "may_start_tls": declared})
    async with served(own, framing="line") as server:

        def talk() -> bytes:
            with server.connect() as plain:
                plain.sendall(b"abc\ntls")
                plain.shutdown(socket.SHUT_WR)
                return receive_all(plain)

        assert await in_thread(talk) == b"ABC\ngo"
        await until(lambda: server.connections[0].state.value == "lost", "it is lost")
        reason = server.connections[0].abort_reason
        assert reason == (None if declared else "processor error")
    assert ["may_start_tls" in str(one["exception"]) for one in loop_errors] == [True][declared:]
    loop_errors.clear()


@half_closes
@pytest.mark.parametrize("framing", ["raw", "line"])
@pytest.mark.parametrize("where", ["eof", "connected"])
async def test_upgrade_elsewhere_than_in_process_is_an_error(
    where: str, framing: str, loop_errors: list[dict[str, Any]]
) -> None:
    """Which says so."""

    def answer(self: Any, info: Any = None) -> StartTls:
        return StartTls(server_context(), b"go")

    own = type("Own", (Upgrading,), {"seen": [], where: answer})
    async with served(own, framing=framing) as server:

        def talk() -> bytes:
            with server.connect() as plain:
                plain.shutdown(socket.SHUT_WR)
                return receive_all(plain)

        assert await in_thread(talk) == b""
        await until(lambda: server.connections[0].state.value == "lost", "it is lost")
    assert ["only process()" in str(one["exception"]) for one in loop_errors] == [True]
    loop_errors.clear()


class Asking(Swapcase):
    """A client: asks for TLS, and then for an answer to `b"abc"`."""

    may_start_tls = True
    got: list[bytes]

    def connected(self, info: ConnectionInfo) -> bytes:
        """Speak first; and first again over TLS."""
        return b"tls" if info.tls is None else b"abc"

    def process(self, chunk: memoryview) -> Any:
        """Upgrade, or keep the answer."""
        self.got.append(bytes(chunk))
        if bytes(chunk) == b"go":
            return StartTls(client_context(), server_hostname="localhost")
        return None


@pytest.mark.parametrize("framing", ["raw", "len32"])
async def test_client_may_upgrade_too(framing: str) -> None:
    """Its handshake begins with its request's answer."""
    own = type("Own", (Asking,), {"got": []})
    async with served(upgrading(), framing=framing) as server, Bridge() as bridge:
        loop = asyncio.get_running_loop()
        client = BridgeProtocol(bridge, own, framing=framing)
        sock = server.connect()
        sock.setblocking(False)
        make = loop.create_unix_connection if server.kind == "unix" else loop.create_connection
        transport, _ = await make(lambda: client, sock=sock)  # type: ignore[operator]
        await until(lambda: own.got == [b"go", b"ABC"], "the answer came over TLS")
        assert client.info is not None
        assert client.info.tls is not None
        transport.abort()
        await until(lambda: client.state.value == "lost", "it is lost")


async def test_function_may_upgrade_too() -> None:
    """It declares it by an attribute, like a class."""

    def answer(data: bytes) -> Any:
        return StartTls(server_context(), b"go") if data == b"tls" else data.upper()

    answer.may_start_tls = True  # type: ignore[attr-defined]
    async with await serve(answer, framing="line") as server:

        def talk() -> None:
            with connect(server) as plain:
                plain.sendall(b"tls\n")
                assert receive_exactly(plain, 3) == b"go\n"
                with upgrade(plain) as client:
                    assert ask(client, b"abc\n") == b"ABC\n"

        await in_thread(talk)
        plainly = await serve(lambda data: data, framing="line")
        more_bytes = server.connection_bytes - plainly.connection_bytes
        assert more_bytes == TLS_CONNECTION_BYTES
        await plainly.close()


async def test_drain_answers_what_came_over_tls() -> None:
    """And says close_notify."""
    async with await serve(upgrading(), framing="line") as server:

        def begin() -> ssl.SSLSocket:
            plain = connect(server)
            plain.sendall(b"tls\n")
            assert receive_exactly(plain, 3) == b"go\n"
            client = upgrade(plain)
            assert ask(client, b"abc\n") == b"ABC\n"
            return client

        client = await in_thread(begin)
        drained = asyncio.create_task(server.drain())
        with client:
            assert await in_thread(receive_all, client) == b""  # an end, and no ragged one
            client.close()
        assert await drained


class Mail:
    """So much of an SMTP server that clients' STARTTLS works (RFC 3207)."""

    may_start_tls = True

    def __init__(self) -> None:
        self.over_tls = False
        self.rest = b""

    def connected(self, info: ConnectionInfo) -> bytes | None:
        """Greet; over TLS the client goes on."""
        self.over_tls = info.tls is not None
        return None if self.over_tls else b"220 localhost\r\n"

    def process(self, chunk: memoryview) -> Any:
        """Answer whole lines."""
        lines = (self.rest + chunk).split(b"\r\n")
        self.rest = lines.pop()
        replies = b""
        for line in lines:
            word = line[:8].upper().strip()
            if word.startswith(b"EHLO"):
                more = b"" if self.over_tls else b"250-STARTTLS\r\n"
                replies += b"250-localhost\r\n" + more + b"250 HELP\r\n"
            elif word == b"STARTTLS":
                self.rest = b""  # or what was sent in the clear would be the first line over TLS
                return StartTls(server_context(), replies + b"220 go ahead\r\n")
            elif word == b"QUIT":
                raise PeerRefused("it has quit", reply=replies + b"221 bye\r\n")
            else:
                replies += b"250 over TLS\r\n" if self.over_tls else b"250 in the clear\r\n"
        return replies

    def eof(self) -> None:
        """Say nothing."""


@tcp_only
async def test_smtplib_starts_tls() -> None:
    """A client of the standard library."""
    async with await serve(Mail) as server:

        def talk() -> list[Any]:
            with smtplib.SMTP(timeout=DEADLINE_S) as mail:
                mail._host = "localhost"  # type: ignore[attr-defined]  # which TLS checks
                assert mail.connect("127.0.0.1", server.port)[0] == 220
                before = mail.noop()
                mail.starttls(context=client_context())
                mail.ehlo()
                return [before, mail.noop(), mail.has_extn("starttls")]

        assert await in_thread(talk) == [(250, b"in the clear"), (250, b"over TLS"), False]


@tcp_only
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_openssl_starts_tls() -> None:
    """`s_client -starttls smtp`."""
    async with await serve(Mail) as server:

        def talk() -> str:
            command = ["openssl", "s_client", "-starttls", "smtp", "-quiet", "-crlf"]
            done = subprocess.run(
                [*command, "-connect", f"127.0.0.1:{server.port}"],
                input="NOOP\nQUIT\n",
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            return done.stdout

        assert "250 over TLS\n221 bye" in (await in_thread(talk)).replace("\r", "")


@tcp_only
async def test_upgraded_connection_is_still_one_of_its_address() -> None:
    """Until its end; then another one of the same address gets in."""
    limits = Limits(max_connections_per_ip=1)
    async with await asyncrev.serve(port=0, processor=upgrading(), limits=limits) as server:

        def connected() -> socket.socket:
            return socket.create_connection(("127.0.0.1", server.port), DEADLINE_S)

        def talk() -> None:
            with connected() as plain:
                plain.sendall(b"tls")
                assert receive_exactly(plain, 2) == b"go"
                with upgrade(plain) as client:
                    assert ask(client, b"abc") == b"ABC"
                    with pytest.raises(ConnectionError), connected() as over:
                        over.recv(1)
                    assert ask(client, b"def") == b"DEF"

        def talk_again() -> None:
            with connected() as again:
                assert ask(again, b"x") == b"X"

        await in_thread(talk)
        await until(lambda: not server.connections, "it has ended")
        assert server.statistics().aborted["too many of an address"] == 1
        await in_thread(talk_again)
