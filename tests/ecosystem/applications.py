"""The ASGI application that uvicorn and hypercorn serve here, and what its clients share."""

import asyncio
from typing import Any

__all__ = ["app", "request", "responses"]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the body in upper case; at /loop with the kind of the loop that runs it."""
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await _echo(receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["path"] == "/loop":
        body = type(asyncio.get_running_loop()).__qualname__.encode()
    else:
        body = body.upper()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "hello"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


def request(path: str, body: bytes = b"", *, last: bool = False) -> bytes:
    """Return an HTTP/1.1 request; after the last of them the server closes the connection."""
    head = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body)}",
        "Connection: close" if last else "Connection: keep-alive",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def responses(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    """Return the bodies of `count` responses that have a length."""
    bodies = []
    for _ in range(count):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        length = head.split(b"content-length:")[1].split(b"\r\n")[0]
        bodies.append(await reader.readexactly(int(length)))
    return bodies
