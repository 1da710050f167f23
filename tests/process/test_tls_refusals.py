"""What bad input over TLS gets from a process: a line with peer and reason, an alert, the end.

And nobody else is touched: a connection that was there before is answered after each of them.
"""

import contextlib
import datetime
import re
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest

from tests.certificates import Issuer
from tests.process.processors import LOOPS
from tests.process.test_tls_ends import VERSIONS
from tests.support import ServerProcess, log_lines, receive_exactly, serving

pytestmark = pytest.mark.process

ALERT_BYTES = 7  # header, level, description (RFC 8446, 6)
UNEXPECTED_MESSAGE, PROTOCOL_VERSION = 10, 70
CIPHER, OTHER_CIPHER = "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """An authority that the server does not know."""
    return Issuer(tmp_path_factory.mktemp("strange"))


def context_of(issuer: Issuer, version: str, certificate: str = "") -> ssl.SSLContext:
    """Return a client's context for one version, with a certificate of its own if one is given."""
    context = ssl.create_default_context(cafile=issuer.trusted)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    if certificate:
        context.load_cert_chain(certificate)
    return context


class Witness:
    """Connects to a server, and knows for whom a line in its log is due.

    Attributes:
        expected: the reason that the line of a peer must give; "" if there must be none.
    """

    def __init__(self, server: ServerProcess, context: ssl.SSLContext) -> None:
        self.server = server
        self.expected: dict[str, str] = {}
        # Connected before all others, and after all of them still served.
        self.other = context.wrap_socket(server.connect(), server_hostname="localhost")
        self.others_name = self._name(self.other)

    @contextlib.contextmanager
    def connected(self, reason: str) -> Iterator[socket.socket]:
        """Give a plain connection; at its end the other one is served as before."""
        with self.server.connect() as sock:
            self.expected[self._name(sock)] = reason
            yield sock
        self.ask()

    def ask(self) -> None:
        """Have a line answered on the connection that nobody may touch."""
        self.other.sendall(b"hello\n")
        assert receive_exactly(self.other, 6) == b"olleh\n"

    def check_log(self) -> None:
        """End the server, and hold its log against what is due: a line for each, and no more."""
        self.ask()
        self.other.unwrap().close()
        code, stderr = self.server.terminate()
        assert code == 0
        lines = log_lines(stderr)
        for peer, reason in self.expected.items():
            of_peer = [line for line in lines if f" {peer}: " in line]
            assert len(of_peer) == (reason != ""), (reason, of_peer)
            if reason:
                level = "INFO" if reason.startswith("TLS handshake failed") else "WARNING"
                assert of_peer[0].endswith(f" {level} {peer}: closed: {reason}")
                assert "_" not in of_peer[0]  # nothing of OpenSSL's names, files or numbers
        assert len(lines) == 2 + sum(map(bool, self.expected.values())), stderr  # drain, stopped
        assert self.others_name not in stderr

    @staticmethod
    def _name(sock: socket.socket) -> str:
        return "{}:{}".format(*sock.getsockname())


@contextlib.contextmanager
def witnessed(
    loop: str, context: ssl.SSLContext, certificate: str, *args: str
) -> Iterator[Witness]:
    """Run a server of lines, and a connection to it by `context`; hold the log to account."""
    args = ("--loop", loop, "--framing", "line", "--ssl-certfile", certificate, *args)
    with serving(*args) as server:
        witness = Witness(server, context)
        witness.ask()
        with witness.other:
            yield witness
            witness.check_log()


def hello_of(version: int) -> bytes:
    """Return a ClientHello of TLS 1.2, that claims to be of another version, 0x0302 say."""
    context = ssl.create_default_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    hello = bytearray(out.read())
    hello[9:11] = version.to_bytes(2, "big")  # behind the headers of record and message
    return bytes(hello)


# What is sent, the reason that is logged, and the alert, if TLS has one: its description.
NO_TLS: dict[str, tuple[Callable[[], bytes], str, int | None]] = {
    "HTTP": (lambda: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "http request", None),
    "a line": (lambda: b"hello\n", "wrong version number", None),
    "garbage": (lambda: bytes(range(200, 256)) * 2000, "wrong version number", None),
    "garbage in a record": (
        lambda: b"\x16\3\1\1\0" + bytes(256),
        "unexpected message",
        UNEXPECTED_MESSAGE,
    ),
    "TLS 1.1": (lambda: hello_of(0x0302), "unsupported protocol", PROTOCOL_VERSION),
}


