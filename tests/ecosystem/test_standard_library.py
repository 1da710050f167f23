"""What of asyncio needs no stream of ours: subprocesses, datagrams, pipes and signals."""

import asyncio
import os
import signal
import sys
from typing import Any

from tests.ecosystem.conftest import Run

SHOUT = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line.upper())"


def test_subprocesses_with_pipes(run: Run[Any], payload: bytes) -> None:
    """Ten at once, with more than a pipe holds in both directions; and one that is killed."""
    text = payload.hex().encode() + b"\n"

    async def shout() -> tuple[bytes, int | None]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SHOUT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate(text)
        return output, process.returncode

    async def main() -> tuple[list[tuple[bytes, int | None]], int]:
        outputs = await asyncio.gather(*(shout() for _ in range(10)))
        sleeper = await asyncio.create_subprocess_exec("sleep", "600")
        sleeper.kill()
        return outputs, await sleeper.wait()

    assert run(main()) == ([(text.upper(), 0)] * 10, -signal.SIGKILL)


class Echo(asyncio.DatagramProtocol):
    """Sends every datagram back in upper case."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.transport.sendto(data.upper(), address)


class Collect(asyncio.DatagramProtocol):
    """Has what it gets in a queue."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.received.put_nowait(data)


def test_datagrams(run: Run[Any]) -> None:
    """One after another, up to the largest there are; loopback loses none that way."""
    sizes_bytes = [1, 1500, 9000, 60_000] * 20

    async def main() -> list[bytes]:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
        client, collect = await loop.create_datagram_endpoint(
            Collect, remote_addr=server.get_extra_info("sockname")
        )
        answers = []
        for size_bytes in sizes_bytes:
            client.sendto(b"x" * size_bytes)
            answers.append(await collect.received.get())
        client.close()
        server.close()
        await asyncio.sleep(0)
        return answers

    assert [len(answer) for answer in run(main())] == sizes_bytes


def test_pipes_and_signals(run: Run[Any], payload: bytes) -> None:
    """connect_read_pipe, connect_write_pipe and add_signal_handler."""

    async def main() -> tuple[bytes, int]:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        reader = asyncio.StreamReader()
        read_transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", 0)
        )
        write_transport, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(writing, "wb", 0)
        )
        write_transport.write(payload)
        write_transport.close()
        received = await reader.read(-1)
        read_transport.close()
        got = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, lambda: got.set_result(signal.SIGUSR1))
        os.kill(os.getpid(), signal.SIGUSR1)
        number = await got
        loop.remove_signal_handler(signal.SIGUSR1)
        return received, number

    assert run(main()) == (payload, signal.SIGUSR1)
