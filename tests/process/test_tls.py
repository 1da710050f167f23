"""The server as a process with the options of TLS, asked by openssl s_client."""

import contextlib
import datetime
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.certificates import Issuer
from tests.support import (
    DEADLINE_S,
    ROOT,
    ServerProcess,
    ask_a_line,
    run_asyncrev,
    serving,
    wait_until,
)

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here"),
]

SERVE = (sys.executable, "-m", "asyncrev", "serve")


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("certificates"))


class Asked:
    """What s_client did with a server of lines: it sent one, and read until its reply.

    Attributes:
        reply: the reply, without its end; "" if there was none.
        said: what else s_client printed.
    """

    def __init__(self, server: ServerProcess, issuer: Issuer, *args: str, name: str = "") -> None:
        named = ("-servername", name) if name else ("-noservername",)
        with subprocess.Popen(
            [
                *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-ign_eof"),
                *("-CAfile", issuer.trusted, "-verify_return_error", *named, *args),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,  # a line that was not taken is not written once more at the end
        ) as client:
            killer = threading.Timer(DEADLINE_S, client.kill)
            killer.start()
            assert client.stdin is not None
            assert client.stdout is not None
            self.reply, lines = "", []
            try:
                with contextlib.suppress(BrokenPipeError):
                    client.stdin.write(b"hello\n")
                for line in client.stdout:
                    if line.endswith(b"olleh\n"):  # perhaps behind the dump of a ticket
                        self.reply = "olleh"
                        break
                    lines.append(line)
            finally:
                killer.cancel()
                client.kill()
        self.said = b"".join(lines).decode()


def test_certificate_is_that_of_the_name_and_else_the_first(issuer: Issuer) -> None:
    """`-verify_hostname` refuses any other."""
    files = [issuer.issue(name) for name in ("first.test", "second.test", "*.third.test")]
    flags = [part for file in files for part in ("--ssl-certfile", file)]
    with serving("--framing", "line", *flags) as server:
        assert "(TLS, first of 3 certificates expires in " in server.start_line
        for version in ("-tls1_2", "-tls1_3"):
            for name, shown in (
                ("first.test", "first.test"),
                ("second.test", "second.test"),
                ("www.third.test", "www.third.test"),
                ("unknown.test", "first.test"),
                ("", "first.test"),
            ):
                asked = Asked(server, issuer, version, "-verify_hostname", shown, name=name)
                assert asked.reply == "olleh", asked.said
            wrong = Asked(
                server, issuer, version, "-verify_hostname", "first.test", name="second.test"
            )
            assert "hostname mismatch" in wrong.said
            assert not wrong.reply
        assert server.terminate()[0] == 0


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_client_without_a_required_certificate_is_refused(issuer: Issuer, version: str) -> None:
    """A line in the log says why; one with a certificate is served."""
    client = issuer.issue("client.test")
    files = ("--ssl-certfile", issuer.issue("a.test"), "--ssl-ca-certs", issuer.trusted)
    with serving("--framing", "line", *files, "--ssl-cert-reqs", "required") as server:
        refused = Asked(server, issuer, version)
        assert not refused.reply
        assert Asked(server, issuer, version, "-cert", client, "-key", client).reply == "olleh"
        code, stderr = server.terminate()
    assert code == 0
    assert re.search("TLS handshake failed: .*(?i:did.not.return.a.certificate)", stderr)
    assert "Traceback" not in stderr


def test_version_cipher_and_protocol_are_those_of_the_options(issuer: Issuer) -> None:
    """And a client that has none in common is refused without a traceback."""
    certificate = ("--ssl-certfile", issuer.issue("a.test"))
    cipher = "ECDHE-ECDSA-CHACHA20-POLY1305"
    settings = ("--ssl-ciphers", cipher, "--ssl-alpn", "x/2,x/1")
    with serving("--framing", "line", *certificate, *settings) as server:
        asked = Asked(server, issuer, "-tls1_2", "-alpn", "x/1,x/2")
        assert asked.reply == "olleh"
        assert f"Cipher is {cipher}" in asked.said
        assert "ALPN protocol: x/2" in asked.said
        assert not Asked(
            server, issuer, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"
        ).reply
        asked = Asked(server, issuer, "-tls1_3", "-alpn", "other")
        assert asked.reply == "olleh"
        assert "No ALPN negotiated" in asked.said
        assert "Traceback" not in server.terminate()[1]
    with serving("--framing", "line", *certificate, "--ssl-min-version", "1.3") as server:
        assert not Asked(server, issuer, "-tls1_2").reply
        assert Asked(server, issuer, "-tls1_3").reply == "olleh"
        assert "Traceback" not in server.terminate()[1]


def test_expired_certificate_is_a_line_before_the_start_line(
    issuer: Issuer, tmp_path: Path
) -> None:
    """And the server starts: its clock may be the wrong one."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = issuer.issue("a.test", not_after=then)
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*SERVE, "--port", "0", "--ssl-certfile", certificate], stderr=stderr
        )
        try:
            wait_until(lambda: b"serving on" in log.read_bytes(), "the server has started")
        finally:
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
    first, second, *_ = log.read_text().splitlines()
    assert f"WARNING --ssl-certfile {certificate!r}: the certificate expired at" in first
    assert "(TLS, certificate has expired) loop=" in second


def test_session_is_resumed_by_its_process_alone(issuer: Issuer, tmp_path: Path) -> None:
    """Tickets carry the session; their keys are made anew by each process (serve-tls.md)."""
    files = [
        part for name in ("a.test", "b.test") for part in ("--ssl-certfile", issuer.issue(name))
    ]
    session = str(tmp_path / "session")
    args = ("--framing", "line", *files)
    with serving(*args) as first, serving(*args) as second:
        for version in ("-tls1_2", "-tls1_3"):
            started = Asked(first, issuer, version, "-sess_out", session, name="b.test")
            assert started.reply == "olleh"
            for server, how in ((first, "Reused, "), (second, "New, ")):
                asked = Asked(server, issuer, version, "-sess_in", session, name="b.test")
                assert asked.reply == "olleh"
                assert how in asked.said


def test_bad_file_ends_the_process_with_one_line(tmp_path: Path) -> None:
    """Exit 2, before anything listens."""
    done = run_asyncrev("serve", "--port", "0", "--ssl-certfile", str(tmp_path / "none.pem"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("none.pem': No such file or directory")


def test_certificate_that_the_page_makes_is_served(tmp_path: Path) -> None:
    """And the page's client trusts it."""
    page = (ROOT / "docs" / "howto" / "serve-tls.md").read_text(encoding="utf-8")
    make, ask = re.findall(r"^\$ (openssl .+)", page, re.M)
    subprocess.run(shlex.split(make), cwd=tmp_path, capture_output=True, timeout=30, check=True)
    certificate = ("--ssl-certfile", "server.pem", "--ssl-keyfile", "server.key")
    with serving("--framing", "line", *certificate, cwd=tmp_path) as server:
        assert re.search(r"\(TLS, certificate expires in (89|90) days\) loop=", server.start_line)
        command = ask.replace("localhost:9090", f"127.0.0.1:{server.port}")
        ask_a_line(shlex.split(command), cwd=tmp_path)
