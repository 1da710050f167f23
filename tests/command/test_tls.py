"""tls: what the options make of files, and what is said of values that are no use."""

import datetime
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from asyncrev.command.options import option_named
from asyncrev.command.settings import ServeSettings
from asyncrev.command.tls import CLIENT_CERTIFICATES, TLS_VERSIONS, Tls, TlsOptions, make_tls
from tests.certificates import Issuer
from tests.command_line import invoke

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> ssl.SSLObject:
    """Return the client's side after a handshake in memory, and a byte of the server's."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for side in sides * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    sides[1].write(b"x")
    assert sides[0].read(1) == b"x"
    return sides[0]


def client_of(issuer: Issuer, *, checks: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=issuer.trusted)
    if not checks:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def made(**options: object) -> Tls:
    """Return what these options make."""
    tls = make_tls(TlsOptions(**options))  # type: ignore[arg-type]
    assert tls is not None
    return tls


def refused(*args: str, env: dict[str, str] | None = None) -> str:
    """Return the one line with which `asyncrev serve` refuses these arguments."""
    done = invoke("serve", *args, env=env)
    assert done.exit_code == 2, done.output
    assert done.output.count("\n") == 1
    return done.output


# -- certificates ----------------------------------------------------------------------------------


def test_certificate_and_key_come_from_files_of_their_own_or_one(
    served: list[ServeSettings], issuer: Issuer
) -> None:
    """By flag or environment; without them the server is a plain one."""
    both, (certificate, key) = issuer.issue("localhost"), issuer.issue_apart("localhost")
    apart = ["--ssl-certfile", certificate, "--ssl-keyfile", key]
    environment = {"ASYNCREV_SSL_CERTFILE": certificate, "ASYNCREV_SSL_KEYFILE": key}
    assert invoke("serve", "--ssl-certfile", both).exit_code == 0
    assert invoke("serve", *apart).exit_code == 0
    assert invoke("serve", env=environment).exit_code == 0
    assert [type(options.ssl) for options in served] == [ssl.SSLContext] * 3
    assert invoke("serve").exit_code == 0
    assert served[-1].ssl is None


def test_several_certificates_are_chosen_by_name(
    served: list[ServeSettings], issuer: Issuer
) -> None:
    """By flags or in one variable; the first is for clients that name none, or another host."""
    files = [issuer.issue_apart(name) for name in ("a.test", "b.test", "*.c.test")]
    flags = [
        part
        for certificate, key in files
        for part in ("--ssl-certfile", certificate, "--ssl-keyfile", key)
    ]
    certificates, keys = (":".join(paths) for paths in zip(*files, strict=True))
    environment = {"ASYNCREV_SSL_CERTFILE": certificates, "ASYNCREV_SSL_KEYFILE": keys}
    assert invoke("serve", *flags).exit_code == 0
    assert invoke("serve", env=environment).exit_code == 0
    for settings in served:
        assert settings.ssl is not None
        for name in ("a.test", "b.test", "x.c.test"):
            shake(settings.ssl, client_of(issuer), name)  # which checks the name
        shown = [
            shake(settings.ssl, client_of(issuer, checks=False), name).getpeercert(True)
            for name in ("a.test", None, "elsewhere.test", "b.test")
        ]
        assert shown[0] == shown[1] == shown[2] != shown[3]


def test_settings_hold_for_every_certificate(issuer: Issuer) -> None:
    """OpenSSL takes some of the context that the name leads to, and others of the first."""
    tls = made(
        certfiles=[issuer.issue("a.test"), issuer.issue("b.test")],
        ca_certs=issuer.trusted,
        alpn=("x/2", "x/1"),
        min_version="1.3",
    )
    for name in ("a.test", "b.test"):
        client = client_of(issuer)
        client.set_alpn_protocols(["x/1", "x/2"])
        with pytest.raises(ssl.SSLError, match=r"(?i)did.not.return.a.certificate"):
            shake(tls.context, client, name)
        client.load_cert_chain(issuer.issue("client.test"))
        assert shake(tls.context, client, name).selected_alpn_protocol() == "x/2"
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol|version"):
            shake(tls.context, client, name)


def test_number_of_keys_is_that_of_the_certificates_or_none(issuer: Issuer) -> None:
    """They belong together by their order."""
    (one, key), (two, _) = issuer.issue_apart("a.test"), issuer.issue_apart("b.test")
    line = refused("--ssl-certfile", one, "--ssl-certfile", two, "--ssl-keyfile", key)
    assert "--ssl-keyfile: 1 given for 2 of --ssl-certfile; give as many, in the same order" in line


def test_certificate_without_its_key_is_refused_in_words(issuer: Issuer) -> None:
    """OpenSSL speaks of a PEM lib; --ssl-keyfile is what is forgotten most easily."""
    certificate, _ = issuer.issue_apart("a.test")
    line = refused("--ssl-certfile", certificate)
    assert f"--ssl-certfile {certificate!r}: it has no private key; name the key's file" in line


def test_key_of_another_certificate_is_refused_in_words(issuer: Issuer) -> None:
    """OpenSSL speaks of mismatching values."""
    (one, _), (_, key) = issuer.issue_apart("a.test"), issuer.issue_apart("b.test")
    line = refused("--ssl-certfile", one, "--ssl-keyfile", key)
    assert f"--ssl-certfile {one!r} --ssl-keyfile {key!r}: the key does not belong to the" in line


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
def test_key_that_is_too_short_is_refused_in_words(tmp_path: Path) -> None:
    """OpenSSL speaks of an ee key; 1024 bits of RSA are too few from its level 2 on."""
    certificate, key = str(tmp_path / "certificate"), str(tmp_path / "key")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=a.test"]
    command += ["-keyout", key, "-out", certificate]
    subprocess.run(command, capture_output=True, timeout=30, check=True)
    line = refused("--ssl-certfile", certificate, "--ssl-keyfile", key)
    assert "the key is shorter than OpenSSL's security level allows" in line


def test_encrypted_key_is_an_error_and_not_a_question(issuer: Issuer) -> None:
    """OpenSSL would ask for the password on a terminal that nobody watches."""
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    certificate, key = issuer.issue_apart("localhost")
    private_key = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    Path(key).write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    line = refused("--ssl-certfile", certificate, "--ssl-keyfile", key)
    assert f"--ssl-keyfile {key!r}: the private key is encrypted; give one that is not" in line


def test_certificate_outside_its_time_is_a_warning(issuer: Issuer) -> None:
    """A server with a wrong clock, or a client that does not look, can still go on."""
    files = [
        issuer.issue("a.test", not_before=NOW - 9 * DAY, not_after=NOW - DAY),
        issuer.issue("b.test", not_before=NOW + DAY, not_after=NOW + 9 * DAY),
        issuer.issue("c.test", not_before=NOW - DAY, not_after=NOW + 9 * DAY),
    ]
    expired, early = made(certfiles=files).warnings
    assert (
        f"--ssl-certfile {files[0]!r}: the certificate expired at {NOW - DAY:%Y-%m-%d}" in expired
    )
    assert f"--ssl-certfile {files[1]!r}: the certificate is not valid before {NOW + DAY:%Y-%m-%d}" in early  # fmt: skip # noqa: E501


def test_certificate_that_no_client_gets_is_a_warning(issuer: Issuer) -> None:
    """Its names are taken, or it has none that a client can send."""
    files = [issuer.issue(name) for name in ("a.test", "a.test", "192.0.2.1")]
    taken, nameless = made(certfiles=files).warnings
    assert f"{files[1]!r}: no client gets this certificate, because earlier ones have all" in taken
    assert f"{files[2]!r}: no client gets this certificate, because it has no name" in nameless
    assert made(certfiles=files[:1]).warnings == made(certfiles=files[2:]).warnings == ()


# -- clients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ([], ssl.CERT_REQUIRED),
        (["--ssl-cert-reqs", "none"], ssl.CERT_NONE),
        (["--ssl-cert-reqs", "optional"], ssl.CERT_OPTIONAL),
        (["--ssl-cert-reqs", "required"], ssl.CERT_REQUIRED),
    ],
)
def test_authorities_alone_mean_that_a_certificate_is_required(
    served: list[ServeSettings], issuer: Issuer, given: list[str], mode: ssl.VerifyMode
) -> None:
    """Who names them wants clients checked; to forget the other option would admit everyone."""
    done = invoke(
        *("serve", "--ssl-certfile", issuer.issue("a.test"), "--ssl-ca-certs", issuer.trusted),
        *given,
    )
    assert done.exit_code == 0, done.output
    assert served[0].ssl is not None
    assert served[0].ssl.verify_mode is mode


def test_optional_certificate_must_be_of_the_authority(issuer: Issuer, tmp_path: Path) -> None:
    """None is well, and so is a good one."""
    (tmp_path / "other").mkdir()
    foreign = Issuer(tmp_path / "other").issue("client.test")
    options = {"ca_certs": issuer.trusted, "cert_reqs": "optional"}
    tls = made(certfiles=[issuer.issue("a.test")], **options)
    client = client_of(issuer)
    shake(tls.context, client, "a.test")
    client.load_cert_chain(issuer.issue("client.test"))
    shake(tls.context, client, "a.test")
    client.load_cert_chain(foreign)
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.verify.failed"):
        shake(tls.context, client, "a.test")


def test_intermediate_authority_suffices_and_admits_its_own_clients_alone(
    issuer: Issuer, tmp_path: Path
) -> None:
    """The one above it may have issued certificates to everybody."""
    child, path = issuer.authority.create_child_ca(), tmp_path / "child.pem"
    child.cert_pem.write_to_path(path)
    tls = made(certfiles=[issuer.issue("a.test")], ca_certs=str(path))
    client = client_of(issuer)
    child.issue_cert("client.test").configure_cert(client)
    shake(tls.context, client, "a.test")
    client.load_cert_chain(issuer.issue("client.test"))
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.verify.failed"):
        shake(tls.context, client, "a.test")


def test_directory_of_authorities_is_read_whatever_its_files_are_called(
    issuer: Issuer, tmp_path: Path
) -> None:
    """OpenSSL would look for names made of hashes when a client comes, and admit nobody."""
    directory = tmp_path / "authorities"
    (directory / "inner").mkdir(parents=True)
    (directory / "README").write_text("nothing")
    certificate = issuer.issue("a.test")
    line = refused("--ssl-certfile", certificate, "--ssl-ca-certs", str(directory))
    assert f"--ssl-ca-certs {str(directory)!r}: no file in there has a certificate in PEM" in line
    (directory / "any name").write_bytes(Path(issuer.trusted).read_bytes())
    tls = made(certfiles=[certificate], ca_certs=str(directory))
    client = client_of(issuer)
    client.load_cert_chain(issuer.issue("client.test"))
    shake(tls.context, client, "a.test")


@pytest.mark.parametrize("wanted", ["optional", "required"])
def test_certificates_of_clients_need_authorities(issuer: Issuer, wanted: str) -> None:
    """Without any, no client's could be valid."""
    line = refused("--ssl-certfile", issuer.issue("a.test"), "--ssl-cert-reqs", wanted)
    assert f"--ssl-cert-reqs {wanted} without --ssl-ca-certs; name the authorities" in line


