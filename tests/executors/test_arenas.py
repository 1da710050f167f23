"""Shared memory, as its sender sees it."""

import os

import pytest

from asyncrev.executors.arena_use import LEAST_SPAN_BYTES, Span
from asyncrev.executors.arenas import LEAST_ARENA_BYTES, MOST_KEPT_BYTES, Arenas

LARGE = b"x" * LEAST_SPAN_BYTES


def test_small_frames_need_no_arena() -> None:
    """They are pickled."""
    assert Arenas().take([LARGE[1:], b""]) is None


def test_large_frames_are_written_and_small_ones_are_not() -> None:
    """A worker in this process reads them."""
    arenas = Arenas()
    arena = arenas.take([b"a", LARGE, b"b", b"y" * 20_000])
    assert arena is not None
    sent, use = arena.write([b"a", LARGE, b"b", b"y" * 20_000])
    assert sent == [b"a", Span(0, 16384), b"b", Span(16384, 36384)]
    assert use.used_bytes == 36384
    memory = use.memory()
    assert memory.get(Span(0, 16384)) == LARGE
    reply = memory.put(b"z" * 30_000)
    assert reply == Span(36384, 66384)
    assert memory.put(b"short") == b"short"
    assert memory.put(None) is None
    assert arena.read([reply, b"short", None]) == [b"z" * 30_000, b"short", None]
    forget(use.inode)
    arenas.close()


def forget(inode: int) -> None:
    """Unmap what this process has mapped as a worker."""
    from asyncrev.executors import arena_use

    arena_use._mapped.pop(inode).close()


def test_arenas_are_used_again_and_bounded() -> None:
    """One of a longer frame is closed after use."""
    arenas = Arenas()
    first = arenas.take([LARGE])
    assert first is not None
    assert first.nbytes == LEAST_ARENA_BYTES
    second = arenas.take([LARGE])
    assert second is not first
    arenas.give_back(first)
    assert arenas.take([LARGE]) is first
    descriptors = len(os.listdir("/proc/self/fd"))
    huge = arenas.take([bytes(MOST_KEPT_BYTES)])
    assert huge is not None
    arenas.give_back(huge)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    arenas.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors - 4  # each is a file and its mapping's


def test_without_descriptors_frames_are_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails."""

    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    assert Arenas().take([LARGE]) is None
