"""The server over TLS, talked to by other programs: openssl, ncat, socat and HAProxy.

Each test skips itself where its program is missing.
"""

import contextlib
import re
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.telling import statistics_of, telling
from tests.support import DEADLINE_S, log_lines, receive_all, serving, wait_until

pytestmark = pytest.mark.process

LINES = [bytes([97 + number % 26]) * number + b"." for number in range(0, 3000, 100)]
ASKED = b"".join(line + b"\n" for line in LINES)
ANSWERED = b"".join(line[::-1] + b"\n" for line in LINES)
NO_CLOSE_NOTIFY = "the peer ended its stream without TLS's close_notify"


def needs(program: str) -> pytest.MarkDecorator:
    """Return a mark for a test that runs `program`."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program} here")


def levels_of(stderr: str) -> list[str]:
    """Return the levels of the lines of a log."""
    return [line.split()[2] for line in log_lines(stderr)]


# -- openssl -----------------------------------------------------------------------------------


class SClient:
    """An s_client that takes commands: a line of input that begins with such a letter."""

    def __init__(self, port: int, trusted: str, version: str) -> None:
        self.process = subprocess.Popen(
            [
                *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", version),
                *("-CAfile", trusted, "-verify_return_error"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self.said = b""

    def write(self, line: bytes) -> None:
        """Write a line; before the next one wait for what it brings about, or both are one."""
        assert self.process.stdin is not None
        self.process.stdin.write(line)

    def wait_for(self, part: bytes) -> None:
        """Wait until s_client has printed `part`, behind what was waited for before."""
        stdout = self.process.stdout
        assert stdout is not None
        while part not in self.said:
            assert select.select([stdout], [], [], DEADLINE_S)[0], self.said
            data = stdout.read(1 << 16)
            assert data, self.said
            self.said += data
        self.said = self.said.partition(part)[2]

    def wait_for_end(self) -> bytes:
        """Return what it prints until its end."""
        said, _ = self.process.communicate(timeout=DEADLINE_S)
        return self.said + said


@contextlib.contextmanager
def s_client(port: int, trusted: str, version: str) -> Iterator[SClient]:
    """Run an s_client, which has done its handshake, and kill it at the end."""
    client = SClient(port, trusted, version)
    with client.process:
        try:
            client.wait_for(b"Verify return code: 0 (ok)")
            yield client
        finally:
            client.process.kill()


@needs("openssl")
def test_key_updates_in_the_middle_of_a_stream_change_nothing(certificate: tuple[str, str]) -> None:
    """`k` changes the client's key, `K` asks for the server's, too (RFC 8446, 4.6.3)."""
    with serving("--framing", "line", "--ssl-certfile", certificate[0]) as server:
        with s_client(server.port, certificate[1], "-tls1_3") as client:
            for number, command in enumerate("KkKKkk"):
                client.write(b"%d hello\n" % number)
                client.wait_for(b"olleh %d\n" % number)
                client.write(command.encode() + b"\n")
                client.wait_for(b"KEYUPDATE")
            client.write(b"again\n")
            client.wait_for(b"niaga\n")
            client.write(b"Q\n")
            client.wait_for_end()
        code, stderr = server.terminate()
    assert code == 0
    assert "aborted none" in stderr


@needs("openssl")
def test_renegotiation_is_refused_and_replies_before_it_come(certificate: tuple[str, str]) -> None:
    """By a warning (RFC 5246, 7.2.2), which s_client takes for fatal; another client stays."""
    with serving("--framing", "line", "--ssl-certfile", certificate[0]) as server:
        with (
            s_client(server.port, certificate[1], "-tls1_2") as other,
            s_client(server.port, certificate[1], "-tls1_2") as client,
        ):
            client.write(b"hello\n")
            client.wait_for(b"olleh\n")
            client.write(b"R\n")
            client.wait_for(b"RENEGOTIATING")
            assert b"no renegotiation" in client.wait_for_end()
            other.write(b"hello\n")
            other.wait_for(b"olleh\n")
            other.write(b"Q\n")
            other.wait_for_end()
        code, stderr = server.terminate()
    assert code == 0
    assert levels_of(stderr).count("WARNING") == 1
    assert "closed: TLS: sslv3 alert handshake failure" in stderr
    assert "aborted {'TLS error': 1}" in stderr


# -- pipes: ncat and socat ---------------------------------------------------------------------


def piped(command: list[str], data: bytes) -> bytes:
    """Return what `command` prints when `data` is its whole input."""
    done = subprocess.run(command, input=data, capture_output=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs("ncat")
@pytest.mark.parametrize("loop", ["epoll", "asyncio"])
def test_ncat_gets_all_replies_though_it_ends_without_close_notify(
    certificate: tuple[str, str], loop: str
) -> None:
    """Its half-close is a bare FIN: whole lines are answered, a partial one is not; then the end.

    The server cannot know that this is all, so it says it, in a line that is no error.
    """
    with serving("--loop", loop, "--framing", "line", "--ssl-certfile", certificate[0]) as server:
        verified = ("--ssl-verify", "--ssl-trustfile", certificate[1])
        command = ["ncat", "--ssl", *verified, "localhost", str(server.port)]
        assert piped(command, ASKED) == ANSWERED
        assert piped(command, ASKED + b"partial") == ANSWERED
        code, stderr = server.terminate()
    assert code == 0
    assert stderr.count(NO_CLOSE_NOTIFY) == 2
    assert set(levels_of(stderr)) == {"INFO"}


@needs("socat")
@pytest.mark.parametrize("version", ["TLS1.2", "TLS1.3"])
def test_socat_gets_all_replies_and_ends_in_good_order(
    certificate: tuple[str, str], version: str
) -> None:
    """It half-closes with close_notify, so the last line is known to be whole."""
    bounds = f"openssl-min-proto-version={version},openssl-max-proto-version={version}"
    with serving("--framing", "line", "--ssl-certfile", certificate[0]) as server:
        peer = f"OPENSSL:localhost:{server.port},cafile={certificate[1]},{bounds}"
        command = ["socat", "-t", str(DEADLINE_S), "-", peer]
        assert piped(command, ASKED + b"last") == ANSWERED + b"tsal"
        code, stderr = server.terminate()
    assert code == 0
    assert "aborted none" in stderr


# -- HAProxy -----------------------------------------------------------------------------------


@contextlib.contextmanager
def haproxy(server_port: int, options: str, directory: Path) -> Iterator[tuple[str, int]]:
    """Run HAProxy, which leads plain connections to a server over TLS; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # which it inherits
        config = directory / "haproxy.cfg"
        config.write_text(
            "defaults\n mode tcp\n"
            + "".join(f" timeout {what} 30s\n" for what in ("connect", "client", "server"))
            + f"listen plain\n bind fd@{listener.fileno()}\n"
            + f" server one 127.0.0.1:{server_port} {options}\n",
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


@needs("haproxy")
@pytest.mark.parametrize("version", ["no-tlsv12", "no-tlsv13"])
def test_haproxy_in_front_and_its_health_checks_leave_no_line(
    certificate: tuple[str, str], tmp_path: Path, version: str
) -> None:
    """TLS from it to the server, half-close included; a check is a handshake and no more."""
    args = ("--framing", "line", "--ssl-certfile", certificate[0])
    with telling(*args) as server:
        # What HAProxy allows a check is "inter", the handshake included.
        options = f"ssl verify none {version} check inter 500ms fall 100"
        with haproxy(server.port, options, tmp_path) as address:
            wait_until(lambda: statistics_of(server)["accepted"] >= 2, "some checks were made")
            with socket.create_connection(address, DEADLINE_S) as client:
                client.sendall(ASKED + b"last")
                client.shutdown(socket.SHUT_WR)
                assert receive_all(client) == ANSWERED + b"tsal"
            accepted = statistics_of(server)["accepted"]
            wait_until(lambda: statistics_of(server)["accepted"] > accepted, "it checks on")
            code, stderr = server.terminate()  # before HAProxy, which would break a check off
    assert code == 0
    assert set(levels_of(stderr)) == {"INFO"}
    assert re.search(r"stopped: \d+ connections, .*, aborted none\n$", stderr), stderr
