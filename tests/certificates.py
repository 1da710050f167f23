"""Certificates for tests, as files, made by an authority of the test's own."""

from pathlib import Path
from typing import Any

import pytest

__all__ = ["Issuer", "localhost_files"]


def localhost_files(directory: Path) -> tuple[str, str]:
    """Write a certificate with its key for localhost, and its authority; return the two files."""
    authority = pytest.importorskip("trustme").CA()
    both, trusted = str(directory / "both.pem"), str(directory / "authority.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(both)
    authority.cert_pem.write_to_path(trusted)
    return both, trusted


class Issuer:
    """An authority, and the files of what it has issued. Skips the test if there is no trustme.

    Attributes:
        trusted: a file with its own certificate.
    """

    def __init__(self, directory: Path) -> None:
        self.trustme = pytest.importorskip("trustme")  # cryptography is not built everywhere
        self.authority = self.trustme.CA()
        self.directory = directory
        self.trusted = str(directory / "authority.pem")
        self.authority.cert_pem.write_to_path(self.trusted)
        self._issued = 0

    def issue(self, *names: str, **settings: Any) -> str:
        """Return a file with a key and a certificate for `names`, with its chain."""
        path = self._path()
        issued = self.authority.issue_cert(*names, **settings)
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def issue_apart(self, *names: str) -> tuple[str, str]:
        """Return a file with the certificate, and one with its key."""
        issued = self.authority.issue_cert(*names)
        certificate, key = self._path(), self._path()
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def _path(self) -> str:
        self._issued += 1
        return str(self.directory / f"issued-{self._issued}.pem")
