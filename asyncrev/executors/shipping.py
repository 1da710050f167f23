"""What goes to a worker of a batch, and what its answers are. Thread: loop."""

from typing import Any

from asyncrev.errors import ProcessorError
from asyncrev.executors.arena_use import ArenaUse, Span
from asyncrev.executors.arenas import Arenas
from asyncrev.executors.batching import Batch
from asyncrev.executors.results import FrameFailure

__all__ = ["answers_of", "give_back", "payloads_of"]


def payloads_of(
    batch: Batch, *, shares_memory: bool
) -> tuple[list[bytes] | list[bytes | Span], ArenaUse | None]:
    """Return the payloads as they are sent, and the arena where large ones are, if any.

    `shares_memory`: whether the worker is a process of this machine.
    """
    payloads = [frame.payload for frame in batch.frames]
    if not shares_memory:
        return payloads, None
    if batch.unit.arenas is None:
        batch.unit.arenas = Arenas()
    batch.arena = batch.unit.arenas.take(payloads)
    return (payloads, None) if batch.arena is None else batch.arena.write(payloads)


def answers_of(batch: Batch) -> list[bytes | BaseException | None]:
    """Return a reply, or None, or an error for each frame of a batch whose future is done."""
    assert batch.future is not None
    error = batch.future.exception()
    if error is not None:
        wrong = ProcessorError(f"an executor failed with a batch of frames: {error!r}")
        wrong.__cause__ = error
        return [wrong] * len(batch.frames)
    answers: list[Any] = batch.future.result()
    if batch.arena is not None:
        answers = batch.arena.read(answers)
    return [answer.error() if isinstance(answer, FrameFailure) else answer for answer in answers]


def give_back(batch: Batch) -> None:
    """Let another batch of the same unit have the arena of one whose answers were read."""
    if batch.arena is not None:
        batch.unit.arenas.give_back(batch.arena)
        batch.arena = None
