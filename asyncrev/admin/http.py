"""HTTP/1.1 on one socket of the admin endpoint, within bounds of time and memory (RFC 9112).

h11 has the syntax. Whatever a peer sends, it gets a response or an end, and never a traceback.
"""

import asyncio
import contextlib
import email.utils
import http
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import h11

from asyncrev.admin.message import Pieces, Request, Response, plain

__all__ = ["IDLE_S", "MOST_HEAD_BYTES", "REQUEST_S", "Place", "Respond", "converse"]

REQUEST_S = 5.0  # for a request, from its first byte, and its response
IDLE_S = 10.0  # between two requests

_RECEIVE_BYTES = 1024
_PIECES_BUFFER_BYTES = 32 * 1024  # so that a slow peer is seen soon, and what it leaves is little
MOST_HEAD_BYTES = 8192

# Before a further piece of a request is read; twice as long each time. So a peer that sends byte by
# byte costs some 20 pieces per request, and a request in two pieces is answered nearly at once.
_PIECE_PAUSE_S = 0.01
_LONGEST_PIECE_PAUSE_S = 0.32

# What a peer may still send after its last response, so that it reads that one rather than a reset.
_LINGER_S = 1.0
_LINGER_BYTES = 64 * 1024

# Made beforehand, because a flood of slow requests has it made a thousand times per second. A
# response of this kind needs no Date (RFC 9110, 6.6.1).
_NO_PLACE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Cache-Control: no-store\r\nContent-Length: 38\r\nConnection: close\r\n\r\n"
    b"ended before the request was complete\n"
)

Respond = Callable[[Request], Awaitable[Response]]


class Place(Protocol):
    """What a conversation takes of the endpoint. Thread: the endpoint's."""

    def wait(self) -> None:
        """Note that the peer is waited for: the conversation may be cancelled for another one."""

    async def begin(self) -> None:
        """Note that a request is complete, and wait until another one may be answered."""


async def converse(
    sock: socket.socket,
    respond: Respond,
    place: Place,
    *,
    request_s: float = REQUEST_S,
    idle_s: float = IDLE_S,
) -> None:
    """Answer the requests that come on `sock`, until it ends; then close it.

    Args:
        sock: a non-blocking one.
        respond: makes the response to a request; it must not raise.
        place: hears when the peer is waited for, and says when it may be answered. To cancel this
            coroutine while it waits ends the connection; a request that has begun gets status 503.
        request_s: from the first byte of a request until its response is sent; also for the first
            byte of all.
        idle_s: how long a further request may be waited for.
    """
    with sock:
        try:
            conversation = _Conversation(sock, respond, place)
            wait_s = request_s
            while await conversation.exchange(wait_s, request_s):
                wait_s = idle_s
            await conversation.linger()
        except (OSError, TimeoutError):
            pass  # the peer has gone, or is too slow for a response


class _Unacceptable(Exception):
    """A request is not understood, or not served; its argument is the response."""


