"""http: what is malformed, too large, too slow or smuggled gets a response or an end."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("h11")

import h11

from asyncrev.admin.http import MOST_HEAD_BYTES, converse
from asyncrev.admin.message import Request, Response, plain
from tests.support import until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Peer:
    """The other end of a conversation, with all the requests that it has led to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.requests: list[Request] = []
        self.response = plain(200, "well")
        self.places: list[str] = []

    async def respond(self, request: Request) -> Response:
        self.requests.append(request)
        return self.response

    def wait(self) -> None:
        self.places.append("waits")

    async def begin(self) -> None:
        self.places.append("begins")

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.sock, 65536)

    async def receive_all(self) -> bytes:
        parts = []
        with contextlib.suppress(ConnectionResetError):  # for input that nobody has read
            while part := await self.receive():
                parts.append(part)
        return b"".join(parts)


@contextlib.asynccontextmanager
async def talking(**times: Any) -> AsyncIterator[Peer]:
    """Run a conversation beside a test; in the end it must have come to an end by itself."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    peer = Peer(theirs)
    task = asyncio.create_task(converse(ours, peer.respond, peer, **times))
    try:
        yield peer
    finally:
        theirs.close()
        async with asyncio.timeout(10):
            await task
    assert ours.fileno() == -1


async def answer_to(data: bytes, **times: Any) -> tuple[bytes, Peer]:
    """Return all that comes back for `data` and an end of input, and who has sent it."""
    async with talking(**times) as peer:
        with contextlib.suppress(BrokenPipeError):
            await peer.send(data)
            peer.sock.shutdown(socket.SHUT_WR)
        return await peer.receive_all(), peer


async def test_requests_are_answered_in_turn_on_one_connection() -> None:
    """Also those that are sent before the responses."""
    async with talking() as peer:
        for _ in range(3):
            await peer.send(GET)
            assert (await peer.receive()).endswith(b"\r\n\r\nwell\n")
    answer, peer = await answer_to(3 * GET)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
    (request, *_) = peer.requests
    assert (request.method, request.target) == ("GET", "/x")
    assert (request.headers, request.is_unix) == ({"host": "localhost"}, True)


async def test_head_gets_the_head() -> None:
    """With the length that the body would have."""
    answer, _ = await answer_to(GET.replace(b"GET", b"HEAD"))
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 5\r\n" in answer


async def test_request_may_come_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further bytes are left to wait longer each time, so they are read in a few pieces."""
    async with talking() as peer:
        loop = asyncio.get_running_loop()
        receive, pieces = loop.sock_recv, 0

        async def counted(sock: socket.socket, size: int) -> bytes:
            nonlocal pieces
            pieces += sock is not peer.sock
            return await receive(sock, size)

        monkeypatch.setattr(loop, "sock_recv", counted)
        for number in range(len(GET)):
            assert "begins" not in peer.places
            await peer.send(GET[number : number + 1])
            await asyncio.sleep(0.005)
        assert b" 200 " in await peer.receive()
        assert peer.places[:2] == ["waits", "begins"]
        assert 2 <= pieces <= 10 < len(GET)


async def test_place_is_kept_from_a_request_until_its_response() -> None:
    """And not while a further one is waited for, nor after the last."""
    async with talking() as peer:
        for data in (2 * GET, GET, b"G\r\n\r\n"):
            await peer.send(data)
            assert await peer.receive()
        await peer.receive_all()
    assert peer.places == [*(3 * ["waits", "begins"]), "waits", "waits"]


@pytest.mark.parametrize("begun", [b"", GET[:-1]])
async def test_cancelled_wait_for_a_request_ends_the_connection(begun: bytes) -> None:
    """A request that has begun is told so."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    with theirs:
        peer = Peer(theirs)
        task = asyncio.create_task(converse(ours, peer.respond, peer))
        await peer.send(begun)
        await asyncio.sleep(0.05)  # it reads what there is, and waits for more
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        answer = await peer.receive_all()
    assert ours.fileno() == -1
    assert task.cancelled()
    if not begun:
        assert answer == b""
        return
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/x", headers=[("Host", "localhost")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    response, body, end = (client.next_event() for _ in range(3))
    assert isinstance(response, h11.Response)
    assert response.status_code == 503
    assert isinstance(body, h11.Data)
    assert body.data == b"ended before the request was complete\n"
    assert isinstance(end, h11.EndOfMessage)
    assert client.their_state is h11.MUST_CLOSE


async def test_old_version_is_closed_after_its_answer() -> None:
    """HTTP/1.0 knows no further requests unless it asks for them."""
    async with talking() as peer:
        await peer.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = await peer.receive_all()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close\r\n" in answer


HOST = b"Host: localhost\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /\r\n\r\n", 400),  # HTTP/0.9
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),  # TLS
        (b"\x00" * 100, 400),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GET, 400),
        (b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", 413),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000, 431),
        (b"a" * 20_000, 431),
    ],
)
async def test_what_is_no_request_gets_its_status_and_the_end(data: bytes, status: int) -> None:
    """And nobody is asked for anything."""
    answer, peer = await answer_to(data)
    assert peer.requests == []
    if len(data) < 2 * MOST_HEAD_BYTES:  # else a reset may have taken the response along
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close\r\n" in answer
    else:
        assert answer == b"" or answer.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 36\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        b"Content-Length: 36\r\n",
        b"Content-Length: 0\r\nContent-Length: 36\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
    ],
)
async def test_request_within_a_body_is_never_one(headers: bytes) -> None:
    """Whatever a proxy before us thinks where the body ends."""
    smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    data = b"POST /drain HTTP/1.1\r\n" + HOST + headers + b"\r\n" + smuggled
    answer, peer = await answer_to(data)
    assert peer.requests == []
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501 "))
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_upgrade_is_not_taken() -> None:
    """Whoever wants a WebSocket gets the page."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    answer, peer = await answer_to(b"GET / HTTP/1.1\r\n" + HOST + upgrade + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(peer.requests) == 1


