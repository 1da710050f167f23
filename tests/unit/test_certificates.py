"""certificates: dates and names are those that OpenSSL and cryptography find."""

import contextlib
import datetime
import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from asyncrev.certificates import (
    Certificate,
    certificate_days_left,
    certificate_in_file,
    certificate_of_context,
    decode_certificate,
)
from tests.certificates import Issuer
from tests.strategies import QUICK

UTC = datetime.UTC
DAY = datetime.timedelta(days=1)


def x509() -> Any:
    """Return cryptography's module, which is not built for every interpreter."""
    return pytest.importorskip("cryptography.x509")


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


times = st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59))
labels = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", fullmatch=True)
names = st.builds(".".join, st.lists(labels, min_size=1, max_size=4))


@st.composite
def validities(draw: st.DrawFn) -> tuple[datetime.datetime, datetime.datetime]:
    """Two times in order, of whole seconds."""
    return tuple(sorted(draw(times).replace(microsecond=0, tzinfo=UTC) for _ in range(2)))  # type: ignore[return-value]


def build(
    validity: tuple[datetime.datetime, datetime.datetime],
    general_names: list[Any],
    serial: int,
    extras: int,
) -> bytes:
    """Return a certificate in DER; `extras` says which further extensions stand where."""
    made = x509()
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    who = made.Name([made.NameAttribute(made.NameOID.COMMON_NAME, "x" * (1 + extras))])
    builder = made.CertificateBuilder(
        issuer_name=who,
        subject_name=made.Name([]) if extras & 1 else who,
        public_key=key.public_key(),
        serial_number=serial,
        not_valid_before=validity[0],
        not_valid_after=validity[1],
    )
    if extras & 2:
        builder = builder.add_extension(made.BasicConstraints(False, None), critical=True)
    if general_names:
        alternative = made.SubjectAlternativeName(general_names)
        builder = builder.add_extension(alternative, critical=bool(extras & 1))
    if extras & 4:
        builder = builder.add_extension(
            made.UnrecognizedExtension(made.ObjectIdentifier("1.2.3.4"), b"z" * 300), False
        )
    der: bytes = builder.sign(key, None).public_bytes(serialization.Encoding.DER)
    return der


@QUICK
@hypothesis.given(
    validity=validities(),
    dns=st.lists(st.one_of(names, names.map("*.".__add__)), max_size=30),
    serial=st.integers(1, (1 << 159) - 1),
    extras=st.integers(0, 7),
)
def test_dates_and_names_are_those_that_cryptography_wrote(
    validity: tuple[datetime.datetime, datetime.datetime], dns: list[str], serial: int, extras: int
) -> None:
    """Both forms of times, names in any number among others, any extension before and behind."""
    made = x509()
    others = [made.RFC822Name("a@b.c"), made.UniformResourceIdentifier("https://x.y/z")]
    general = [others[0], *(made.DNSName(name) for name in dns), others[1]]
    der = build(validity, general if dns or extras & 4 else [], serial, extras)
    wanted = Certificate(*validity, tuple(name.lower() for name in dns))
    assert decode_certificate(der) == wanted
    read = made.load_der_x509_certificate(der)
    assert (read.not_valid_before_utc, read.not_valid_after_utc) == validity
    assert decode_certificate(der + b"more") == wanted


@QUICK
@hypothesis.given(data=st.data())
def test_bytes_that_are_no_certificate_are_a_value_error(data: st.DataObject) -> None:
    """Truncated at any byte, or with some bytes changed; nothing but ValueError comes of it."""
    der = bytearray(build((datetime.datetime(2020, 1, 1), datetime.datetime(2060, 1, 1)), [], 7, 7))
    cut = data.draw(st.integers(0, len(der) - 1))
    with pytest.raises(ValueError, match=r"\w"):
        decode_certificate(bytes(der[:cut]))
    places = st.dictionaries(st.integers(0, 120), st.integers(0, 255), min_size=1, max_size=5)
    for at, value in data.draw(places).items():
        der[at] = value
    with contextlib.suppress(ValueError):
        assert isinstance(decode_certificate(bytes(der)), Certificate)


@pytest.mark.parametrize("data", [b"", b"0", b"0\x80", b"0\x85\0\0\0\0\1x", b"\x1f\1x", b"\2\1x"])
def test_element_that_is_none_is_a_value_error(data: bytes) -> None:
    """No length, one without an end, one too long, a long tag, no sequence."""
    with pytest.raises(ValueError, match=r"element|length|announced"):
        decode_certificate(data)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
def test_file_says_what_openssl_says_of_it(issuer: Issuer) -> None:
    """Dates and names of the first certificate; the others are those of authorities."""
    path = issuer.issue("a.test", "*.b.test", "192.0.2.1", "xn--bcher-kva.test")
    asked = ["openssl", "x509", "-in", path, "-noout", "-dates", "-ext", "subjectAltName"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
    found = certificate_in_file(path)
    assert list(found.dns_names) == re.findall(r"DNS:([^,\s]+)", said)
    dates = [datetime.datetime.strptime(text, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
             for text in re.findall(r"=(.+)", said)]  # fmt: skip
    assert [found.not_before, found.not_after] == dates
    assert len(found.dns_names) == 3


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
def test_file_with_a_trusted_certificate_and_text_is_read(issuer: Issuer, tmp_path: Path) -> None:
    """As `openssl x509 -text -trustout` writes it; OpenSSL loads that for a server, too."""
    plain, other = issuer.issue("a.test"), tmp_path / "other.pem"
    asked = ["openssl", "x509", "-in", plain, "-text", "-trustout", "-addtrust", "serverAuth"]
    subprocess.run([*asked, "-out", str(other)], timeout=30, check=True)
    assert b"BEGIN TRUSTED CERTIFICATE" in other.read_bytes()
    assert certificate_in_file(other) == certificate_in_file(plain)


def test_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    """A key alone, say."""
    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ValueError, match=r"key.pem' has no certificate"):
        certificate_days_left(path)
    with pytest.raises(FileNotFoundError):
        certificate_days_left(tmp_path / "nothing")


def server_context(path: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


def test_days_left_are_those_of_file_and_context(issuer: Issuer) -> None:
    """Negative for one that has expired."""
    for days in (89.5, -3.5):
        until = datetime.datetime.now(UTC) + days * DAY
        path = issuer.issue("a.test", not_after=until)
        for source in (path, Path(path), server_context(path)):
            assert certificate_days_left(source) == pytest.approx(days, abs=0.01)


def test_certificate_is_early_before_its_first_second() -> None:
    """And has days left from then on."""
    first, last = (
        datetime.datetime(2030, 1, 1, tzinfo=UTC),
        datetime.datetime(2030, 1, 3, tzinfo=UTC),
    )
    certificate = Certificate(first, last, ())
    assert certificate.is_early(first - datetime.timedelta(seconds=1))
    assert not certificate.is_early(first)
    assert certificate.days_left(first) == 2.0


def test_certificate_of_a_context_that_asks_clients_for_theirs(issuer: Issuer) -> None:
    """Over TLS 1.3 the server's comes first; before that it cannot be had."""
    path = issuer.issue("a.test")
    context = server_context(path)
    context.verify_mode = ssl.CERT_REQUIRED
    assert certificate_of_context(context) == certificate_in_file(path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ValueError, match="no handshake shows a certificate"):
        certificate_of_context(context)


def test_context_without_a_certificate_is_a_value_error() -> None:
    """A server's that was not given one yet, and a client's."""
    for purpose in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        with pytest.raises(ValueError, match="no handshake shows a certificate"):
            certificate_days_left(ssl.SSLContext(purpose))
