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

# OpenSSL refuses a longer one.
_MOST_BYTES = 16 * 1024


class ClientHello:
    """Gathers the records that begin a client's stream, until its ClientHello is whole.

    Thread: worker. What is kept is shorter than a record's greatest length.
    """

    __slots__ = ("_gathered", "_is_over", "server_name")

    def __init__(self) -> None:
        self._gathered = bytearray()
        self._is_over = False
        self.server_name: str | None = None

    def see(self, chunk: memoryview) -> None:
        """Look at the next bytes of the stream; `chunk`: format "B", copied."""
        if self._is_over:
            return
        self._gathered += chunk
        message = self._message()
        if message is None and len(self._gathered) <= _MOST_BYTES:
            return
        self._is_over = True
        self._gathered = bytearray()
        if message:
            self.server_name = _server_name(message)

    def _message(self) -> bytes | None:
        """Return the ClientHello's body; None while it is not whole, b"" if there is none."""
        data, off = self._gathered, 0
        message = bytearray()
        while off + 5 <= len(data):
            if data[off] != _HANDSHAKE_RECORD:
                return b""
            end = off + 5 + (data[off + 3] << 8 | data[off + 4])
            message += data[off + 5 : end]
            off = end
        if len(message) < 4:
            return None
        if message[0] != _CLIENT_HELLO:
            return b""
        end = 4 + int.from_bytes(message[1:4], "big")
        return None if len(message) < end else bytes(message[4:end])


def _server_name(body: bytes) -> str | None:
    """Return the host name in the body of a ClientHello, or None."""
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
    return None


def _host_name(names: bytes) -> str | None:
    """Return the first name of the extension's list, which has one of each type at most."""
    if len(names) < 5 or names[2] != _HOST_NAME:
        return None
    name = names[5 : 5 + (names[3] << 8 | names[4])]
    try:
        return name.decode("ascii") or None
    except UnicodeDecodeError:
        return None
