"""A request and a response of the admin endpoint, without HTTP's syntax."""

import dataclasses
from collections.abc import Mapping

__all__ = ["Request", "Response", "plain"]

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


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """What a client gets.

    Attributes:
        status: HTTP's.
        body: also of a response to HEAD, which is then sent without it.
        content_type: of the body.
        headers: further ones.
    """

    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


def plain(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Return a response of one line of text."""
    return Response(status, f"{text}\n".encode(), headers=headers)