def test_file_of_authorities_must_have_some(issuer: Issuer, tmp_path: Path) -> None:
    """And be there."""
    certificate, empty = issuer.issue("a.test"), tmp_path / "empty"
    empty.write_text("")
    for path, part in ((empty, "no certificate in PEM"), (tmp_path / "no", "No such file or")):
        for more in ([], ["--ssl-cert-reqs", "none"]):
            line = refused("--ssl-certfile", certificate, "--ssl-ca-certs", str(path), *more)
            assert f"--ssl-ca-certs {str(path)!r}: {part}" in line


# -- versions, ciphers, protocols ------------------------------------------------------------------


def test_choices_of_the_table_are_those_that_are_known() -> None:
    """The table does not import ssl, so that help comes quickly."""
    assert list(option_named("ssl_min_version").type.choices) == list(TLS_VERSIONS)
    assert list(option_named("ssl_cert_reqs").type.choices) == list(CLIENT_CERTIFICATES)


def test_oldest_version_is_what_is_asked_for(issuer: Issuer) -> None:
    """1.2 without it, whatever the system's configuration says."""
    certificate = issuer.issue("a.test")
    assert made(certfiles=[certificate]).context.minimum_version is ssl.TLSVersion.TLSv1_2
    context = made(certfiles=[certificate], min_version="1.3").context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert "'1.1' is not one of '1.2', '1.3'" in refused(
        "--ssl-certfile", certificate, "--ssl-min-version", "1.1"
    )


