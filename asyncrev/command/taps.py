"""Taps: observers of the received bytes, called on the worker before a processor changes them."""

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from asyncrev.command.output_file import OutputFile
from asyncrev.errors import SettingsError
from asyncrev.frames.grammar import Grammar, Run
from asyncrev.later_processors import LaterFactory
from asyncrev.processors import (
    Buffer,
    Processor,
    ProcessorFactory,
    declares,
    make_processor,
    speaks_first,
)

__all__ = ["StopFrame", "StopWord", "Tap", "Tee", "with_frame_taps", "with_taps"]

logger = logging.getLogger("asyncrev")

Tap = Callable[[memoryview], None]


class Tee:
    """Writes the bytes received to a file, in the order in which the worker takes them.

    A slow file slows the worker, so the ring fills and the sockets are no longer read; the loop
    never waits for the file. After an error of the file, the tee stops with one log line, and the
    server goes on; once the file is reopened, the tee does, too.
    """

    def __init__(
        self, file: OutputFile, guard: contextlib.AbstractContextManager[object] | None = None
    ) -> None:
        """Write to `file`; with several workers, under the lock `guard`."""
        self._file = file
        self._guard = guard if guard is not None else contextlib.nullcontext()
        self.written_bytes = 0  # writer: worker; readers: any

    def __call__(self, chunk: memoryview) -> None:
        """Write all of `chunk`, in one piece. Thread: worker; with a guard, any."""
        with self._guard:
            self._write(chunk)

    def _write(self, chunk: memoryview) -> None:
        fd = self._file.current()
        if fd < 0:
            return
        offset = 0
        try:
            while offset < len(chunk):  # a pipe may take a part
                offset += os.write(fd, chunk[offset:])
        except OSError as error:
            logger.error(
                "tee to %s stopped after %d bytes: %s",
                self._file.path,
                self.written_bytes + offset,
                error,
            )
            self._file.give_up()
        self.written_bytes += offset


class StopWord:
    """Calls a function when a word occurs in one connection's bytes, however they are split."""

    def __init__(self, word: bytes, on_word: Callable[[], None]) -> None:
        """Search for `word`; `on_word` is called once, on the worker's thread.

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
        """Search `chunk`, and the end of earlier chunks with it. Thread: worker."""
        if self._found:
            return
        seen = self._tail + chunk
        if self._word in seen:
            self._found = True
            self._on_word()
        self._tail = seen[max(0, len(seen) - len(self._word) + 1) :]


class StopFrame:
    """Calls a function when a frame of a connection equals a word."""

    def __init__(self, word: bytes, on_word: Callable[[], None], grammar: Grammar) -> None:
        """Search for `word`, which may be empty; `on_word` is called on the worker's thread."""
        self._word = word
        self._on_word = on_word
        self._grammar = grammar

    def __call__(self, payload: memoryview) -> None:
        """Compare the payload of one frame. Thread: worker."""
        if payload == self._word:
            self._on_word()

    def see_frames(self, frames: memoryview, runs: Sequence[Run]) -> None:
        """Compare whole frames; call back at most once; see `Grammar.spans`. Thread: worker."""
        if self._grammar.has_payload(frames, runs, self._word):
            self._on_word()


class _Tapped:
    """A processor whose input taps get first."""

    __slots__ = ("_inner", "_taps", "close", "connected")

    def __init__(self, inner: Processor, taps: Sequence[Tap]) -> None:
        self._inner = inner
        self._taps = taps
        self.connected = getattr(inner, "connected", None)
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
    """Return a factory of processors with taps before them, one of each tap per lane."""
    if not make_taps:
        return factory

    def tapped(make: ProcessorFactory) -> Processor:
        return _Tapped(make_processor(make), [make_tap() for make_tap in make_taps])

    return _tapped_factory(factory, tapped)


def _tapped_factory(
    factory: ProcessorFactory, tapped: Callable[[ProcessorFactory], Processor]
) -> ProcessorFactory:
    if isinstance(factory, LaterFactory):
        return factory.tapped(tapped)
    return _TappedFactory(factory, lambda: tapped(factory))


class _TappedFactory:
    """A factory of tapped processors, with the attributes of the wrapped factory."""

    __slots__ = ("_make", "may_start_tls", "replies_fit", "speaks_first")

    def __init__(self, inner: ProcessorFactory, make: ProcessorFactory) -> None:
        self.replies_fit = declares(inner, "replies_fit")
        self.may_start_tls = declares(inner, "may_start_tls")
        self.speaks_first = speaks_first(inner)
        self._make = make

    def __call__(self) -> Processor:
        return self._make()


class _TappedFrames:
    """A processor of frames with taps: some get its connection's chunks first, one its frames.

    Everything else, such as the method for many frames at once, is delegated to the processor.
    """

    __slots__ = ("_chunk_taps", "_inner", "_stop", "close", "see_frames")

    def __init__(self, inner: Processor, chunk_taps: Sequence[Tap], stop: StopFrame | None) -> None:
        self._inner = inner
        self._chunk_taps = chunk_taps
        self._stop = stop
        self.close = getattr(inner, "close", _nothing)
        self.see_frames = None if stop is None else stop.see_frames

    def see_chunk(self, chunk: memoryview) -> None:
        for tap in self._chunk_taps:
            tap(chunk)

    def process(self, payload: memoryview) -> Buffer | None:
        if self._stop is not None:
            self._stop(payload)
        return self._inner.process(payload)

    def eof(self) -> Buffer | None:
        return self._inner.eof()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def with_frame_taps(
    factory: ProcessorFactory, chunk_taps: Sequence[Tap], stop: StopFrame | None
) -> ProcessorFactory:
    """Return a factory of tapped processors of frames; see `_TappedFrames`."""
    if not chunk_taps and stop is None:
        return factory

    def tapped(make: ProcessorFactory) -> Processor:
        return _TappedFrames(make_processor(make), chunk_taps, stop)

    return _tapped_factory(factory, tapped)


def _nothing() -> None:
    """Do nothing: the processor has no `close`."""
