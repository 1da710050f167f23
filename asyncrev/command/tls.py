"""What the options --ssl-... make: a server's TLS context, and the certificates in it."""

import dataclasses
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from asyncrev.certificates import Certificate, certificate_in_file
from asyncrev.command.server_names import ByName
from asyncrev.errors import SettingsError

__all__ = [
    "CLIENT_CERTIFICATES",
    "TLS_VERSIONS",
    "Tls",
    "TlsOptions",
    "make_tls",
    "tls_options",
    "wanted_of_clients",
]

TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CLIENT_CERTIFICATES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}

# What OpenSSL's reasons mean for the files that were named.
_REASONS = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "EE_KEY_TOO_SMALL": "the key is shorter than OpenSSL's security level allows",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """Values of the options, by their names without --ssl-."""

    certfiles: Sequence[str]
    keyfiles: Sequence[str] = ()
    ca_certs: str | None = None
    cert_reqs: str | None = None
    ciphers: str | None = None
    min_version: str = "1.2"
    alpn: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Tls:
    """TLS of a server.

    Attributes:
        context: of the first certificate; gives connections that of another one by its name.
        certificates: what each certificate says of itself.
        warnings: what is allowed and still seems wrong, one line each.
    """

    context: ssl.SSLContext
    certificates: tuple[Certificate, ...]
    warnings: tuple[str, ...] = ()


def tls_options(asked: Mapping[str, Any]) -> TlsOptions:
    """Return those among the values of all options, by name."""
    return TlsOptions(
        certfiles=asked["ssl_certfile"],
        keyfiles=asked["ssl_keyfile"],
        ca_certs=asked["ssl_ca_certs"],
        cert_reqs=asked["ssl_cert_reqs"],
        ciphers=asked["ssl_ciphers"],
        min_version=asked["ssl_min_version"],
        alpn=asked["ssl_alpn"],
    )


def make_tls(options: TlsOptions) -> Tls | None:
    """Return the TLS that the options ask for; None without a certificate. Reads files.

    Raises:
        SettingsError: a file cannot be read or has not what belongs there, a key is encrypted,
            or a value cannot be used, alone or beside another one; names the options.
    """
    if not options.certfiles:
        return None
    if options.keyfiles and len(options.keyfiles) != len(options.certfiles):
        raise SettingsError(
            f"--ssl-keyfile: {len(options.keyfiles)} given for {len(options.certfiles)} of "
            "--ssl-certfile; give as many, in the same order, or none if each key is in the file "
            "of its certificate"
        )
    keyfiles: Sequence[str | None] = options.keyfiles or [None] * len(options.certfiles)
    contexts = [
        _context(options, certfile, keyfile)
        for certfile, keyfile in zip(options.certfiles, keyfiles, strict=True)
    ]
    certificates = tuple(_certificate(certfile) for certfile in options.certfiles)
    by_name = ByName([(c, its.dns_names) for c, its in zip(contexts, certificates, strict=True)])
    if len(contexts) > 1:
        contexts[0].sni_callback = by_name
    warnings = (
        *_warnings_of_dates(options.certfiles, certificates),
        *_warnings_of_names(options.certfiles, certificates, by_name.unreachable),
    )
    return Tls(contexts[0], certificates, warnings)


def _context(options: TlsOptions, certfile: str, keyfile: str | None) -> ssl.SSLContext:
    """Return the context of one certificate, with the settings that all have.

    OpenSSL takes some of them from the first context, and some, such as ALPN, from the one that a
    name leads to.
    """
    context = _with_certificate(certfile, keyfile)
    _set_clients(context, options)
    _set_versions(context, options)
    if options.alpn is not None:
        context.set_alpn_protocols(options.alpn)
    return context


def _with_certificate(certfile: str, keyfile: str | None) -> ssl.SSLContext:
    _refuse_unreadable("--ssl-certfile", certfile)  # OpenSSL does not say which file it means
    if keyfile is not None:
        _refuse_unreadable("--ssl-keyfile", keyfile)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    key = "" if keyfile is None else f" --ssl-keyfile {keyfile!r}"
    where = f"--ssl-certfile {certfile!r}{key}"
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password)
    except _EncryptedKey:
        raise SettingsError(
            f"{where}: the private key is encrypted; give one that is not (openssl pkey -in ...)"
        ) from None
    except OSError as error:  # ssl.SSLError is one
        meaning = _REASONS.get(getattr(error, "reason", None) or "")
        if not meaning and keyfile is None and _has_no_key(certfile):
            meaning = "it has no private key; name the key's file with --ssl-keyfile"
        why = meaning or (
            f"no certificate and key can be read from there: {error.strerror or error}"
        )
        raise SettingsError(f"{where}: {why}") from None
    return context


