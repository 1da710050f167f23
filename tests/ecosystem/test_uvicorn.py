"""uvicorn with `--loop asyncrev:EpollEventLoop`, as a process of its own."""

import asyncio
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.ecosystem.applications import request, responses
from tests.support import ROOT, listens, wait_until

uvicorn = pytest.importorskip("uvicorn")
if not hasattr(uvicorn.Config, "get_loop_factory"):
    pytest.skip("uvicorn takes a loop of ours from 0.36 on", allow_module_level=True)

LOOPS = {
    "epoll": ("asyncrev:EpollEventLoop", b"EpollEventLoop"),
    "epoll-debug": ("asyncrev:EpollEventLoop", b"EpollEventLoop"),
    "asyncio": ("asyncio", b"_UnixSelectorEventLoop"),
}


@contextlib.contextmanager
def serving(loop: str, path: pathlib.Path) -> Iterator[None]:
    """Serve on a UNIX socket; at the end the server must go in good order."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "tests.ecosystem.applications:app"),
            *("--loop", LOOPS[loop][0], "--uds", str(path), "--log-level", "warning"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONASYNCIODEBUG": "1" if "debug" in loop else ""},
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        wait_until(lambda: listens(path) or process.poll() is not None, "uvicorn listens")
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(10) in (0, -signal.SIGINT)
        errors = process.stderr.read().decode()
        # In debug mode asyncio says what took long, which on a busy machine anything may.
        assert not [line for line in errors.splitlines() if not line.startswith("Executing <")]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_requests_in_a_pipeline(loop: str, tmp_path: pathlib.Path, payload: bytes) -> None:
    """On ten connections at once, a large body first."""
    path = tmp_path / "socket"

    async def talk() -> list[bytes]:
        reader, writer = await asyncio.open_unix_connection(str(path))
        bodies = [payload, b"small", b""]
        writer.writelines([request("/", body) for body in bodies])
        writer.write(request("/loop", last=True))
        answers = await responses(reader, len(bodies) + 1)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        return answers

    async def main() -> list[list[bytes]]:
        return await asyncio.gather(*(talk() for _ in range(10)))

    with serving(loop, path):
        answers = asyncio.run(main())
    assert answers == [[payload.upper(), b"SMALL", b"", LOOPS[loop][1]]] * 10


@pytest.mark.parametrize("loop", LOOPS)
def test_websocket(loop: str, tmp_path: pathlib.Path, payload: bytes) -> None:
    """By way of the package websockets, which uvicorn uses, too."""
    client = pytest.importorskip("websockets.asyncio.client")
    path = tmp_path / "socket"

    async def main() -> list[bytes | str]:
        async with client.unix_connect(str(path), "ws://localhost/", max_size=8 << 20) as peer:
            received = [await peer.recv()]
            for message in (payload, b"short"):
                await peer.send(message)
                received.append(await peer.recv())
            return received

    with serving(loop, path):
        assert asyncio.run(main()) == ["hello", payload, b"short"]
