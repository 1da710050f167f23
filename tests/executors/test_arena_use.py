"""Shared memory, as a worker sees it."""

import os

import pytest

from asyncrev.executors import arena_use
from asyncrev.executors.arena_use import MOST_MAPPED, ArenaUse, Span
from asyncrev.executors.arenas import LEAST_ARENA_BYTES, Arena


def test_replies_without_room_travel_as_they_are() -> None:
    """The mapping has a fixed length."""
    arena = Arena(LEAST_ARENA_BYTES)
    payload = b"a" * (LEAST_ARENA_BYTES - 20_000)
    _, use = arena.write([payload])
    memory = use.memory()
    long = b"b" * 30_000
    assert memory.put(long) is long
    assert memory.put(b"c" * 20_000) == Span(len(payload), LEAST_ARENA_BYTES)
    arena_use._mapped.pop(use.inode).close()
    arena.close()


def test_number_that_is_another_file_now_is_refused() -> None:
    """The sender has closed the arena."""
    use = ArenaUse(os.getpid(), 0, -1, 0)
    with pytest.raises(OSError, match=r"another file now|Permission|No such"):
        use.memory()


def test_worker_keeps_few_arenas_mapped() -> None:
    """However many a sender uses."""
    before = dict(arena_use._mapped)
    arenas = [Arena(4096) for _ in range(MOST_MAPPED + 3)]
    for arena in arenas:
        arena.write([])[1].memory()
    assert len(arena_use._mapped) == MOST_MAPPED
    for inode in [inode for inode in arena_use._mapped if inode not in before]:
        arena_use._mapped.pop(inode).close()
    for arena in arenas:
        arena.close()
