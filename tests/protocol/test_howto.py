"""docs/howto/embedding.md: its snippets do what they say."""

import asyncio
from typing import Any

import asyncrev
from asyncrev import Bridge, BridgeProtocol
from tests.protocol.links import SMALL, Swapcase, letters, tcp_only, tls_contexts
from tests.unit.test_docs import promised, run, snippets

PAGE = "docs/howto/embedding.md"

pytestmark = tcp_only


def test_snippets_of_embedding_do_what_they_say() -> None:
    """In the order of the page, each with the names of those before; `upgrade` is called, too."""
    names: dict[str, Any] = {}
    ran = [(run(code, names, PAGE), promised(code)) for code in snippets(PAGE)]
    assert [printed for printed, _ in ran] == [said for _, said in ran]
    assert sum(bool(printed) for printed, _ in ran) == 6
    assert asyncrev.run(ask_after_upgrade(names["upgrade"])) == letters(9000).swapcase()


async def ask_after_upgrade(upgrade: Any) -> bytes:
    """Have the page's function put a connection on a bridge; return what that answers."""
    upgrading: list[asyncio.Task[None]] = []

    class Plain(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            assert data == b"starttls\n"
            self.transport.write(b"go\n")
            link = BridgeProtocol(bridge, Swapcase)
            coroutine = upgrade(self.transport, link, tls_contexts()[0], server_side=True)
            upgrading.append(asyncio.ensure_future(coroutine))

    async with Bridge(SMALL) as bridge:
        server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", 0)
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