class _Conversation:
    """One connection. Thread: the endpoint's."""

    def __init__(self, sock: socket.socket, respond: Respond, place: Place) -> None:
        self._sock = sock
        self._respond = respond
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._is_head = self._is_complete = False  # the request that is answered now
        # Together with one more receive they are the most that is kept.
        most_bytes = MOST_HEAD_BYTES - _RECEIVE_BYTES
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=most_bytes)

    async def exchange(self, wait_s: float, request_s: float) -> bool:
        """Answer one request; return whether another may follow."""
        state = self._http
        self._place.wait()
        if not state.trailing_data[0]:
            async with asyncio.timeout(wait_s):
                data = await self._loop.sock_recv(self._sock, _RECEIVE_BYTES)
            if not data:
                return False
            state.receive_data(data)
        pieces: Pieces | None = None
        try:
            async with asyncio.timeout(request_s) as timeout:
                try:
                    request = await self._receive()
                    await self._place.begin()
                    response = await self._respond(request)
                except h11.RemoteProtocolError as error:
                    response = plain(error.error_status_hint, f"not understood: {error}")
                except _Unacceptable as error:
                    response = error.args[0]
                except asyncio.CancelledError:
                    if self._http.our_state is h11.IDLE:
                        self._say_why_not(
                            self._encoded(plain(408, "the request took too long"))
                            if timeout.expired()
                            else _NO_PLACE
                        )
                    raise
                pieces = response.pieces
                if pieces is not None:
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECES_BUFFER_BYTES)
                await self._send(response)
            if pieces is not None:
                await self._send_pieces(pieces, request_s)
        finally:
            if pieces is not None:
                pieces.close()
        if state.our_state is not h11.DONE or state.their_state is not h11.DONE:
            return False
        state.start_next_cycle()
        return True

    async def linger(self) -> None:
        """End the sending side, and read on for a moment."""
        self._place.wait()
        self._sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_LINGER_S):
            for _ in range(_LINGER_BYTES // _RECEIVE_BYTES):
                if not await self._loop.sock_recv(self._sock, _RECEIVE_BYTES):
                    return

    async def _receive(self) -> Request:
        """Return the next request.

        Raises:
            h11.RemoteProtocolError: it is malformed, or incomplete at the end of the input.
            _Unacceptable: it has a body, or a version that nobody speaks.
        """
        request: Request | None = None
        self._is_head = self._is_complete = False
        pause_s = _PIECE_PAUSE_S
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PIECE_PAUSE_S)
                data = await self._loop.sock_recv(self._sock, _RECEIVE_BYTES)
                self._http.receive_data(data)
            elif isinstance(event, h11.Request):
                request = self._checked(event)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                self._is_complete = True
                return request
            else:  # of a chunked body, which `_checked` refuses, or an end
                raise OSError("the peer has ended its input")

    def _checked(self, event: h11.Request) -> Request:
        self._is_head = event.method == b"HEAD"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        version = event.http_version.decode()
        if version not in ("1.0", "1.1"):
            raise _Unacceptable(plain(505, f"HTTP/{version} is not spoken here, HTTP/1.1 is"))
        if "transfer-encoding" in headers:
            # Beside a Content-Length it is how requests are smuggled past proxies (RFC 9112, 6.1).
            both = "content-length" in headers
            raise _Unacceptable(
                plain(400, "Transfer-Encoding and Content-Length exclude each other")
                if both
                else plain(413, "no request has a body here; leave out Transfer-Encoding")
            )
        if headers.get("content-length", "0").strip("0"):
            raise _Unacceptable(plain(413, "no request has a body here; Content-Length must be 0"))
        is_unix = self._sock.family == socket.AF_UNIX
        return Request(
            method=event.method.decode("latin-1"),
            target=event.target.decode("latin-1"),
            headers=headers,
            is_unix=is_unix,
            to_loopback=not is_unix and _is_loopback(self._sock.getsockname()),
        )

    async def _send(self, response: Response) -> None:
        await self._loop.sock_sendall(self._sock, self._encoded(response))

    async def _send_pieces(self, pieces: Pieces, piece_s: float) -> None:
        """Send each piece in `piece_s`; a peer that takes longer is too slow.

        That a peer has gone is seen when a piece is sent. What it sends meanwhile is not read.
        """
        async for piece in pieces:
            async with asyncio.timeout(piece_s):
                data = self._http.send(h11.Data(data=piece))
                await self._loop.sock_sendall(self._sock, data or b"")
        async with asyncio.timeout(piece_s):
            end = self._http.send(h11.EndOfMessage())
            await self._loop.sock_sendall(self._sock, end or b"")

    def _say_why_not(self, response: bytes) -> None:
        """Say to a slow peer why it gets no answer, if its socket takes that at once."""
        with contextlib.suppress(OSError):
            self._sock.send(response)

    def _encoded(self, response: Response) -> bytes:
        state = self._http
        if state.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise OSError("no response can be sent any more")
        headers = {
            "Date": email.utils.formatdate(usegmt=True),
            "Content-Type": response.content_type,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **dict(response.headers),
        }
        has_pieces = response.pieces is not None
        if not has_pieces and response.status != http.HTTPStatus.NOT_MODIFIED:
            headers["Content-Length"] = str(len(response.body))
        if has_pieces or not self._is_complete:
            headers["Connection"] = "close"
        head = h11.Response(
            status_code=response.status,
            headers=list(headers.items()),
            reason=http.HTTPStatus(response.status).phrase.encode(),
        )
        parts = [state.send(head)]
        if response.body and not self._is_head:
            parts.append(state.send(h11.Data(data=response.body)))
        if not has_pieces:
            parts.append(state.send(h11.EndOfMessage()))
        return b"".join(part or b"" for part in parts)


def _is_loopback(address: Any) -> bool:
    return ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