def test_ciphers_are_those_of_the_list(issuer: Issuer) -> None:
    """For TLS 1.2; those of 1.3 stay."""
    certificate, cipher = issuer.issue("a.test"), "ECDHE-ECDSA-AES128-GCM-SHA256"
    context = made(certfiles=[certificate], ciphers=cipher).context
    old = [found["name"] for found in context.get_ciphers() if found["protocol"] != "TLSv1.3"]
    assert old == [cipher]


@pytest.mark.parametrize("ciphers", ["NONSENSE", "TLS_AES_128_GCM_SHA256", "ALL:!ALL"])
def test_ciphers_that_openssl_refuses_are_named(issuer: Issuer, ciphers: str) -> None:
    """TLS 1.3's names too: they are no part of such a list."""
    line = refused("--ssl-certfile", issuer.issue("a.test"), "--ssl-ciphers", ciphers)
    assert f"--ssl-ciphers {ciphers!r}: OpenSSL finds no cipher for TLS 1.2 by this;" in line


def test_ciphers_beside_tls_1_3_alone_are_refused(issuer: Issuer) -> None:
    """They would mean nothing."""
    given = ["--ssl-ciphers", "HIGH", "--ssl-min-version", "1.3"]
    line = refused("--ssl-certfile", issuer.issue("a.test"), *given)
    assert "--ssl-ciphers 'HIGH' beside --ssl-min-version 1.3: it is about TLS 1.2 only" in line


@pytest.mark.parametrize(
    ("protocols", "part"),
    [
        ("", "'' (0 bytes) is not the name of a protocol; give names of 1 to 255 ASCII"),
        ("h2,,h3", "'' (0 bytes)"),
        ("x" * 256, "(256 bytes)"),
        ("grüße", "'grüße' (7 bytes)"),
    ],
)
def test_protocol_that_is_none_is_named(issuer: Issuer, protocols: str, part: str) -> None:
    """Its length is one byte on the wire, and Python takes ASCII."""
    line = refused("--ssl-certfile", issuer.issue("a.test"), f"--ssl-alpn={protocols}")
    assert "--ssl-alpn" in line
    assert part in line


@pytest.mark.parametrize("name", ["keyfile", "ca-certs", "cert-reqs", "ciphers", "alpn"])
def test_option_without_a_certificate_is_refused(name: str) -> None:
    """The server would be a plain one, and nobody would notice."""
    value = {"cert-reqs": "none"}.get(name, "x")
    line = refused(f"--ssl-{name}", value)
    assert f"--ssl-{name} without --ssl-certfile; name the certificate, too" in line
