"""What is told of a peer: immutable, comparable, without secrets in its text."""

import dataclasses
import ssl

import pytest

from asyncrev import ConnectionInfo, TlsInfo
from asyncrev.connection_info import UnixCredentials, tls_info_of
from tests.tls_pair import Peer, authority, client_context, server_context


def test_info_is_immutable_and_compares_by_value() -> None:
    """So that threads may share it."""
    info = ConnectionInfo(peer_address=("127.0.0.1", 1), unix_credentials=UnixCredentials(1, 2, 3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.tls = None  # type: ignore[misc]
    assert info == dataclasses.replace(info)
    assert info != dataclasses.replace(info, peer_address=None)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("has_certificate", [False, True])
def test_negotiated_is_read_off_the_session(version: str, has_certificate: bool) -> None:
    """On the server's side as on the client's, which always sees a certificate."""
    ours = client_context(version, has_of="clients" if has_certificate else "")
    theirs = server_context(version, asks_for="clients" if has_certificate else "")
    client, server = Peer(ours), Peer(theirs)
    wire = client.take()
    while wire:
        wire = client.take(server.take(wire))
    assert client.is_established
    assert server.is_established
    seen = tls_info_of(server.ssl, "localhost")
    assert seen.version == f"TLSv{version}"
    assert seen.cipher == client.ssl.cipher()[0]  # type: ignore[index]
    assert seen.server_name == "localhost"
    assert (seen.peer_certificate is not None) is has_certificate
    assert (seen.peer_certificate_der is not None) is has_certificate
    if has_certificate:
        assert seen.peer_certificate is not None
        assert ("DNS", "client") in seen.peer_certificate["subjectAltName"]
        assert "peer_certificate_der" not in repr(seen)
    other = tls_info_of(client.ssl, None)
    assert other.peer_certificate_der is not None
    assert other.cipher == seen.cipher


def test_application_protocol_is_told() -> None:
    """Where one was negotiated (RFC 7301)."""
    assert TlsInfo(version="TLSv1.3", cipher="x").alpn is None
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    authority("own").issue_cert("localhost").configure_cert(theirs)
    ours.set_alpn_protocols(["rev/2", "rev/1"])
    theirs.set_alpn_protocols(["rev/1"])
    client, server = Peer(ours), Peer(theirs)
    wire = client.take()
    while wire:
        wire = client.take(server.take(wire))
    assert tls_info_of(server.ssl, None).alpn == tls_info_of(client.ssl, None).alpn == "rev/1"


def test_info_with_a_certificate_can_be_hashed() -> None:
    """So it may be a key, whatever the decoded certificate holds."""
    info = TlsInfo(version="TLSv1.3", cipher="x", peer_certificate={"serialNumber": "01"})
    assert {ConnectionInfo(tls=info): 1}[ConnectionInfo(tls=info)] == 1
