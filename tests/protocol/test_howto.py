"""docs/howto/embedding.md: its snippets do what they say."""

import asyncio
from typing import Any

import asyncrev
from asyncrev import Bridge, BridgeProtocol
from tests.protocol.served import SMALL, Swapcase, letters, skip_without, tcp_only, tls_contexts
from tests.unit.test_docs import promised, run, snippets

PAGE = "docs/howto/embedding.md"

pytestmark = tcp_only


def test_snippets_of_embedding_do_what_they_say(snippet_names: dict[str, Any]) -> None:
    """In the order of the page, each with the names of those before; `upgrade` is called, too."""
    skip_without("tls")
    ran = [(run(code, snippet_names, PAGE), promised(code)) for code in snippets(PAGE)]
    assert [printed for printed, _ in ran] == [said for _, said in ran]
    assert sum(bool(printed) for printed, _ in ran) == 6
    assert asyncrev.run(ask_after_upgrade(snippet_names["upgrade"])) == letters(9000).swapcase()


class Plain(asyncio.Protocol):
    """Waits for the word, and has `upgrade` put its connection on a bridge."""

    def __init__(self, bridge: Bridge, upgrade: Any, upgrading: list[asyncio.Future[None]]) -> None:
        self.bridge = bridge
        self.upgrade = upgrade
        self.upgrading = upgrading

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer in plain text, and upgrade."""
        assert data == b"starttls\n"
        self.transport.write(b"go\n")
        connection = BridgeProtocol(self.bridge, Swapcase)
        coroutine = self.upgrade(self.transport, connection, tls_contexts()[0], server_side=True)
        self.upgrading.append(asyncio.ensure_future(coroutine))


async def ask_after_upgrade(upgrade: Any) -> bytes:
    """Have the page's function put a connection on a bridge; return what that answers."""
    upgrading: list[asyncio.Future[None]] = []
    async with Bridge(SMALL) as bridge:
        server = await asyncio.get_running_loop().create_server(
            lambda: Plain(bridge, upgrade, upgrading), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"starttls\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(tls_contexts()[1], server_hostname="localhost")
        writer.write(letters(9000))
        answer = await reader.readexactly(9000)
        await upgrading[0]
        writer.close()
        await writer.wait_closed()
        server.close()
    return answer
