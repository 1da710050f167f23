"""Frames the obvious way: what tests hold the framer against, and processors that they give it.

Nothing here is clever. All input is known, so frames are aborted from the front of one string.
"""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

from asyncrev.errors import FrameTooLarge, IncompleteFrame
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import as_framing
from asyncrev.processors import FunctionProcessor, Reply
from asyncrev.work.block_pool import Pool, class_bytes
from asyncrev.work.framer import Framer
from asyncrev.work.reverse import Reverse

PREFIX_BYTES = {"len32": 4, "len64": 8}
NAMES = ("line", *PREFIX_BYTES)

Answer = Callable[[bytes], bytes | None]


def framed(name: str, payload: bytes, line_end: bytes = b"\n") -> bytes:
    """Return `payload` as one frame."""
    if name == "line":
        return payload + line_end
    return len(payload).to_bytes(PREFIX_BYTES[name], "big") + payload


@dataclasses.dataclass
class Expected:
    """What must come of some input: all replies in one, then the error if there is one.

    Attributes:
        replies: to all frames before the error.
        error: what type of error ends the input.
        partial_frame_bytes: what was left unfinished before the end of input.
    """

    replies: bytes = b""
    error: type[BaseException] | None = None
    partial_frame_bytes: int = 0


def expected(
    name: str,
    data: bytes,
    answer: Answer,
    *,
    max_frame_bytes: int,
    ends: bool,
    last_word: bytes | None = None,
) -> Expected:
    """Return what must come of `data`, with the end of input behind it if `ends`."""
    result = Expected()
    while True:
        frame_bytes, payload, line_end, result.error = _first(name, data, max_frame_bytes)
        if result.error is not None:
            return result
        if not frame_bytes:
            break
        if not _reply(result, name, answer, payload, line_end):
            return result
        data = data[frame_bytes:]
    result.partial_frame_bytes = len(data)
    if not ends:
        return result
    if data and name != "line":
        result.error = IncompleteFrame
        return result
    if len(data) > max_frame_bytes:
        result.error = FrameTooLarge
        return result
    if data and not _reply(result, name, answer, data, b""):
        return result
    if last_word is not None:
        if data and answer(data) is not None:
            result.replies += b"\n"  # the reply before has no end of its own
        result.replies += framed(name, last_word)
    return result


def _first(
    name: str, data: bytes, max_frame_bytes: int
) -> tuple[int, bytes, bytes, type[BaseException] | None]:
    """Return of the first frame: its length or 0, its payload, its line end, what is wrong."""
    if name == "line":
        line, newline, _ = data.partition(b"\n")
        payload = line.removesuffix(b"\r")
        if len(payload) > max_frame_bytes:
            return 0, b"", b"", FrameTooLarge
        if not newline:
            return 0, b"", b"", None
        return len(line) + 1, payload, line[len(payload) :] + newline, None
    prefix_bytes = PREFIX_BYTES[name]
    if len(data) < prefix_bytes:
        return 0, b"", b"", None
    end_off = prefix_bytes + int.from_bytes(data[:prefix_bytes], "big")
    if end_off - prefix_bytes > max_frame_bytes:
        return 0, b"", b"", FrameTooLarge
    if len(data) < end_off:
        return 0, b"", b"", None
    return end_off, data[prefix_bytes:end_off], b"", None


def _reply(result: Expected, name: str, answer: Answer, payload: bytes, line_end: bytes) -> bool:
    try:
        reply = answer(payload)
    except ValueError as error:
        result.error = type(error)
        return False
    if reply is not None:
        result.replies += framed(name, reply, line_end)
    return True


# -- processors: what each answers depends on the payload alone ------------------------------------


class Answering:
    """A processor of frames; `answer` says the same, the obvious way."""

    last_word: bytes | None = None
    answer: Answer

    def eof(self) -> bytes | None:
        """Return the last word."""
        return self.last_word


class Inverting(Answering):
    """Changes the payload in place and returns the very view that it got."""

    def process(self, payload: memoryview) -> memoryview:
        """Return `payload`."""
        payload[:] = bytes(payload).translate(_INVERTED)
        return payload

    @staticmethod
    def answer(payload: bytes) -> bytes:
        """Invert every bit, but leave newlines out of it, so that lines stay lines."""
        return payload.translate(_INVERTED)


