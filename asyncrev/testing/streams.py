"""Test data in which every part identifies its connection and its position.

A stream is made of records of 16 bytes:

    # 00007 000000 1f jq
    |   |      |   |  +- check over the other digits
    |   |      |   +---- number of the record, its last byte
    |   |      +-------- number of the record without its last byte
    |   +--------------- connection
    +------------------- start of a record

The check uses letters that occur nowhere else, so no record is found across the border of two
records, or in a reversed one. Records are ASCII digits and lower-case letters, so they can still be
read after a transform of single bytes (a complement, a change of case), and after a reversal.
"""

import functools
import re

from asyncrev.errors import LocalError

__all__ = ["ALPHABET", "RECORD_BYTES", "Stream", "records_in"]

ALPHABET = b"#0123456789abcdefghijklmnopqrstuv"
RECORD_BYTES = 16

_CONNECTIONS = 1 << 20
_STREAM_BYTES = RECORD_BYTES << 32
_BLOCK_RECORDS = 256
_BLOCK_BYTES = _BLOCK_RECORDS * RECORD_BYTES
_CHECKS = [bytes((103 + (i >> 4), 103 + (i & 15))) for i in range(256)]  # 103: "g"
_RECORD = re.compile(rb"#([0-9a-f]{5})([0-9a-f]{8})([g-v]{2})")


def _head_sum(head: bytes) -> int:
    """Return what the first twelve bytes of a record add to its check, with odd weights.

    It changes when one digit changes, and when two neighbours are swapped.
    """
    return sum(weight * byte for weight, byte in zip(range(1, 25, 2), head, strict=True)) & 0xFF


def _check(head_sum: int, low: int) -> bytes:
    """Return the check of a record whose number ends in the byte `low`."""
    return _CHECKS[(head_sum + 37 * low) & 0xFF]


@functools.lru_cache(maxsize=256)
def _tails(head_sum: int) -> list[bytes]:
    """Return the last four bytes of each record in a block."""
    return [b"%02x%b" % (low, _check(head_sum, low)) for low in range(_BLOCK_RECORDS)]


@functools.lru_cache(maxsize=1024)
def _block(connection_id: int, number: int) -> bytes:
    head = b"#%05x%06x" % (connection_id, number)
    return head + head.join(_tails(_head_sum(head)))


class Stream:
    """The bytes that belong to one connection: 64 GiB, the same at every call.

    Thread: any.
    """

    __slots__ = ("connection_id",)

    def __init__(self, connection_id: int) -> None:
        """Select the connection.

        Raises:
            LocalError: `connection_id` is negative, or has more than five hexadecimal digits.
        """
        if not 0 <= connection_id < _CONNECTIONS:
            raise LocalError(
                f"connection_id is {connection_id}; it must be from 0 to {_CONNECTIONS - 1}"
            )
        self.connection_id = connection_id

    def bytes_at(self, offset: int, nbytes: int) -> bytes:
        """Return the `nbytes` bytes from `offset` on; a new block of 4 KiB takes about 20 us.

        Raises:
            LocalError: the stream has no such bytes.
        """
        end = offset + nbytes
        if not 0 <= offset <= end <= _STREAM_BYTES:
            raise LocalError(
                f"bytes {offset} to {end} of a stream were asked for; it has 0 to {_STREAM_BYTES}"
            )
        first = offset // _BLOCK_BYTES
        skip = offset - first * _BLOCK_BYTES
        blocks = range(first, -(-end // _BLOCK_BYTES))
        joined = b"".join([_block(self.connection_id, number) for number in blocks])
        return joined[skip : skip + nbytes]


def records_in(text: bytes) -> list[tuple[int, int, int]]:
    """Return position, connection and stream offset of each whole record in `text`."""
    found = []
    for match in _RECORD.finditer(text):
        number = int(match[2], 16)
        if match[3] == _check(_head_sum(match[0][:12]), number & 0xFF):
            found.append((match.start(), int(match[1], 16), number * RECORD_BYTES))
    return found