def what_came(sock: socket.socket) -> bytes:
    """Return all that comes up to the end, which must be an orderly one."""
    received = b""
    while data := sock.recv(4096):
        received += data
    return received


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_no_tls_gets_a_line_an_alert_and_the_end(issuer: Issuer, loop: str) -> None:
    """Plain text, garbage, versions that nobody should use any more; who says nothing gets none."""
    certificate = issuer.issue("localhost")
    with witnessed(loop, context_of(issuer, "1.3"), certificate) as witness:
        for name, (data, reason, alert) in NO_TLS.items():
            with witness.connected(f"TLS handshake failed: {reason}") as sock:
                sock.sendall(data())
                came = what_came(sock)
                if alert is None:
                    assert not came, name
                else:
                    assert len(came) == ALERT_BYTES, name
                    assert (came[0], came[6]) == (21, alert), name
        text = "TLS handshake failed: the peer ended its stream within it"
        with witness.connected(text) as sock:
            sock.sendall(hello_of(0x0303)[:50])
            sock.shutdown(socket.SHUT_WR)
            assert what_came(sock) == b""
        with witness.connected("") as sock:  # a port scan, a health check
            sock.shutdown(socket.SHUT_WR)
            assert what_came(sock) == b""


@pytest.mark.parametrize("loop", LOOPS)
def test_no_version_and_no_cipher_in_common_get_a_line_and_an_alert(
    issuer: Issuer, loop: str
) -> None:
    """Both sides say the same."""
    certificate = issuer.issue("localhost")
    older, newer = context_of(issuer, "1.2"), context_of(issuer, "1.3")
    older.set_ciphers(OTHER_CIPHER)
    with witnessed(loop, newer, certificate, "--ssl-ciphers", CIPHER) as witness:
        assert refusal(witness, older, "no shared cipher") == "handshake failure"
    with witnessed(loop, newer, certificate, "--ssl-min-version", "1.3") as witness:
        assert refusal(witness, older, "unsupported protocol") == "protocol version"


def ask_in_vain(context: ssl.SSLContext, sock: socket.socket) -> None:
    """Send a line over TLS, and wait for what it brings about."""
    with context.wrap_socket(sock, server_hostname="localhost") as client:
        client.sendall(b"a line that nobody may answer\n")
        receive_exactly(client, 100)


def refusal(witness: Witness, context: ssl.SSLContext, reason: str) -> str:
    """Return the alert by which a client is refused; of TLS 1.3 it may have sent a line by then."""
    with (
        witness.connected(f"TLS handshake failed: {reason}") as sock,
        pytest.raises(ssl.SSLError) as caught,
    ):
        ask_in_vain(context, sock)
    assert caught.value.reason is not None
    alert = re.fullmatch(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)", caught.value.reason)
    assert alert is not None, caught.value
    return alert[1].replace("_", " ").lower()


@pytest.mark.parametrize("loop", LOOPS)
def test_certificates_of_clients_that_are_refused(
    issuer: Issuer, stranger: Issuer, loop: str
) -> None:
    """Missing, expired, of another authority, in both versions; the reason reads well.

    In TLS 1.3 the client's handshake is over before the server has seen the certificate.
    """
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    expired = issuer.issue("client", not_after=yesterday)
    good, foreign = issuer.issue("client"), stranger.issue("client")
    cases = [
        ("1.2", "", "peer did not return a certificate", "handshake failure"),
        ("1.3", "", "peer did not return a certificate", "certificate required"),
        ("1.2", expired, "certificate has expired", "certificate expired"),
        ("1.3", expired, "certificate has expired", "certificate expired"),
        ("1.2", foreign, "unable to get local issuer certificate", "unknown ca"),
        ("1.3", foreign, "unable to get local issuer certificate", "unknown ca"),
    ]
    options = ("--ssl-ca-certs", issuer.trusted, "--ssl-cert-reqs", "required")
    with witnessed(
        loop, context_of(issuer, "1.3", good), issuer.issue("localhost"), *options
    ) as witness:
        for version, certificate, reason, alert in cases:
            context = context_of(issuer, version, certificate)
            assert refusal(witness, context, reason) == alert, (version, reason)


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_text_behind_a_handshake_gets_a_line_and_an_alert(
    issuer: Issuer, version: str
) -> None:
    """Replies that were owed before it come first."""
    context = context_of(issuer, version)
    with (
        witnessed("epoll", context_of(issuer, "1.3"), issuer.issue("localhost")) as witness,
        witness.connected("TLS: wrong version number") as sock,
        context.wrap_socket(sock, server_hostname="localhost") as client,
    ):
        client.sendall(b"abc\n")
        socket.socket.sendall(client, b"GET / HTTP/1.1\r\n\r\n")
        assert receive_exactly(client, 4) == b"cba\n"
        with pytest.raises(ssl.SSLError, match="ALERT"):
            client.recv(1)