_INVERTED = bytes(value if value in (10, 245) else 255 - value for value in range(256))


class Truncating(Answering):
    """Returns a part of the view that it got; of less than two bytes that part is empty."""

    last_word = b"cut"

    def process(self, payload: memoryview) -> memoryview:
        """Return the middle."""
        return payload[1:-1]

    @staticmethod
    def answer(payload: bytes) -> bytes:
        """Return the middle."""
        return payload[1:-1]


class Silent(Answering):
    """Answers nothing, but has a last word, which is empty."""

    last_word = b""

    def process(self, payload: memoryview) -> None:
        """Change it all the same."""
        payload[:] = b"?" * len(payload)

    @staticmethod
    def answer(payload: bytes) -> None:
        """Return nothing."""
        return


class Longer(Answering):
    """Answers with more than it got."""

    last_word = b"longer " * 40

    def process(self, payload: memoryview) -> bytes:
        """Return it threefold."""
        return self.answer(bytes(payload))

    @staticmethod
    def answer(payload: bytes) -> bytes:
        """Return it threefold."""
        return payload * 3 + b"!"


class Reusing(Answering):
    """Answers with one bytearray, which it fills anew for every frame."""

    def __init__(self) -> None:
        self.reply = bytearray()

    def process(self, payload: memoryview) -> bytearray:
        """Return the bytearray."""
        self.reply[:] = payload[::-1]
        return self.reply

    @staticmethod
    def answer(payload: bytes) -> bytes:
        """Reverse it."""
        return payload[::-1]


class Moody(Answering):
    """Answers every frame in another way, as its first byte says."""

    last_word = b"moody"

    def process(self, payload: memoryview) -> Any:
        """Return a view of it, a part of it, something new, or nothing."""
        mood = payload[0] % 6 if payload else 5
        if mood == 0:
            return payload
        if mood == 1:
            return payload[1:]
        if mood == 2:
            return memoryview(bytes(payload) + b"+")
        if mood == 3:
            return payload[::-1]
        if mood == 4:
            return None
        return b""

    @staticmethod
    def answer(payload: bytes) -> bytes | None:
        """Say the same."""
        mood = payload[0] % 6 if payload else 5
        return (payload, payload[1:], payload + b"+", payload[::-1], None, b"")[mood]


class Raising(Answering):
    """Returns what it got, but fails at a payload that has an exclamation mark in it."""

    last_word = b"well"

    def process(self, payload: memoryview) -> memoryview:
        """Return the view or raise, after it has changed some of it."""
        if b"!" in bytes(payload):
            payload[:1] = b"#"
            raise ValueError("!")
        return payload

    @staticmethod
    def answer(payload: bytes) -> bytes:
        """Say the same."""
        if b"!" in payload:
            raise ValueError("!")
        return payload


class Hooked(Answering):
    """Answers many frames at once with bytes of its own, as its own `answer` says."""

    last_word = b"hooked"

    def process(self, payload: memoryview) -> bytes:
        """Answer one frame: the last line without an end comes this way."""
        return self.answer(bytes(payload))

    def process_lines(self, lines: memoryview) -> bytearray:
        """Return all lines in capitals."""
        return bytearray(bytes(lines).upper())

    def process_prefixed(self, frames: memoryview, runs: Any, prefix_bytes: int) -> bytes:
        """Return all frames in capitals."""
        replies = b""
        for start_off, payload_bytes, count in runs:
            for off in range(
                start_off,
                start_off + count * (payload_bytes + prefix_bytes),
                payload_bytes + prefix_bytes,
            ):
                payload = self.answer(bytes(frames[off : off + payload_bytes]))
                replies += payload_bytes.to_bytes(prefix_bytes, "big") + payload
        return replies

    @staticmethod
    def answer(payload: bytes) -> bytes:
        """Return it in capitals."""
        return payload.upper()


class Reversing(Reverse):
    """The reference processor, with its hooks."""

    last_word = None

    @staticmethod
    def answer(payload: bytes) -> bytes:
        """Reverse it."""
        return payload[::-1]


