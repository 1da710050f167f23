"""The server behind HAProxy, which sends PROXY headers of both versions, and checks with them.

Each test skips itself where there is no HAProxy.
"""

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Issuer
from tests.process.processors import INTRODUCED, LOOPS
from tests.process.telling import statistics_of, telling
from tests.support import DEADLINE_S, ServerProcess, log_lines, serving, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy here"),
]

READS = ("--proxy-protocol", "any", "--proxy-from", "127.0.0.0/8")
LINES = (*INTRODUCED, "--framing", "line")


@contextlib.contextmanager
def haproxy(
    server: int | str, options: str, directory: Path, bind: str = "", more: str = ""
) -> Iterator[tuple[str, int]]:
    """Run HAProxy in front of a server, with `options` of its server line; give its address.

    `server`: a port, or a path.
    """
    where = server if isinstance(server, str) else f"127.0.0.1:{server}"
    with socket.create_server(("127.0.0.1", 0)) as listener:  # which it inherits
        config = directory / "haproxy.cfg"
        config.write_text(
            "defaults\n mode tcp\n"
            + "".join(f" timeout {what} 30s\n" for what in ("connect", "client", "server"))
            + f"listen plain\n bind fd@{listener.fileno()} {bind}\n{more}"
            + f" server one {where} {options}\n",
            encoding="ascii",
        )
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(config)],
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with process:
            try:
                yield listener.getsockname()
            finally:
                process.kill()


def introduced(sock: socket.socket, line: bytes = b"hello") -> dict[str, Any]:
    """Send a line; return what the server says it knows of the peer."""
    sock.sendall(line + b"\n")
    with sock.makefile("rb") as replies:
        found: dict[str, Any] = json.loads(replies.readline())
    assert found["line"] == line.decode()
    return found


def told_by(server: ServerProcess) -> list[str]:
    """End a server; return the lines of its log behind the start line."""
    code, stderr = server.terminate()
    assert code == 0
    return log_lines(stderr)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("option", "version"), [("send-proxy", 1), ("send-proxy-v2", 2)])
@pytest.mark.parametrize("over_tls", [False, True])
def test_client_behind_haproxy_is_known_by_its_own_address(
    loop: str,
    option: str,
    version: int,
    over_tls: bool,
    tmp_path: Path,
    certificate: tuple[str, str],
) -> None:
    """With TLS from HAProxy to the server, the header comes before that."""
    tls = ("--ssl-certfile", certificate[0]) if over_tls else ()
    with serving("--loop", loop, *LINES, *READS, *tls) as server:
        options = option + (" ssl verify none" if over_tls else "")
        with (
            haproxy(server.port, options, tmp_path) as address,
            socket.create_connection(address, DEADLINE_S) as client,
        ):
            own = client.getsockname()
            found = introduced(client)
        lines = told_by(server)
    assert found["peer_address"] == list(own)
    assert found["uses_tls"] is over_tls
    assert found["proxy"]["version"] == version
    assert found["proxy"]["destination_address"] == list(address)
    assert found["proxy"]["proxy_address"] != list(own)
    # HAProxy may end TLS without a close_notify.
    assert "PROXY" not in lines[-1] if over_tls else "aborted none" in lines[-1]


