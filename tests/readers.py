"""Readers of frames that go byte after byte, and what a grammar says of the same bytes."""

import io
from collections.abc import Iterable

from asyncrev.errors import RemoteError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.lines import Lines
from asyncrev.frames.prefixed import Prefixed

LINE = Lines()
LEN32 = Prefixed("len32", 4)
LEN64 = Prefixed("len64", 8)
PREFIXED = [LEN32, LEN64]
NO_LIMIT = 2**64


# What one who reads byte after byte would say: (payloads, what is left, is that too large?).


def read_prefixed(data: bytes, prefix_bytes: int, most: int) -> tuple[list[bytes], bytes, bool]:
    """Return what there is in frames with a length before them."""
    stream, payloads, left = io.BytesIO(data), [], data
    while len(prefix := stream.read(prefix_bytes)) == prefix_bytes:
        announced = 0
        for byte in prefix:
            announced = announced * 256 + byte
        if announced > most:
            return payloads, left, True
        payload = stream.read(min(announced, len(data)))
        if len(payload) < announced:
            break
        payloads.append(payload)
        left = data[stream.tell() :]
    return payloads, left, False


def read_lines(data: bytes, most: int) -> tuple[list[bytes], bytes, bool]:
    """Return what there is in lines."""
    payloads, line = [], bytearray()
    for off, byte in enumerate(data):
        if byte == 10:
            payload = bytes(line[:-1] if line.endswith(b"\r") else line)
            if len(payload) > most:
                return payloads, data[off - len(line) :], True
            payloads.append(payload)
            line.clear()
        else:
            line.append(byte)
    left = bytes(line)
    return payloads, left, len(left.removesuffix(b"\r")) > most


def read(framing: Grammar, data: bytes, most: int) -> tuple[list[bytes], bytes, bool]:
    """Return what there is in the frames of any grammar."""
    if isinstance(framing, Lines):
        return read_lines(data, most)
    return read_prefixed(data, framing.prefix_bytes, most)


# What the code under test says of the same bytes.


def scanned(framing: Grammar, data: bytes, most: int) -> tuple[list[bytes], bytes, bool]:
    """Return what one scan finds, in the words of the readers above."""
    scan = framing.scan(memoryview(data), most)
    whole = data[: scan.consumed_bytes]
    payloads = []
    end = 0
    for start, payload_end, frame_end in framing.spans(memoryview(whole), scan.runs):
        payload = data[start:payload_end]
        assert any(framing.encode(payload, tail) == data[end:frame_end] for tail in framing.tails)
        payloads.append(payload)
        end = frame_end
    assert end == scan.consumed_bytes
    for run, after in zip(scan.runs, scan.runs[1:], strict=False):
        assert run.payload_bytes != after.payload_bytes
    assert not scan.runs or sum(run.frames for run in scan.runs) == len(payloads)
    return payloads, data[end:], scan.error is not None


def put_together(
    framing: Grammar, chunks: Iterable[bytes], most: int
) -> tuple[list[bytes], bytes, bool]:
    """Return what comes of chunks, as one who holds the unfinished frame gets it."""
    payloads, held = [], b""
    for number, chunk in enumerate(chunks):
        if held:
            try:
                taken, whole = framing.missing(memoryview(held), memoryview(chunk), most)
            except RemoteError:
                return payloads, held + b"".join(list(chunks)[number:]), True
            held += chunk[:taken]
            if not whole:
                assert taken == len(chunk)
                framing.check_open(memoryview(held), most)
                continue
            found, left, wrong = scanned(framing, held, most)
            if wrong:  # in a way that only the whole frame shows
                rest = chunk[taken:] + b"".join(list(chunks)[number + 1 :])
                return payloads, held + rest, True
            assert (len(found), left) == (1, b"")
            payloads += found
            chunk = chunk[taken:]
        found, held, too_large = scanned(framing, chunk, most)
        payloads += found
        if too_large:
            return payloads, held + b"".join(list(chunks)[number + 1 :]), True
        framing.check_open(memoryview(held), most)
    return payloads, held, False


def wrapped(framing: Prefixed, lengths: Iterable[int], fill: bytes = b"payload!") -> bytes:
    """Return frames of `lengths`, each filled from the beginning of `fill`, again and again."""
    frames = []
    for length in lengths:
        frames.append(length.to_bytes(framing.prefix_bytes, "big"))
        frames.append((fill * (length // len(fill) + 1))[:length])
    return b"".join(frames)


def trail(framing: Grammar) -> list[bytes]:
    """Return what may follow whole frames: nothing, beginnings, and what is too large."""
    if isinstance(framing, Lines):
        return [
            b"",
            b"\r",
            b"rest",
            b"rest\r",
            b"twelve bytes",
            b"twelve bytes\r\n",
            b"twelve by\r",
        ]
    prefix_bytes = framing.prefix_bytes
    beginnings = [wrapped(framing, [3])[:cut] for cut in range(prefix_bytes + 3)]
    return beginnings + [n.to_bytes(prefix_bytes, "big") + b"xy" for n in (9, 10, 2**32 - 1)]
