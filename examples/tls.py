"""TLS: a server with a certificate made for this run, and a client that checks it.

asyncrev serve --ssl-certfile server.pem
openssl s_client -quiet -connect 127.0.0.1:9090
"""

import asyncio
import ssl

import trustme

import asyncrev


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return TLS settings for a server, and for a client that trusts it.

    With files, it is `context.load_cert_chain("server.pem")` in place of `configure_cert`.
    """
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def main() -> None:
    """Reverse two lines over TLS."""
    for_server, for_client = contexts()
    # A peer that connects and does not shake hands is dropped after this time.
    limits = asyncrev.Limits(tls_handshake_timeout_s=5)
    async with await asyncrev.serve(
        "127.0.0.1", 0, framing="line", ssl=for_server, limits=limits
    ) as server:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=for_client, server_hostname="localhost"
        )
        print(writer.get_extra_info("ssl_object").version())
        # TLS has no half-close in asyncio: take the answers, and only then close.
        writer.write(b"hello\nworld\n")
        for _ in range(2):
            print((await reader.readline()).decode(), end="")
        writer.close()
        await writer.wait_closed()
        await server.drain()


if __name__ == "__main__":
    asyncrev.run(main())
