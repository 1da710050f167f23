"""A lane fed by hand: the production code that runs a processor, observed, in the caller's thread.

`FedLane` passes chunks to `LaneWork.do`, with its framer and buffer pool, as the worker does. Each
chunk has memory of its own, with guard bytes around it; the memory is overwritten once the reply
has been read. A processor that this catches raises `Violation`.
"""

import collections
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from asyncrev.connection_info import ConnectionInfo
from asyncrev.frames.grammar import Grammar
from asyncrev.limits import Limits
from asyncrev.processors import Processor, declares, make_processor
from asyncrev.ring.ring import CLOSE, DATA, EOF, RESUME, Entry, Kind
from asyncrev.work.block_pool import Block, Pool
from asyncrev.work.make_work import make_work
from asyncrev.work.tls_parameters import StartTls

__all__ = [
    "INFO",
    "OTHER",
    "PLAIN",
    "FedLane",
    "Outcome",
    "Violation",
    "World",
    "shown",
    "shown_chunks",
]


_GUARD_BYTES = 16
_SHOWN_BYTES = 120
_SHOWN_CHUNKS = 12


# Who the peer is, unless a test says otherwise.
INFO = ConnectionInfo(peer_address=("127.0.0.1", 50000), local_address=("127.0.0.1", 9090))


class Violation(AssertionError):
    """A processor or a codec breaks a rule; the message has the rule and the evidence."""


class World(NamedTuple):
    """Conditions that a processor's replies must not depend on."""

    filler: int  # the bytes around a chunk, and in its place afterwards
    views_allowed: bool
    lag: int  # how many more chunks are processed before a reply is read


PLAIN = World(0xAA, views_allowed=True, lag=2)
OTHER = World(0x55, views_allowed=False, lag=0)


class Outcome(NamedTuple):
    """The replies to some chunks and to the end of input after them."""

    answers: list[bytes]
    last: bytes
    error: BaseException | None

    @property
    def replies(self) -> bytes:
        return b"".join(self.answers) + self.last

    def is_like(self, other: "Outcome") -> bool:
        """Return whether the bytes are equal; with the same error, as far as both go."""
        if type(self.error) is not type(other.error):
            return False
        mine, others = self.replies, other.replies
        if self.error is None:
            return mine == others
        return mine.startswith(others) or others.startswith(mine)

    def __str__(self) -> str:
        error = "" if self.error is None else f", then {self.error!r}"
        return f"{shown(self.replies)}{error}"


class _Watched:
    """A processor whose replies are checked; without `hooks` its method `many` is hidden."""

    def __init__(self, processor: Processor, many: str, hooks: bool) -> None:
        self._many = many
        self._processor = processor
        self._hooks = hooks

    def process(self, chunk: memoryview) -> Any:
        result: Any = self._processor.process(chunk)
        if type(result) is StartTls:
            _acceptable("process", result.reply)
            return result
        return _acceptable("process", result)

    def eof(self) -> Any:
        return _acceptable("eof", self._processor.eof())

    def __getattr__(self, name: str) -> Any:
        if name != self._many:
            return getattr(self._processor, name)
        if not self._hooks:
            raise AttributeError(name)
        hook = getattr(self._processor, name)
        return lambda *args: _acceptable(name, hook(*args))


def _acceptable(method: str, result: Any) -> Any:
    if result is not None and type(result) is not bytes:
        try:
            view = memoryview(result)
        except TypeError:
            raise Violation(
                f"{method}() returned {type(result).__name__}; it must return bytes, bytearray, "
                "memoryview or another contiguous buffer, or None"
            ) from None
        if not view.c_contiguous:
            raise Violation(
                f"{method}() returned a buffer that is not contiguous (strides {view.strides}); "
                "return a copy of it, as bytes"
            )
    return result


class _VoidingPool(Pool):
    """A pool whose blocks are overwritten when they are given back."""

    __slots__ = ("filler",)
    filler: int

    def _keep(self, block: Block) -> None:
        block.view[:] = bytes([self.filler]) * block.nbytes
        super()._keep(block)