def test_client_with_a_certificate_is_known_by_its_name(tmp_path: Path) -> None:
    """What HAProxy tells of it, with a checksum; TLS ends at HAProxy."""
    issuer = Issuer(tmp_path)
    theirs = issuer.issue("localhost")
    context = ssl.create_default_context(cafile=issuer.trusted)
    context.load_cert_chain(issuer.issue("ann@example.org", common_name="Ann"))
    context.set_alpn_protocols(["rev"])
    with serving(*LINES, *READS) as server:
        told = "authority,unique-id,crc32c,ssl,cert-cn,ssl-cipher"
        options = f"send-proxy-v2-ssl-cn proxy-v2-options {told}"
        bind = f"ssl crt {theirs} ca-file {issuer.trusted} verify required alpn rev"
        more = " unique-id-format unique-%pid\n"
        with (
            haproxy(server.port, options, tmp_path, bind, more) as address,
            socket.create_connection(address, DEADLINE_S) as plain,
        ):
            own = plain.getsockname()
            with context.wrap_socket(plain, server_hostname="localhost") as client:
                found = introduced(client)
        told_by(server)
    assert found["peer_address"] == list(own)
    proxy = found["proxy"]
    assert (proxy["authority"], proxy["alpn"]) == ("localhost", "rev")
    assert proxy["unique_id"].startswith("unique-")
    assert 3 in [kind for kind, _ in proxy["tlvs"]]  # the checksum
    tls = proxy["tls"]
    assert (tls["is_used"], tls["has_certificate"], tls["is_verified"]) == (True, True, True)
    assert (tls["common_name"], tls["version"]) == ("Ann", "TLSv1.3")
    assert tls["cipher"].startswith("TLS_")


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
@pytest.mark.parametrize("over_tls", [False, True])
def test_health_checks_with_a_header_leave_no_trace(
    option: str, over_tls: bool, tmp_path: Path, certificate: tuple[str, str]
) -> None:
    """A header of no client and an end; with `check-ssl` a handshake between them."""
    tls = ("--ssl-certfile", certificate[0]) if over_tls else ()
    with telling("--framing", "line", *READS, *tls) as server:
        options = f"{option} check check-send-proxy inter 50ms fall 1000"
        if over_tls:
            options += " ssl verify none inter 500ms"
        with haproxy(server.port, options, tmp_path) as address:
            wait_until(lambda: statistics_of(server)["accepted"] >= 5, "some checks were made")
            with socket.create_connection(address, DEADLINE_S) as client:
                client.sendall(b"abc\n")
                with client.makefile("rb") as replies:
                    assert replies.readline() == b"cba\n"
            lines = told_by(server)  # before HAProxy, which would break a check off
    assert [line.split()[2] for line in lines] == ["INFO"] * len(lines)
    assert [line for line in lines if "127.0.0.1:" in line] == []
    assert re.search(r"stopped: \d+ connections, .*, aborted none$", lines[-1]), lines


def test_haproxy_without_send_proxy_is_refused_in_words(tmp_path: Path) -> None:
    """Who is listed must send one."""
    with serving(*LINES, *READS, "--proxy-timeout-s", "60") as server:
        with (
            haproxy(server.port, "", tmp_path) as address,
            socket.create_connection(address, DEADLINE_S) as client,
        ):
            client.sendall(b"hello\n")
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        lines = told_by(server)
    (line,) = [line for line in lines if "PROXY" in line and "closed" in line]
    assert "WARNING 127.0.0.1:" in line
    assert "closed: it begins with b'hello\\n', which is no PROXY header" in line
    assert "aborted {'PROXY header missing': 1}" in lines[-1]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ((), "--proxy-protocol is off; give it together with --proxy-from"),
        ((*READS[:-1], "192.0.2.0/24"), "its sender is not in --proxy-from"),
    ],
)
def test_header_of_a_proxy_that_is_not_listed_is_data_and_a_warning(
    args: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    """It is served as it is: the header is its first line."""
    with serving("--framing", "line", *args) as server:
        with (
            haproxy(server.port, "send-proxy", tmp_path) as address,
            socket.create_connection(address, DEADLINE_S) as client,
        ):
            client.sendall(b"hello\n")
            with client.makefile("rb") as replies:
                assert replies.readline().endswith(b" 4PCT YXORP\r\n")
                assert replies.readline() == b"olleh\n"
        lines = told_by(server)
    (line,) = [line for line in lines if "PROXY header" in line]
    assert "processed as data" in line
    assert why in line


def test_unix_lists_haproxy_at_the_unix_socket(tmp_path: Path) -> None:
    """And the start line says who is listed."""
    path = str(tmp_path / "s")
    reads = ("--proxy-protocol", "v2", "--proxy-from", "unix")
    with serving("--uds", path, *LINES, *reads) as server:
        assert "(PROXY headers, v2, from unix)" in server.start_line
        with (
            haproxy(path, "send-proxy-v2", tmp_path) as address,
            socket.create_connection(address, DEADLINE_S) as client,
        ):
            own = client.getsockname()
            found = introduced(client)
        told_by(server)
    assert found["peer_address"] == list(own)
    assert found["proxy"]["proxy_address"] is None
