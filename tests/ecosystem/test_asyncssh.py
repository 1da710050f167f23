"""asyncssh: sessions, a jump host and tunnels. Its peers speak first, at both ends of a tunnel."""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.ecosystem.conftest import Run

asyncssh = pytest.importorskip("asyncssh")


class Hosts:
    """Keys and the configuration of a client that trusts the servers that are started here."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.user_key = asyncssh.generate_private_key("ssh-ed25519")
        self.user_key.write_private_key(folder / "id")
        self.user_key.write_public_key(folder / "authorized")
        public = self.host_key.export_public_key().decode()
        (folder / "known").write_text(f"* {public}")

    @contextlib.asynccontextmanager
    async def server(self) -> AsyncIterator[Any]:
        """An SSH server that sends back what a session gets, in upper case, and forwards."""
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Forwarding,
            server_host_keys=[self.host_key],
            authorized_client_keys=str(self.folder / "authorized"),
            process_factory=shout,
            encoding=None,
        )
        try:
            yield server
        finally:
            server.close()
            await server.wait_closed()

    def client_config(self, *lines: str) -> list[str]:
        """Return the argument `config` of a client, with more lines at its end."""
        path = self.folder / "config"
        known = [
            f"UserKnownHostsFile {self.folder / 'known'}",
            f"IdentityFile {self.folder / 'id'}",
        ]
        path.write_text("\n".join(["User guest", *known, *lines]))
        return [str(path)]


class Forwarding(asyncssh.SSHServer):  # type: ignore[misc]  # an optional package
    """Allows tunnels to anywhere; only loopback is asked for."""

    def connection_requested(self, *address: Any) -> bool:
        return True

    def server_requested(self, *address: Any) -> bool:
        return True


async def shout(process: Any) -> None:
    """Send back the input in upper case."""
    while data := await process.stdin.read(65536):
        process.stdout.write(data.upper())
        await process.stdout.drain()
    process.exit(0)


@contextlib.asynccontextmanager
async def greeter() -> AsyncIterator[int]:
    """A server that greets before it reads, as SMTP, FTP and MySQL do, and then echoes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def exchange(port: int, payload: bytes) -> bytes:
    """Return what comes through a tunnel at `port`: the greeting, and the echo of `payload`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = await reader.readline()

    async def send() -> None:
        writer.write(payload)
        await writer.drain()
        writer.write_eof()

    _, rest = await asyncio.gather(send(), reader.read(-1))
    writer.close()
    await writer.wait_closed()
    return received + rest


def test_session_behind_a_jump_host(run: Run[Any], tmp_path: pathlib.Path, payload: bytes) -> None:
    """ProxyJump: the inner connection's greeting waits at the jump host when it connects."""
    hosts = Hosts(tmp_path)

    async def main() -> bytes:
        async with hosts.server() as jump, hosts.server() as target:
            config = hosts.client_config(
                "Host target",
                "HostName 127.0.0.1",
                f"Port {target.get_port()}",
                f"ProxyJump 127.0.0.1:{jump.get_port()}",
            )
            async with asyncssh.connect("target", config=config) as client:
                done = await client.run("shout", input=payload, encoding=None, check=True)
                output: bytes = done.stdout
                return output

    assert run(main()) == payload.upper()


def test_local_and_remote_tunnels(run: Run[Any], tmp_path: pathlib.Path, payload: bytes) -> None:
    """Both to a server that greets first."""
    hosts = Hosts(tmp_path)

    async def main() -> list[bytes]:
        async with (
            greeter() as port,
            hosts.server() as server,
            asyncssh.connect(
                "127.0.0.1", server.get_port(), config=hosts.client_config()
            ) as client,
            client.forward_local_port("127.0.0.1", 0, "127.0.0.1", port) as local,
            await client.forward_remote_port("127.0.0.1", 0, "127.0.0.1", port) as remote,
        ):
            return [
                await exchange(tunnel.get_port(), payload)
                for _ in range(3)
                for tunnel in (local, remote)
            ]

    assert run(main()) == [b"220 ready\r\n" + payload] * 6
