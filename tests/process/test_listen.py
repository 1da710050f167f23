"""The server as a process: TLS, and an inherited socket."""

import contextlib
import os
import re
import shutil
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.process.processors import EVERY_LOOP
from tests.support import (
    DEADLINE_S,
    ask,
    ask_a_line,
    end_of,
    pattern,
    receive_exactly,
    run_asyncrev,
    serving,
)

pytestmark = pytest.mark.process


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A listening socket that a child may inherit."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.set_inheritable(True)
        yield sock


# -- TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_tls_server_answers_a_client_that_trusts_it(
    loop: str, certificate: tuple[str, str]
) -> None:
    """The start line says so; a client without TLS gets no byte of reply."""
    context = ssl.create_default_context(cafile=certificate[1])
    with serving("--loop", loop, "--ssl-certfile", certificate[0]) as server:
        where = rf"serving on 127\.0\.0\.1:{server.port} \(TLS, certificate expires in \d+ days\)"
        assert re.search(f"{where} loop={loop} ", server.start_line)
        with context.wrap_socket(server.connect(), server_hostname="localhost") as tls:
            for nbytes in (1, 100, 4000):
                data = pattern(nbytes)
                assert ask(tls, data) == data[::-1]
        with server.connect() as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"GET"[::-1] not in plain.recv(100)
            end_of(plain)
        code, stderr = server.terminate()
    assert code == 0
    assert "Traceback" not in stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
def test_openssl_s_client_is_answered(certificate: tuple[str, str]) -> None:
    """A client that is none of ours, which verifies the certificate."""
    with serving("--framing", "line", "--ssl-certfile", certificate[0]) as server:
        ask_a_line(
            [
                *("openssl", "s_client", "-quiet", "-verify_return_error"),
                *("-CAfile", certificate[1], "-servername", "localhost"),
                *("-connect", f"127.0.0.1:{server.port}"),
            ],
        )


# -- an inherited socket -------------------------------------------------------------------------


@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_inherited_socket_is_listened_on_and_its_queue_is_served(loop: str) -> None:
    """Who connected before the server was there is served, as with socket activation."""
    with listening() as sock:
        early = socket.create_connection(sock.getsockname(), DEADLINE_S)
        early.sendall(b"early")
        fd = sock.fileno()
        with early, serving("--loop", loop, "--fd", str(fd), pass_fds=[fd]) as server:
            assert server.port == sock.getsockname()[1]
            assert receive_exactly(early, 5) == b"ylrae"
            with server.connect() as client:
                assert ask(client, b"abc") == b"cba"
            early.close()
            assert server.terminate()[0] == 0


def test_descriptor_that_is_no_listening_socket_is_refused_in_one_line() -> None:
    """Not open, a file, a socket that does not listen, one for datagrams."""
    with (
        open(os.devnull, "rb") as file,
        socket.socket() as unbound,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
    ):
        for fd, part in (
            (99, "descriptor 99 cannot be listened on: Bad file descriptor"),
            (file.fileno(), "cannot be listened on: Socket operation on non-socket"),
            (unbound.fileno(), "is a socket that does not listen; pass a listening stream socket"),
            (datagrams.fileno(), "is a socket of the type SOCK_DGRAM; pass a listening stream"),
        ):
            fds = [] if fd == 99 else [fd]
            done = run_asyncrev("serve", "--fd", str(fd), pass_fds=fds)
            assert done.returncode == 1
            assert part in done.stderr
            assert len(done.stderr.splitlines()) == 1