async def test_empty_body_is_none() -> None:
    """As curl -X POST sends it."""
    answer, peer = await answer_to(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")
    assert b" 200 " in answer
    assert peer.requests[0].method == "POST"


async def test_silent_peer_is_closed() -> None:
    """After the time of a request, without a word."""
    async with talking(request_s=0.05) as peer:
        assert await peer.receive_all() == b""


@pytest.mark.parametrize("begun", [b"G", GET[:-1], b"POST / HTTP/1.1\r\n" + HOST])
async def test_slow_request_is_told_so(begun: bytes) -> None:
    """However much of it is there."""
    async with talking(request_s=0.05) as peer:
        await peer.send(begun)
        assert (await peer.receive_all()).startswith(b"HTTP/1.1 408 ")


async def test_peer_that_sends_a_little_all_the_time_has_no_more_time() -> None:
    """The time is that of the whole request."""
    async with talking(request_s=0.2) as peer:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        await peer.send(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            while loop.time() - begun_s < 8:
                await peer.send(b"A: b\r\n")
                await asyncio.sleep(0.02)
        assert loop.time() - begun_s < 5


async def test_idle_connection_is_closed() -> None:
    """After the time for it, which is another one."""
    async with talking(request_s=10.0, idle_s=0.05) as peer:
        await peer.send(GET)
        assert (await peer.receive_all()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_peer_that_takes_no_response_is_closed() -> None:
    """What it has not taken is not kept."""
    async with talking(request_s=0.1) as peer:

        async def respond(_: Request) -> Response:
            return Response(200, bytes(32 << 20))

        peer.respond = respond  # type: ignore[method-assign]
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            theirs.sendall(GET)
            async with asyncio.timeout(10):
                await converse(ours, respond, peer, request_s=0.1)
        assert ours.fileno() == -1


async def test_peer_that_goes_is_nobodys_error() -> None:
    """At any byte of a request."""
    for end in range(len(GET)):
        async with talking() as peer:
            await peer.send(GET[:end])
    for end in range(len(GET)):
        answer, peer = await answer_to(GET[:end])
        assert peer.requests == []
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


async def test_largest_head_is_taken() -> None:
    """It has nearly 7 KiB."""
    head = GET[:-2] + b"A: " + b"b" * 7000 + b"\r\n\r\n"
    assert len(head) < MOST_HEAD_BYTES
    answer, _ = await answer_to(head)
    assert b" 200 " in answer


class Script:
    """Pieces as a test wants them; waits when there are no more."""

    def __init__(self, *pieces: bytes, is_endless: bool = False) -> None:
        self.pieces = list(pieces)
        self.is_endless = is_endless
        self.made = self.closed = 0

    def __aiter__(self) -> "Script":
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        if not self.pieces:
            raise StopAsyncIteration
        self.made += 1
        return self.pieces[0] if self.is_endless else self.pieces.pop(0)

    def close(self) -> None:
        self.closed += 1


def streaming(script: Script) -> Response:
    return Response(200, b"", "text/event-stream", pieces=script)


async def test_pieces_come_in_chunks_and_end_the_connection() -> None:
    """Their length is not known before; those of HTTP/1.0 end with the connection."""
    for version, expected in (
        (b"1.1", b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"),
        (b"1.0", b"\r\n\r\none two"),
    ):
        async with talking() as peer:
            script = Script(b"one ", b"two")
            peer.response = streaming(script)
            await peer.send(GET.replace(b"1.1", version) + GET)
            answer = await peer.receive_all()
        assert answer.endswith(expected)
        assert b"content-length" not in answer.lower()
        assert b"Connection: close" in answer
        assert (len(peer.requests), script.closed) == (1, 1)


async def test_peer_that_takes_no_pieces_is_closed_in_time() -> None:
    """What waits in the kernel for it is little."""
    script = Script(bytes(4096), is_endless=True)
    async with talking(request_s=0.2) as peer:
        peer.response = streaming(script)
        await peer.send(GET)
        await until(lambda: script.closed, "it is closed")
    assert script.closed == 1
    assert script.made * 4096 < 2**20


async def test_peer_that_goes_gets_no_more_pieces() -> None:
    """Its place is given back."""
    script = Script(b"x", is_endless=True)
    async with talking() as peer:
        peer.response = streaming(script)
        await peer.send(GET)
        assert await peer.receive()
        peer.sock.close()
        await until(lambda: script.closed, "it is closed")


async def test_cancelled_conversation_closes_its_pieces() -> None:
    """As when the endpoint ends."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    with theirs:
        peer, script = Peer(theirs), Script(b"x", is_endless=True)
        peer.response = streaming(script)
        task = asyncio.create_task(converse(ours, peer.respond, peer))
        await peer.send(GET)
        await until(lambda: script.made, "it has begun")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert script.closed == 1


async def test_response_may_have_its_own_caching_and_no_body() -> None:
    """A 304 says nothing of the length of what the client has (RFC 9110, 8.6)."""
    async with talking() as peer:
        peer.response = Response(304, b"", headers=(("ETag", '"x"'), ("Cache-Control", "no-cache")))
        await peer.send(GET + GET)
        peer.sock.shutdown(socket.SHUT_WR)
        answer = await peer.receive_all()
    assert answer.count(b"HTTP/1.1 304 Not Modified") == 2
    assert answer.count(b"Cache-Control: no-cache\r\n") == 2
    assert b"no-store" not in answer
    assert b"Content-Length" not in answer
