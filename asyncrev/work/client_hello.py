"""Which host a TLS client asks for, read from its ClientHello (RFC 8446, 4.1.2; RFC 6066, 3).

Python tells a server's name only to a callback of the context, and contexts are shared and
unchanged. So it is read from the ciphertext, beside OpenSSL, which checks the message; what cannot
be read here is no name, and never an error.
"""

__all__ = ["ClientHello"]

_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1
_SERVER_NAME_EXTENSION = 0
_HOST_NAME = 0
_SPACE, _DELETE = 0x20, 0x7F  # printable ASCII is between

_HEADER_BYTES = 5  # type, version, length (RFC 8446, 5.1)

# Of a longer one no name is read. OpenSSL takes up to 131,396 bytes, clients send 0.2 to 2 KB.
_MOST_BYTES = 16 * 1024


class ClientHello:
    """Gathers the records that begin a client's stream, until its ClientHello is whole.

    Thread: worker. Each byte is looked at once, however the stream is split; what is kept is
    shorter than `_MOST_BYTES` and what was seen last.

    Attributes:
        server_name: the host, once it is read; None if there is none, or none that may be logged.
        is_ascii: whether it may be given to a callback of the context: the interpreter prints a
            traceback of a name that is not ASCII, and fails the handshake with an internal error.
    """

    __slots__ = ("_header", "_is_over", "_left_bytes", "_message", "is_ascii", "server_name")

    def __init__(self) -> None:
        self._header = bytearray()  # of a record, while it is not whole
        self._left_bytes = 0  # of a record's content
        self._message = bytearray()
        self._is_over = False
        self.server_name: str | None = None
        self.is_ascii = True

    def see(self, chunk: memoryview) -> None:
        """Look at the next bytes of the stream; `chunk`: format "B", copied."""
        off = 0
        while off < len(chunk) and not self._is_over:
            if self._left_bytes:
                content = chunk[off : off + self._left_bytes]
                self._message += content
                self._left_bytes -= len(content)
                off += len(content)
            else:
                part = chunk[off : off + _HEADER_BYTES - len(self._header)]
                off += len(part)
                self._see_header(part)
        if not self._is_over:
            self._look_at_message()

    def _see_header(self, part: memoryview) -> None:
        header = self._header
        header += part
        if header[0] != _HANDSHAKE_RECORD:
            self._end()
        elif len(header) == _HEADER_BYTES:
            self._left_bytes = header[3] << 8 | header[4]
            header.clear()

    def _look_at_message(self) -> None:
        """Read the name if the message is whole; end if it is no ClientHello, or too long."""
        message = self._message
        if len(message) < 4:
            return
        end = 4 + int.from_bytes(message[1:4], "big")
        if message[0] != _CLIENT_HELLO or end > _MOST_BYTES:
            self._end()
        elif len(message) >= end:
            name = _server_name(bytes(message[4:end]))
            self.is_ascii = name.isascii()
            # OpenSSL lets all but NUL pass: no line end may come into a log so, nor an escape.
            if name and min(name) > _SPACE and max(name) < _DELETE:
                self.server_name = name.decode("ascii")
            self._end()

    def _end(self) -> None:
        self._is_over = True
        self._header, self._message = bytearray(), bytearray()


def _server_name(body: bytes) -> bytes:
    """Return the host name in the body of a ClientHello, empty if there is none."""
    off = 2 + 32  # version and random
    for length_bytes in (1, 2, 1):  # session, cipher suites, compression methods
        off += length_bytes + int.from_bytes(body[off : off + length_bytes], "big")
    off += 2  # the length of all extensions
    while off + 4 <= len(body):
        kind = body[off] << 8 | body[off + 1]
        end = off + 4 + (body[off + 2] << 8 | body[off + 3])
        if kind == _SERVER_NAME_EXTENSION:
            return _host_name(body[off + 4 : end])
        off = end
    return b""


def _host_name(names: bytes) -> bytes:
    """Return the first name of the extension's list, which has one of each type at most."""
    if len(names) < 5 or names[2] != _HOST_NAME:
        return b""
    return names[5 : 5 + (names[3] << 8 | names[4])]
