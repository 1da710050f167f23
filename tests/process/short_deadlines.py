"""A server whose deadlines have no option: `python -m tests.process.short_deadlines serve ...`.

Its handshakes, its drain and its lingering are given $DEADLINE_S seconds; it ends at SIGTERM with
a line that says what was aborted.
"""

import asyncio
import os
import signal
import ssl
import sys

import click

import asyncrev
from asyncrev import EpollEventLoop, Limits


async def serve_until_terminated(certificate: str | None) -> None:
    """Serve, tell where, drain at SIGTERM, tell what was aborted."""
    deadline_s = float(os.environ["DEADLINE_S"])
    limits = Limits(
        tls_handshake_timeout_s=deadline_s,
        linger_timeout_s=deadline_s,
        drain_timeout_s=deadline_s,
    )
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    server = await asyncrev.serve("127.0.0.1", 0, limits=limits, ssl=context)
    print(f"serving on 127.0.0.1:{server.port}", file=sys.stderr, flush=True)
    await terminated.wait()
    in_time = await server.drain()
    print(
        f"in time: {in_time}, aborted: {server.statistics().aborted}", file=sys.stderr, flush=True
    )


@click.command()
@click.argument("verb")
@click.option("--port")
@click.option("--loop")
@click.option("--ssl-certfile")
def main(verb: str, port: str, loop: str, ssl_certfile: str | None) -> None:
    """Serve on `loop`."""
    make_loop = {"epoll": EpollEventLoop, "asyncio": asyncio.SelectorEventLoop}.get(loop)
    if make_loop is None:
        import uvloop

        make_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(serve_until_terminated(ssl_certfile))


if __name__ == "__main__":
    main()
