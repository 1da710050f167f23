"""Frames found and answered in the loop: `frames_by_hand PORT line|len32 protocol|streams LOOP`.

`protocol`: written by hand for speed, all frames of a chunk at once, one write for them all.
`streams`: as the asyncio documentation would have it, a frame at a time.
"""

import asyncio
import sys

from benchmarks.peers.common import BACKLOG, CHUNK_BYTES, HOST, run

PREFIX_BYTES = 4


class FrameProtocol(asyncio.Protocol):
    """What the two grammars share: keep what is unfinished, stop reading while replies wait."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parts: list[bytes] = []  # of the frame that is not whole yet

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class Lines(FrameProtocol):
    """Lines of any length."""

    def data_received(self, data: bytes) -> None:
        if b"\n" not in data:
            self.parts.append(data)
            return
        if self.parts:
            data = b"".join([*self.parts, data])
            self.parts.clear()
        *lines, rest = data.split(b"\n")
        if rest:
            self.parts.append(rest)
        self.transport.write(b"".join([line[::-1] + b"\n" for line in lines]))


class Len32(FrameProtocol):
    """A big-endian length of 4 bytes, and so many bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        received = self.received
        received += data
        off, received_bytes, replies = 0, len(received), []
        while received_bytes - off >= PREFIX_BYTES:
            start = off + PREFIX_BYTES
            end = start + int.from_bytes(received[off:start], "big")
            if end > received_bytes:
                break
            replies.append(received[off:start])
            replies.append(received[end - 1 : start - 1 : -1])
            off = end
        if replies:
            del received[:off]
            self.transport.write(b"".join(replies))


async def stream_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection of lines."""
    try:
        while (line := await reader.readline()).endswith(b"\n"):
            writer.write(line[-2::-1] + b"\n")
            await writer.drain()
    except ConnectionError:
        pass  # the peer has gone
    finally:
        writer.close()


async def stream_len32(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection of frames with a length."""
    try:
        while True:
            prefix = await reader.readexactly(PREFIX_BYTES)
            payload = await reader.readexactly(int.from_bytes(prefix, "big"))
            writer.write(prefix + payload[::-1])
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the end of input, or the peer has gone
    finally:
        writer.close()


async def make_server() -> asyncio.Server:
    """Listen."""
    port, framing, style = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    if style == "streams":
        handle = stream_lines if framing == "line" else stream_len32
        return await asyncio.start_server(handle, HOST, port, limit=CHUNK_BYTES, backlog=BACKLOG)
    protocol = Lines if framing == "line" else Len32
    loop = asyncio.get_running_loop()
    return await loop.create_server(protocol, HOST, port, backlog=BACKLOG)


if __name__ == "__main__":
    run(make_server, sys.argv[4])
