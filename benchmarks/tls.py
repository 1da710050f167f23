"""TLS in a run: which version, and a certificate that is made for it."""

import contextlib
import dataclasses
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.build import COMPILER

__all__ = ["KEYS", "VERSIONS", "Tls", "made", "missing"]

VERSIONS = ("1.2", "1.3")
KEYS = {
    "ecdsa": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "rsa": ("-newkey", "rsa:2048"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Tls:
    """What load generator and servers use.

    Attributes:
        version: the only one that the load generator speaks.
        key: the kind of the certificate's key, one of `KEYS`.
        certificate: a file with certificate and key in PEM.
    """

    version: str
    key: str
    certificate: Path


def missing() -> str | None:
    """Return what the C programs lack for TLS, and where to get it; None if nothing."""
    headers = [COMPILER, "-E", "-include", "openssl/ssl.h", "-x", "c", "/dev/null"]
    for command, what in (
        (headers, "the headers of OpenSSL (Debian: apt-get install libssl-dev)"),
        (["openssl", "version"], "the command openssl (Debian: apt-get install openssl)"),
    ):
        try:
            done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        except FileNotFoundError:
            return COMPILER if command is headers else what
        if done.returncode:
            return what
    return None


@contextlib.contextmanager
def made(version: str, key: str) -> Iterator[Tls]:
    """Make a certificate for localhost, there until the block ends.

    Raises:
        RuntimeError: something is missing, or openssl fails; says what.
    """
    lacking = missing()
    if lacking is not None:
        raise RuntimeError(f"--tls needs {lacking}, which is not here")
    with tempfile.TemporaryDirectory(prefix="asyncrev-benchmark-tls-") as directory:
        both = Path(directory) / "both.pem"
        certificate, private = both.with_name("certificate.pem"), both.with_name("key.pem")
        command = ["openssl", "req", "-x509", *KEYS[key], "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", str(private), "-out", str(certificate)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
        both.touch(mode=0o600)
        both.write_bytes(private.read_bytes() + certificate.read_bytes())
        yield Tls(version, key, both)
