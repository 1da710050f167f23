"""One connection's TLS, sans I/O: ciphertext in, plaintext out, and back.

It is OpenSSL's, through `ssl.SSLObject` and two memory BIOs. A memory BIO never gives capacity
back, so it is fed a record at a time, and emptied after a record's length of output: what a
connection keeps stays bounded. Whole records are fed, because OpenSSL is asked in vain otherwise,
and an SSLWantReadError costs as much as a small record.

OpenSSL cannot encrypt after a fatal error, and does not say before the next record whether it is
one. So whoever uses this writes the replies to one record before reading the next.
"""

import ssl

from asyncrev.connection_info import TlsInfo, tls_info_of
from asyncrev.work.scratch import SCRATCH_BYTES

__all__ = ["APPLICATION_DATA", "HEADER_BYTES", "MOST_RECORD_BYTES", "OUTPUT_BYTES", "TlsSession"]

HEADER_BYTES = 5  # type, version, length (RFC 8446, 5.1)
_LEAST_TYPE, _MOST_TYPE = 20, 24  # change_cipher_spec to heartbeat
APPLICATION_DATA = 23
_MOST_LENGTH = SCRATCH_BYTES + 2048  # of a record's ciphertext (RFC 5246, 6.2.3)
MOST_RECORD_BYTES = HEADER_BYTES + _MOST_LENGTH

# How much output is gathered before it is taken out of its BIO.
OUTPUT_BYTES = SCRATCH_BYTES


class TlsSession:
    """TLS of one connection. Thread: worker.

    Attributes:
        is_established: whether the handshake is complete.
        input_ended: whether the peer's close_notify was read.
        has_record: whether what `feed` was given last completed a record.
    """

    __slots__ = (
        "_head",
        "_in",
        "_missing_bytes",
        "_out",
        "_ssl",
        "has_record",
        "input_ended",
        "is_established",
    )

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        """Prepare; nothing is sent before `handshake`.

        Raises:
            ssl.SSLError, ValueError: `context` cannot be used so.
        """
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._in, self._out, server_side=server_side, server_hostname=server_hostname
        )
        self._missing_bytes = 0  # of the record that is being fed
        self._head = b""  # of a record whose header is not whole; not fed yet
        self.is_established = False
        self.input_ended = False
        self.has_record = False

    def feed(self, chunk: memoryview, off: int) -> int:
        """Feed what `chunk` has from `off` of one record; return where the next one begins.

        `chunk`: ciphertext, contiguous, format "B", copied. Call it while the result is less than
        its length; after each call that leaves `has_record`, call `handshake` or `read`.
        """
        missing_bytes = self._missing_bytes
        if not missing_bytes:
            left_bytes = len(chunk) - off
            if self._head or left_bytes < HEADER_BYTES:
                return self._feed_header(chunk, off)
            missing_bytes = HEADER_BYTES + (chunk[off + 3] << 8 | chunk[off + 4])
            if not self._is_plausible(chunk[off], missing_bytes):
                return self._feed_rest(chunk, off)
            if missing_bytes <= left_bytes:
                end = off + missing_bytes
                self._in.write(chunk[off:end])
                self.has_record = True
                return end
        end = min(off + missing_bytes, len(chunk))
        self._in.write(chunk[off:end])
        self._missing_bytes = missing_bytes = missing_bytes - (end - off)
        self.has_record = not missing_bytes
        return end

    @property
    def is_between_records(self) -> bool:
        """Whether nothing of the next record was fed."""
        return not (self._missing_bytes or self._head)

    def read_record(self, record: memoryview, view: memoryview) -> int:
        """Do `feed` and `read` for one whole record of data.

        `record`: ciphertext, like a chunk of `feed`, from header to end, at most
        MOST_RECORD_BYTES; nothing of it was fed. The rest is as with `read`.
        """
        self._in.write(record)
        return self.read(view)

    def handshake(self) -> bool:
        """Go on with the handshake; return whether it is complete.

        Raises:
            ssl.SSLError: it failed; an alert may be in the output.
        """
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.is_established = True
        return True

    def info(self, server_name: str | None) -> TlsInfo:
        """Return what the handshake, which is complete, has negotiated."""
        return tls_info_of(self._ssl, server_name)

    def read(self, view: memoryview) -> int:
        """Decrypt the record that was fed last into `view`; return the length of its data.

        0 if it has none: then it was a message of TLS itself, or the peer's close_notify, which
        `input_ended` shows.

        Raises:
            ssl.SSLError: the record is bad; an alert is in the output.
        """
        try:
            nbytes: int = self._ssl.read(SCRATCH_BYTES, view)  # type: ignore[assignment]
        except ssl.SSLWantReadError:
            return 0
        if not nbytes:
            self.input_ended = True
        return nbytes

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt `data`, 1 to SCRATCH_BYTES long; return it, and what else there is to send.

        Raises:
            ssl.SSLError: as `write`.
        """
        self._ssl.write(data)
        return self._out.read()

    def write(self, data: bytes | memoryview, output: list[bytes]) -> None:
        """Encrypt `data`, which is not kept; append to `output` what is ready in bulk.

        What is not is appended by `take_output`.

        Raises:
            ssl.SSLError: the handshake is not complete, or TLS has failed.
        """
        write, out = self._ssl.write, self._out
        nbytes = len(data)
        if nbytes <= SCRATCH_BYTES:
            if out.pending + nbytes > OUTPUT_BYTES:
                output.append(out.read())
            if nbytes:
                write(data)
            return
        view, off = memoryview(data), 0
        while off < nbytes:
            if out.pending:
                output.append(out.read())
            off += write(view[off : off + SCRATCH_BYTES])

    def take_output(self, output: list[bytes]) -> None:
        """Append to `output` what is to be sent: replies, alerts, handshake messages, tickets."""
        if self._out.pending:
            output.append(self._out.read())

    def shut_down(self) -> None:
        """Have close_notify sent, unless the handshake is not complete, or TLS has failed."""
        if self.is_established:
            try:
                self._ssl.unwrap()
            except ssl.SSLError:
                pass  # SSLWantReadError: the peer's close_notify is not awaited (RFC 8446, 6.1)

    def _feed_header(self, chunk: memoryview, off: int) -> int:
        """Gather a header that is split between chunks."""
        end = min(off + HEADER_BYTES - len(self._head), len(chunk))
        head = self._head + chunk[off:end]
        self.has_record = False
        if len(head) < HEADER_BYTES:
            self._head = head
            return end
        self._head = b""
        missing_bytes = head[3] << 8 | head[4]
        self._in.write(head)
        if self._is_plausible(head[0], HEADER_BYTES + missing_bytes):
            self._missing_bytes = missing_bytes
            self.has_record = not missing_bytes
            return end
        return self._feed_rest(chunk, end)

    def _feed_rest(self, chunk: memoryview, off: int) -> int:
        # Not TLS, or SSLv2's hello: OpenSSL says what is wrong with it.
        self._in.write(chunk[off : off + _MOST_LENGTH])
        self.has_record = True
        return len(chunk)

    @staticmethod
    def _is_plausible(record_type: int, record_bytes: int) -> bool:
        return _LEAST_TYPE <= record_type <= _MOST_TYPE and record_bytes <= MOST_RECORD_BYTES
