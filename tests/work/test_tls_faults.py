"""tls_faults: the words for what OpenSSL finds; test_tls_errors has them from whole lanes."""

import ssl

import pytest

from asyncrev.errors import RemoteError, TlsCertificateRefused, TlsError, TlsHandshakeFailed
from asyncrev.work.tls_faults import fault_of, handshake_failed
from tests.tls_pair import client_context, server_context


def found_by_a_server(wire: bytes) -> ssl.SSLError:
    """Return OpenSSL's error when a client begins with `wire`."""
    incoming = ssl.MemoryBIO()
    incoming.write(wire)
    incoming.write_eof()
    session = server_context().wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    with pytest.raises(ssl.SSLError) as caught:
        session.do_handshake()
    return caught.value


def found_by_a_client(name: str) -> ssl.SSLError:
    """Return OpenSSL's error when the certificate of "localhost" should be one of `name`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context().wrap_bio(to_server, to_client, server_side=True)
    client = client_context().wrap_bio(to_client, to_server, server_hostname=name)
    for side in (client, server):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        client.do_handshake()
    return caught.value


def test_openssl_word_becomes_plain_words() -> None:
    """Without underscores, capitals and the line of C code that noticed it."""
    fault = fault_of(found_by_a_server(b"GET / HTTP/1.1\r\n\r\n"), is_established=False)
    assert type(fault) is TlsHandshakeFailed
    assert str(fault) == "TLS handshake failed: http request"


@pytest.mark.parametrize(("established", "kind"), [(True, TlsError), (False, TlsHandshakeFailed)])
def test_error_without_a_word_of_openssl_is_told_as_it_is(
    established: bool, kind: type[RemoteError]
) -> None:
    """Without the line of C code; where it came decides on the kind."""
    error = ssl.SSLError(1, "Something_Else (_ssl.c:1006)")
    error.reason = None  # type: ignore[assignment]  # as of an error that OpenSSL does not name
    fault = fault_of(error, is_established=established)
    assert type(fault) is kind
    assert str(fault).endswith(": something else")


def test_certificate_that_is_refused_has_the_reason_in_words() -> None:
    """They have the name that was wanted."""
    fault = fault_of(found_by_a_client("other.example"), is_established=False)
    assert type(fault) is TlsCertificateRefused
    assert "other.example" in str(fault)
    assert "_ssl.c" not in str(fault)


@pytest.mark.parametrize(
    ("error", "established", "text"),
    [
        (
            ssl.SSLWantReadError(),
            True,
            "TLS: the peer began a renegotiation, which is not supported",
        ),
        (
            ssl.SSLZeroReturnError(),
            False,
            "TLS handshake failed: the peer ended its stream within it",
        ),
    ],
    ids=["renegotiation", "close_notify"],
)
def test_errors_that_openssl_has_no_reason_for_have_words_of_their_own(
    error: ssl.SSLError, established: bool, text: str
) -> None:
    """Whole records are read, so there is no other reason for more input to be wanted."""
    assert str(fault_of(error, is_established=established)) == text


def test_other_reasons_are_told_in_the_same_words() -> None:
    """Those that OpenSSL does not see."""
    assert str(handshake_failed("no name")) == "TLS handshake failed: no name"
