"""Taps: what looks at the bytes received, on the worker, before a processor changes them."""

import logging
import os
from collections.abc import Callable, Sequence

from asyncrev.errors import SettingsError
from asyncrev.processors import Buffer, Processor, ProcessorFactory, make_processor

__all__ = ["StopWord", "Tap", "Tee", "with_taps"]

logger = logging.getLogger("asyncrev")

Tap = Callable[[memoryview], None]


class Tee:
    """Writes the bytes received to a file, in the order in which the worker takes them.

    A slow file slows the worker, so the ring fills and reading stops at the sockets: the loop
    never waits for it. A file that fails is given up, with one log line; service goes on.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self.written_bytes = 0  # writer: worker; readers: any

    def __call__(self, chunk: memoryview) -> None:
        """Write all of `chunk`. Thread: worker."""
        if self._fd < 0:
            return
        offset = 0
        try:
            while offset < len(chunk):  # a pipe takes what it has room for
                offset += os.write(self._fd, chunk[offset:])
        except OSError as error:
            logger.error(
                "tee to %s stopped after %d bytes: %s",
                self._name,
                self.written_bytes + offset,
                error,
            )
            self._fd = -1
        self.written_bytes += offset


class StopWord:
    """Calls back when a word occurs in one connection's bytes, however they were cut."""

    def __init__(self, word: bytes, on_word: Callable[[], None]) -> None:
        """Look for `word`; `on_word` is called on the worker's thread, once.

        Raises:
            SettingsError: the word is empty.
        """
        if not word:
            raise SettingsError("the stop word is empty; give at least one byte")
        self._word = word
        self._on_word = on_word
        self._tail = b""
        self._found = False

    def __call__(self, chunk: memoryview) -> None:
        """Look at `chunk` and at what of the word came before it. Thread: worker."""
        if self._found:
            return
        seen = self._tail + chunk
        if self._word in seen:
            self._found = True
            self._on_word()
        self._tail = seen[max(0, len(seen) - len(self._word) + 1) :]


class _Tapped:
    """A processor whose input some taps see first."""

    __slots__ = ("_inner", "_taps", "close")

    def __init__(self, inner: Processor, taps: Sequence[Tap]) -> None:
        self._inner = inner
        self._taps = taps
        self.close = getattr(inner, "close", _nothing)

    def process(self, chunk: memoryview) -> Buffer | None:
        for tap in self._taps:
            tap(chunk)
        return self._inner.process(chunk)

    def eof(self) -> Buffer | None:
        return self._inner.eof()


def with_taps(
    factory: ProcessorFactory, make_taps: Sequence[Callable[[], Tap]]
) -> ProcessorFactory:
    """Return a factory of processors whose input goes through taps first, one of each a lane."""
    if not make_taps:
        return factory
    return lambda: _Tapped(make_processor(factory), [make_tap() for make_tap in make_taps])


def _nothing() -> None:
    """Close a processor that has nothing to close."""
