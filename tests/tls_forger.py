"""Encrypted TLS records made by hand: those that OpenSSL's own side would not send.

AES-GCM, with the keys of the peer's key log (RFC 5246, 6.3 and 5288; RFC 8446, 5.2 and 7.3).
"""

import hmac
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from asyncrev.ring.ring import DATA
from tests.tls_pair import APPLICATION_DATA, Bench, client_context, records, server_context


class Forger:
    """Takes over from the peer of a bench after the handshake; the peer must not write any more.

    Attributes:
        bench: whose peer it stands for.
    """

    def __init__(self, bench: Bench, keylog: str, server_hello: bytes, sent_records: int) -> None:
        self.bench = bench
        self._aead = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead")
        name, version, _ = bench.peer.ssl.cipher()  # type: ignore[misc]
        self._hash = "sha384" if name.endswith("SHA384") else "sha256"
        key_bytes = 32 if "256" in name.partition("GCM")[0] else 16
        self.is_13 = version == "TLSv1.3"
        lines = [line.split() for line in keylog.splitlines() if not line.startswith("#")]
        secrets = {label: (bytes.fromhex(one), bytes.fromhex(other)) for label, one, other in lines}
        side = "SERVER" if bench.peer.server_side else "CLIENT"
        if self.is_13:
            secret = secrets[f"{side}_TRAFFIC_SECRET_0"][1]
            self._use(secret, key_bytes)
            self._seq = sent_records
            return
        client_random, master = secrets["CLIENT_RANDOM"]
        server_random = server_hello[11:43]  # behind two headers and the version
        seed = b"key expansion" + server_random + client_random
        block = self._pseudorandom(master, seed, 2 * key_bytes + 8)
        at = side == "SERVER"
        self._key = block[at * key_bytes : (at + 1) * key_bytes]
        self._iv = block[2 * key_bytes + 4 * at : 2 * key_bytes + 4 * at + 4]
        self._seq = 1  # after Finished

    def record(self, record_type: int, payload: bytes, padding_bytes: int = 0) -> bytes:
        """Return the peer's next record, which TLS 1.3 can pad."""
        seq = self._seq.to_bytes(8, "big")
        self._seq += 1
        if self.is_13:
            inner = payload + bytes([record_type]) + bytes(padding_bytes)
            head = bytes([APPLICATION_DATA, 3, 3]) + (len(inner) + 16).to_bytes(2, "big")
            nonce = int.from_bytes(self._iv, "big") ^ int.from_bytes(seq, "big")
            return head + self._encrypt(nonce.to_bytes(12, "big"), inner, head)
        head = bytes([record_type, 3, 3])
        about = seq + head + len(payload).to_bytes(2, "big")
        text = self._encrypt(self._iv + seq, payload, about)
        return head + (len(seq) + len(text)).to_bytes(2, "big") + seq + text

    def update_key(self) -> None:
        """Use the next key, as is due after a KeyUpdate (RFC 8446, 7.2)."""
        hash_bytes = len(self._secret)
        self._use(self._expand(self._secret, b"traffic upd", hash_bytes), len(self._key))
        self._seq = 0

    def _use(self, secret: bytes, key_bytes: int) -> None:
        self._secret = secret
        self._key = self._expand(secret, b"key", key_bytes)
        self._iv = self._expand(secret, b"iv", 12)

    def _encrypt(self, nonce: bytes, text: bytes, about: bytes) -> bytes:
        encrypted: bytes = self._aead.AESGCM(self._key).encrypt(nonce, text, about)
        return encrypted

    def _expand(self, secret: bytes, label: bytes, nbytes: int) -> bytes:
        """HKDF-Expand-Label with an empty context, of at most one block."""
        info = nbytes.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0\1"
        return hmac.new(secret, info, self._hash).digest()[:nbytes]

    def _pseudorandom(self, secret: bytes, seed: bytes, nbytes: int) -> bytes:
        """P_hash of TLS 1.2."""
        out, link = b"", seed
        while len(out) < nbytes:
            link = hmac.new(secret, link, self._hash).digest()
            out += hmac.new(secret, link + seed, self._hash).digest()
        return out[:nbytes]


def forging(
    factory: Callable[[], Any], version: str, *, client: bool = False, **options: Any
) -> Forger:
    """Return who makes records for a bench that has done its handshake."""
    make: Any = server_context if client else client_context
    context = make.__wrapped__(version)  # not the shared one: it gets a key log
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "keys"
        context.keylog_filename = str(path)
        bench = Bench(factory, version=version, client=client, peer_context=context, **options)
        wire, hello = bench.start(), b""
        if client:
            hello = wire
        sent_records = 0
        while wire:
            bench.do(DATA, wire)
            hello = hello or bench.wire
            wire = bench.tell()
            sent_records = [one[0] for one in records(wire)].count(APPLICATION_DATA)
            if client and wire:  # the tickets
                bench.do(DATA, wire)
                assert not bench.wire
                break
        assert bench.work.is_established
        assert bench.peer.is_established
        return Forger(bench, path.read_text(), hello, sent_records if client else 0)
