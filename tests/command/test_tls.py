"""tls: certificate and key from files, and what is said of files that are none."""

import ssl
from pathlib import Path

import pytest

from asyncrev.command.settings import ServeSettings
from tests.command_line import invoke


def test_certificate_and_key_come_from_files_of_their_own_or_one(
    served: list[ServeSettings], tmp_path: Path
) -> None:
    """By flag or environment; without them the server is a plain one."""
    trustme = pytest.importorskip("trustme")
    issued = trustme.CA().issue_cert("localhost")
    both, certificate, key = (str(tmp_path / name) for name in ("both", "certificate", "key"))
    issued.private_key_and_cert_chain_pem.write_to_path(both)
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    apart = ["--ssl-certfile", certificate, "--ssl-keyfile", key]
    environment = {"ASYNCREV_SSL_CERTFILE": certificate, "ASYNCREV_SSL_KEYFILE": key}
    assert invoke("serve", "--ssl-certfile", both).exit_code == 0
    assert invoke("serve", *apart).exit_code == 0
    assert invoke("serve", env=environment).exit_code == 0
    assert [type(options.ssl) for options in served] == [ssl.SSLContext] * 3
    assert invoke("serve").exit_code == 0
    assert served[-1].ssl is None


def test_encrypted_key_is_an_error_and_not_a_question(tmp_path: Path) -> None:
    """OpenSSL would ask for the password on a terminal that nobody watches."""
    trustme = pytest.importorskip("trustme")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    issued = trustme.CA().issue_cert("localhost")
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    private_key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    done = invoke("serve", "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    assert done.exit_code == 2
    assert "the private key is encrypted" in done.stderr
    assert len(done.stderr.splitlines()) == 1
