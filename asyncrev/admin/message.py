"""A request and a response of the admin endpoint, without HTTP's syntax."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

__all__ = ["Pieces", "Request", "Response", "plain"]

TEXT = "text/plain; charset=utf-8"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for.

    Attributes:
        method: as it was sent.
        target: as it was sent; nothing in it is decoded.
        headers: by their names in lower case; the last one of a name.
        is_unix: whether it came over a UNIX socket.
        to_loopback: whether it came to a loopback address.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    is_unix: bool = False
    to_loopback: bool = False


class Pieces(Protocol):
    """What is sent as it comes. Thread: the endpoint's."""

    def __aiter__(self) -> "Pieces": ...

    async def __anext__(self) -> bytes:
        """Return the next piece; the response ends with StopAsyncIteration."""
        ...

    def close(self) -> None:
        """Make none any more. Idempotent; called in any case."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """What a client gets.

    Attributes:
        status: HTTP's.
        body: also of a response to HEAD, which is then sent without it.
        content_type: of the body.
        headers: further ones; they replace those that every response has.
        pieces: what follows the body, whose length is then unknown; None for most.
    """

    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    pieces: Pieces | None = None


def plain(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Return a response of one line of text."""
    return Response(status, f"{text}\n".encode(), headers=headers)