class Function(FunctionProcessor):
    """A plain function from bytes to bytes."""

    __slots__ = ()
    last_word = None

    def __init__(self) -> None:
        super().__init__(self.answer)

    @staticmethod
    def answer(payload: bytes) -> bytes:
        """Swap the case and put something around it."""
        return b"<" + payload.swapcase() + b">"


PROCESSORS: dict[str, Any] = {
    kind.__name__.lower(): kind
    for kind in (
        Reversing,
        Function,
        Inverting,
        Truncating,
        Silent,
        Longer,
        Reusing,
        Moody,
        Raising,
        Hooked,
    )
}


# -- a framer on a bench ---------------------------------------------------------------------------


class Bench:
    """A framer with a pool, fed as a lane feeds it, and checked after every chunk.

    The loop of a bridge sends a reply some time after the worker made it: here every reply is
    kept as it is for `lag` further chunks, and only then read and released.
    """

    def __init__(
        self,
        name: str | Grammar,
        processor: Any,
        *,
        max_frame_bytes: int = 1 << 20,
        views_allowed: bool = True,
        lag: int = 0,
    ) -> None:
        grammar = as_framing(name)
        assert grammar is not None
        self.name = name
        self.views_allowed = views_allowed
        self.lag = lag
        # The cursors of a ring, as far as a pool reads them.
        self.processed_seq = 0
        self.released_seq = 0
        self.pool = Pool(self, 1 << 20)
        self.framer = Framer(
            grammar,
            processor,
            self.pool,
            max_frame_bytes=max_frame_bytes,
            views_allowed=views_allowed,
        )
        self.unread: collections.deque[Reply | None] = collections.deque()
        self.replies = b""

    @property
    def error(self) -> BaseException | None:
        """What has gone wrong."""
        return self.framer.error

    def feed(self, *chunks: bytes) -> bytes:
        """Have the framer work on `chunks`, up to an error; return all replies so far."""
        for chunk in chunks:
            if self.error is not None:
                break
            self.read()
            # In the middle of a larger slot, whose rest is nobody's business.
            slot = bytearray(b"<<" + chunk + b">>")
            self.framer.see(memoryview(slot)[2:-2])
            if self.error is None:
                self._take(self.framer.process(memoryview(slot)[2:-2]), slot)
            assert slot[:2] == b"<<"
            assert slot[-2:] == b">>"
        return self.read()

    def end(self) -> bytes:
        """Have the framer work on the end of input, and close it; return all replies."""
        if self.error is None:
            self._take(self.framer.eof(), None)
        return self.close()

    def close(self) -> bytes:
        """Close the framer; nothing of the pool may be in use once all replies are read."""
        self.framer.close()
        self.lag = 0
        replies = self.read()
        self.pool.reclaim()
        assert (self.pool.in_use_bytes, self.pool.lent_bytes) == (0, 0)
        return replies

    def read(self) -> bytes:
        """Read and release what has lagged for long enough; return all replies so far."""
        while len(self.unread) > self.lag:
            reply = self.unread.popleft()
            if reply is not None:
                self.replies += b"".join(reply) if type(reply) is tuple else reply  # type: ignore[arg-type]
            self.released_seq += 1
        return self.replies

    def _take(self, reply: "Reply | None", slot: bytearray | None) -> None:
        """Check what the framer gave, and I17."""
        pieces = reply if type(reply) is tuple else () if reply is None else (reply,)
        for piece in pieces:
            assert type(piece) is bytes or (type(piece) is memoryview and self.views_allowed)
        if slot is not None and not self.views_allowed:
            slot[2:-2] = b"~" * (len(slot) - 4)  # the next connection's bytes, so to say
        held_bytes = self.pool.in_use_bytes - self.pool.lent_bytes
        partial_frame_bytes = self.framer.partial_frame_bytes
        assert held_bytes == (class_bytes(partial_frame_bytes) if partial_frame_bytes else 0)
        assert self.views_allowed or not self.pool.lent_bytes
        self.unread.append(reply)
        self.processed_seq += 1
