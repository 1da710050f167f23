"""Fuzz target of the framer: any bytes, in any chunks, are answered as the oracle says.

    python -m tests.fuzz.framer_fuzz --inputs 100000 --seed 1

The invariant it defends: whatever a peer sends, the replies are those of `tests.framed.expected`,
an error is one that the documentation names, and all blocks come back (I17).

An input's first bytes choose the settings, the rest is what the peer sends:

    0   framing (low 2 bits; the fourth is line again), views allowed (bit 2), end of input (bit 3),
        how far the loop lags behind (high 4 bits)
    1   processor
    2   longest frame
    3   n (low 4 bits): the next n bytes are lengths of chunks, used over and over; 0 is 256
"""

import random
import sys
from pathlib import Path

from tests.framed import NAMES, PREFIX_BYTES, PROCESSORS, Bench, expected
from tests.fuzz import running

NAME = "framer"
CORPUS = Path(__file__).parent / "corpus"
HEADER_BYTES = 4
LONGEST_FRAMES = (1, 2, 7, 16, 64, 255, 256, 1000)
MOST_BYTES = 4096  # of one input

_KINDS = list(PROCESSORS.values())
_FRAMINGS = (*NAMES, "line")


def check(data: bytes) -> None:
    """Run one input; every input is valid.

    Raises:
        AssertionError: the framer did not do what the oracle says.
    """
    options, kind_number, longest, nlengths, *_ = data[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")
    name = _FRAMINGS[options & 3]
    kind = _KINDS[kind_number % len(_KINDS)]
    max_frame_bytes = LONGEST_FRAMES[longest % len(LONGEST_FRAMES)]
    ends = bool(options & 8)
    sent_off = HEADER_BYTES + (nlengths & 15)
    lengths = data[HEADER_BYTES:sent_off] or b"\0"
    sent = data[sent_off:]
    wanted = expected(
        name,
        sent,
        kind.answer,
        max_frame_bytes=max_frame_bytes,
        ends=ends,
        last_word=kind.last_word,
    )
    bench = Bench(
        name,
        kind(),
        max_frame_bytes=max_frame_bytes,
        views_allowed=bool(options & 4),
        lag=options >> 4,
    )
    off = turn = 0
    while off < len(sent) and bench.error is None:
        end_off = off + (lengths[turn % len(lengths)] or 256)
        bench.feed(sent[off:end_off])
        off, turn = end_off, turn + 1
    if not ends and bench.error is None:
        assert bench.framer.partial_frame_bytes == wanted.partial_frame_bytes
    replies = bench.end() if ends else bench.close()
    assert type(bench.error) is (wanted.error or type(None)), f"{bench.error!r}, not {wanted.error}"
    assert replies == wanted.replies, f"{replies!r}, not {wanted.replies!r}"


def corpus() -> list[bytes]:
    """Return the inputs that are kept."""
    return [path.read_bytes() for path in sorted(CORPUS.iterdir())]


def mutated(source: random.Random, seeds: list[bytes]) -> bytes:
    """Return one of `seeds`, changed in one to five places."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, 5)):
        source.choice(_MUTATIONS)(source, data, seeds)
    return bytes(data[:MOST_BYTES])


def _flip_a_bit(source: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    if data:
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def _change_a_setting(source: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    if data:
        data[source.randrange(min(len(data), HEADER_BYTES + 4))] = source.randrange(256)


def _insert_a_prefix(source: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    prefix_bytes = source.choice(list(PREFIX_BYTES.values()))
    edge = source.choice((0, 1, 2, *LONGEST_FRAMES, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
    payload_bytes = max(0, edge + source.randint(-1, 1)) % 256**prefix_bytes
    off = source.randint(0, len(data))
    data[off:off] = payload_bytes.to_bytes(prefix_bytes, "big")


def _insert_a_line_end(source: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    off = source.randint(0, len(data))
    data[off:off] = source.choice((b"\n", b"\r\n", b"\r", b"\n\n", b"\r\r\n", b"!", b"!\n"))


def _insert_a_frame(source: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    """Of the input's own framing, repeated, so that runs of equal frames come about."""
    payload = source.randbytes(source.choice((0, 1, 2, 7, 16, 64, 255, 256)))
    name = _FRAMINGS[data[0] & 3] if data else "line"
    if name == "line":
        frame = payload.replace(b"\n", b" ") + b"\n"
    else:
        frame = len(payload).to_bytes(PREFIX_BYTES[name], "big") + payload
    off = source.randint(min(len(data), HEADER_BYTES), len(data))
    data[off:off] = frame * source.choice((1, 1, 1, 2, 9, 30))


def _splice(source: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    other = source.choice(seeds)
    off = source.randint(0, len(data))
    data[off:] = other[source.randint(0, len(other)) :]


def _truncate(source: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    del data[source.randint(0, len(data)) :]


def _drop(source: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    off = source.randint(0, len(data))
    del data[off : off + source.randint(1, 8)]


_MUTATIONS = (
    _flip_a_bit,
    _change_a_setting,
    _insert_a_prefix,
    _insert_a_line_end,
    _insert_a_frame,
    _splice,
    _truncate,
    _drop,
)


def run(inputs: int, seed: int, save_to: Path) -> Path | None:
    """Check `inputs` mutated inputs; return the file of the first that fails, or None."""
    return running.run(sys.modules[__name__], inputs, seed, save_to)


if __name__ == "__main__":
    sys.exit(running.main(sys.modules[__name__]))
