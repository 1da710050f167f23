"""aiosmtpd: STARTTLS, which takes a connection into TLS in its middle."""

import asyncio
import smtplib
import ssl
from typing import Any

import pytest

from tests.ecosystem.conftest import Run
from tests.support import DEADLINE_S

# It uses asyncio.iscoroutinefunction and the like, which later interpreters deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:aiosmtpd.*")
smtp = pytest.importorskip("aiosmtpd.smtp")


class Keeping:
    """A handler that keeps the messages."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, list[str], bytes]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        assert session.ssl is not None
        self.kept.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content))
        return "250 kept"


def send(port: int, client_tls: ssl.SSLContext, text: bytes) -> None:
    """Send a message over STARTTLS. Thread: not the loop's."""
    with smtplib.SMTP("127.0.0.1", port, "client", timeout=DEADLINE_S) as client:
        client._host = "localhost"  # type: ignore[attr-defined]  # whom the certificate is for
        client.starttls(context=client_tls)
        assert client.sendmail("from@localhost", ["to@localhost"], text) == {}


def test_messages_over_starttls(
    run: Run[Any], contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Five clients at once, each with more than one line and read."""
    server_tls, client_tls = contexts
    texts = [b"Subject: %d\r\n\r\n" % number + b"line\r\n" * 20_000 for number in range(5)]
    handler = Keeping()

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: smtp.SMTP(
                handler, tls_context=server_tls, require_starttls=True, hostname="here"
            ),
            "127.0.0.1",
            0,
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.gather(
                *(asyncio.to_thread(send, port, client_tls, text) for text in texts)
            )

    run(main())
    assert sorted(kept[2] for kept in handler.kept) == sorted(texts)
    assert {(sender, *to) for sender, to, _ in handler.kept} == {("from@localhost", "to@localhost")}