class FedLane:
    """One lane with a processor, fed by hand.

    What the processor says when it is connected is checked, and is in no answer. Behind a
    `StartTls` nothing is fed any more.
    """

    def __init__(
        self,
        factory: Callable[[], Processor],
        framing: Grammar | None,
        world: World = PLAIN,
        *,
        hooks: bool = True,
        info: ConnectionInfo = INFO,
    ) -> None:
        self.processed_seq = self.released_seq = 0  # the cursors that the pool reads
        self._world = world
        self._pool = _VoidingPool(self, Limits().pool_bytes)
        self._pool.filler = world.filler
        many = "" if framing is None else framing.method_name
        self._lane_work = make_work(
            lambda: _Watched(make_processor(factory), many, hooks),
            views_allowed=world.views_allowed,
            framing=framing,
            max_frame_bytes=Limits().max_frame_bytes,
            info=info,
        )
        # Without the TLS that would follow: what is fed is no ciphertext.
        self._lane_work.may_start_tls = declares(factory, "may_start_tls")
        self._unread: collections.deque[tuple[Entry, bytearray]] = collections.deque()
        self.answers: list[bytes] = []
        self.error: BaseException | None = None
        self._work(RESUME)
        self._read(0)
        self.answers.clear()

    def feed(self, chunk: bytes) -> None:
        """Process `chunk`, unless an error has occurred, or TLS has begun."""
        if self.error is None and self._lane_work.start_tls is None:
            self._work(DATA, chunk)

    def end(self) -> Outcome:
        """Process the end of input, and close; return the outcome of everything."""
        chunks = len(self.answers) + len(self._unread)
        if self.error is None and self._lane_work.start_tls is None:
            self._work(EOF)
        self.close()
        return Outcome(self.answers[:chunks], b"".join(self.answers[chunks:]), self.error)

    def close(self) -> None:
        """Read all replies, and close the processor."""
        self._read(0)
        entry = self._entry(CLOSE, bytearray(2 * _GUARD_BYTES))
        self._lane_work.do(entry, None, self._pool)
        if entry.error is not None:
            raise Violation(f"close() raised {entry.error!r}") from entry.error

    def _storage(self, chunk: bytes) -> bytearray:
        guard = bytes([self._world.filler]) * _GUARD_BYTES
        return bytearray(guard + chunk + guard)

    def _entry(self, kind: Kind, storage: bytearray) -> Entry:
        entry = Entry(memoryview(storage)[_GUARD_BYTES:-_GUARD_BYTES])
        entry.owner, entry.kind, entry.nbytes = self, kind, entry.view.nbytes
        return entry

    def _work(self, kind: Kind, chunk: bytes = b"") -> None:
        storage = self._storage(chunk)
        entry = self._entry(kind, storage)
        self._pool.reclaim()
        self._lane_work.do(entry, storage, self._pool)
        self.processed_seq += 1
        self.error = entry.error
        if isinstance(self.error, Violation):
            raise self.error
        guard = bytes([self._world.filler]) * _GUARD_BYTES
        if storage[:_GUARD_BYTES] != guard or storage[-_GUARD_BYTES:] != guard:
            raise Violation(f"the processor wrote outside its chunk {shown(chunk)}")
        self._unread.append((entry, storage))
        self._read(self._world.lag)

    def _read(self, lag: int) -> None:
        while len(self._unread) > lag:
            entry, storage = self._unread.popleft()
            pieces = entry.result if isinstance(entry.result, tuple) else (entry.result or b"",)
            self.answers.append(b"".join(pieces))
            entry.result = None
            storage[:] = bytes([self._world.filler]) * len(storage)
            self.released_seq += 1


def shown(data: bytes) -> str:
    """Format `data`, or its beginning, for a message."""
    if len(data) <= _SHOWN_BYTES:
        return repr(data)
    return f"{data[:_SHOWN_BYTES]!r}... ({len(data)} bytes)"


def shown_chunks(chunks: Sequence[bytes]) -> str:
    """Format the first of `chunks` for a message."""
    first = ", ".join(shown(chunk) for chunk in chunks[:_SHOWN_CHUNKS])
    if len(chunks) <= _SHOWN_CHUNKS:
        return f"[{first}]"
    return f"[{first}, ...] ({len(chunks)} chunks)"
