"""The work done in the loop: `in_loop PORT asyncio|uvloop|aiofastnet [numpy | --tls FILE]`.

The fastest that a loop has to offer: a buffered protocol, and one buffer for all connections,
which is safe because it is filled and used within one callback. With `numpy` the reversal itself
is asyncrev's, which for large chunks is six times as fast as a slice. With `--tls` it serves TLS
by the loop's own layer, with certificate and key in FILE.
"""

import asyncio
import ssl
import sys

from benchmarks.peers.common import BACKLOG, CHUNK_BYTES, HOST, run

buffer = bytearray(CHUNK_BYTES)
view = memoryview(buffer)


class InLoop(asyncio.BufferedProtocol):
    """Answers in the callback that brings the bytes."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(view[:nbytes])[::-1])

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class InLoopNumpy(InLoop):
    """The same with asyncrev's NumPy code."""

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes < NUMPY_FROM_BYTES:
            self.transport.write(bytes(view[:nbytes])[::-1])
            return
        chunk = bytearray(view[:nbytes])  # not the shared buffer: a transport may keep it
        reverse_in_place(memoryview(chunk))
        self.transport.write(chunk)


class InLoopTls(InLoop):
    """The same for the loops' TLS, which slices the buffer: of a bytearray that would be a copy."""

    def get_buffer(self, sizehint: int) -> memoryview:  # type: ignore[override]
        return view


if __name__ == "__main__":
    port, loop_name, *options = sys.argv[1:]
    protocol: type[InLoop] = InLoop
    context = None
    if options[:1] == ["--tls"]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options[1])
        protocol = InLoopTls
    elif options == ["numpy"]:
        from asyncrev.work.reverse import NUMPY_FROM_BYTES
        from asyncrev.work.reverse_numpy import reverse_in_place

        protocol = InLoopNumpy

    async def make_server() -> asyncio.Server:
        """Listen."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(protocol, HOST, int(port), backlog=BACKLOG, ssl=context)

    run(make_server, loop_name)