def _has_no_key(certfile: str) -> bool:
    """Return whether a file has a certificate in PEM, and no private key of any kind."""
    with open(certfile, "rb") as file:
        content = file.read()
    return b"-----BEGIN CERTIFICATE-----" in content and b" PRIVATE KEY-----" not in content


def _refuse_unreadable(name: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise SettingsError(f"{name} {path!r}: {error.strerror}") from None


class _EncryptedKey(Exception):
    """OpenSSL asks for a password."""


def _no_password() -> NoReturn:
    """Stand in for OpenSSL's question on the terminal, which nobody may see."""
    raise _EncryptedKey


def _certificate(certfile: str) -> Certificate:
    try:
        return certificate_in_file(certfile)
    except (OSError, ValueError) as error:
        raise SettingsError(f"--ssl-certfile {certfile!r}: {error}") from None


# -- clients, versions -----------------------------------------------------------------------------


def _set_clients(context: ssl.SSLContext, options: TlsOptions) -> None:
    """Set which certificates clients may or must have."""
    wanted = wanted_of_clients(options.cert_reqs, options.ca_certs)
    if options.ca_certs is None:
        if wanted != "none":
            raise SettingsError(
                f"--ssl-cert-reqs {wanted} without --ssl-ca-certs; name the authorities whose "
                "certificates clients may have"
            )
        return
    for path in _authority_files(options.ca_certs):  # of "none", too: a bad path is said now
        try:
            context.load_verify_locations(path)
        except OSError as error:
            reason = "no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
            raise SettingsError(f"--ssl-ca-certs {path!r}: {reason}") from None
    # As Python 3.13 has it: who names an intermediate authority need not name the one above it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = CLIENT_CERTIFICATES[wanted]


def wanted_of_clients(cert_reqs: str | None, ca_certs: str | None) -> str:
    """Return which certificates clients may or must have, as it follows if it is not given."""
    return cert_reqs or ("none" if ca_certs is None else "required")


def _authority_files(path: str) -> list[str]:
    """Return `path`, or the files with certificates in it if it is a directory.

    They are read here, and not by OpenSSL when a client comes: it would look for names that are
    made of hashes only, and find none in a directory of which nobody told it.
    """
    if not os.path.isdir(path):
        return [path]
    try:
        inside = [os.path.join(path, name) for name in sorted(os.listdir(path))]
        files = [file for file in inside if os.path.isfile(file) and _has_certificates(file)]
    except OSError as error:
        raise SettingsError(f"--ssl-ca-certs {error.filename!r}: {error.strerror}") from None
    if not files:
        raise SettingsError(f"--ssl-ca-certs {path!r}: no file in there has a certificate in PEM")
    return files


def _has_certificates(path: str) -> bool:
    with open(path, "rb") as file:
        return b"-----BEGIN CERTIFICATE-----" in file.read()


def _set_versions(context: ssl.SSLContext, options: TlsOptions) -> None:
    """Set versions and ciphers. The default is Python's own lower bound, said aloud."""
    context.minimum_version = TLS_VERSIONS[options.min_version]
    if options.ciphers is None:
        return
    if context.minimum_version is ssl.TLSVersion.TLSv1_3:
        raise SettingsError(
            f"--ssl-ciphers {options.ciphers!r} beside --ssl-min-version 1.3: it is about TLS 1.2 "
            "only; leave out one of them"
        )
    try:
        context.set_ciphers(options.ciphers)
    except (ssl.SSLError, ValueError):  # ValueError: a null character
        raise SettingsError(
            f"--ssl-ciphers {options.ciphers!r}: OpenSSL finds no cipher for TLS 1.2 by this; "
            "`openssl ciphers -v -tls1_2 LIST` shows what a list means"
        ) from None


# -- what may be wrong and is allowed --------------------------------------------------------------


def _warnings_of_dates(paths: Sequence[str], certificates: Sequence[Certificate]) -> Iterator[str]:
    for path, certificate in zip(paths, certificates, strict=True):
        left = certificate.days_left()
        if left < 0:
            what = f"expired at {certificate.not_after:%Y-%m-%d %H:%M} UTC"
        elif certificate.is_early():
            what = f"is not valid before {certificate.not_before:%Y-%m-%d %H:%M} UTC"
        else:
            continue
        yield f"--ssl-certfile {path!r}: the certificate {what}; clients that check it will refuse"


def _warnings_of_names(
    paths: Sequence[str], certificates: Sequence[Certificate], unreachable: Sequence[int]
) -> Iterator[str]:
    for number in unreachable:
        has_names = bool(certificates[number].dns_names)
        yield (
            f"--ssl-certfile {paths[number]!r}: no client gets this certificate, because "
            f"{'earlier ones have all of its names' if has_names else 'it has no name of a host'}"
        )
