"""What the admin endpoint knows of the supervisor of several worker processes, and asks of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncrev.admin.gathering import Answer
from asyncrev.admin.sources import ASK_TIMEOUT_S, NoWorker

__all__ = ["NOT_SUPERVISED", "AbsentSource", "Supervision"]

Facts = Mapping[str, Any]


class Supervision:
    """One supervisor, seen from the endpoint's thread.

    Attributes:
        facts: returns what /stats.json has of it: "pid", "workers" (how many there should be),
            "generation" (the number of the last reload), and "restarts" (how many workers ended
            unasked, by cause); or None if there is no supervisor.
        reload: asks for a reload, and does not wait; None if there can be none.
        is_stopping: whether the service is about to stop, which its workers may not know yet.
            Written by the supervisor's loop, read by the endpoint's thread.
    """

    def __init__(
        self,
        facts: Callable[[], Facts | None] = lambda: None,
        reload: Callable[[], object] | None = None,
    ) -> None:
        self.facts = facts
        self.reload = reload
        self.is_stopping = False

    def is_live(self, answers: Sequence[Answer], stuck: Mapping[str, Sequence[str]]) -> bool:
        """Return whether nobody outside has to do anything.

        A single process is live while nothing in it is stuck. A supervisor replaces a worker that
        is, so that one is enough which answers, and one (perhaps another) that moves.
        """
        if self.facts() is None:
            return not any(stuck.values())
        return any(answer.said is not None for answer in answers) and any(
            not stuck.get(answer.worker) for answer in answers
        )


NOT_SUPERVISED = Supervision()


class AbsentSource:
    """Stands for a worker process that should be there, and is not yet, or not any more."""

    def __init__(self, worker: str) -> None:
        self.worker = worker

    async def ask(
        self, what: str, timeout_s: float = ASK_TIMEOUT_S, **arguments: Any
    ) -> dict[str, Any]:
        """See `Source.ask`; there is never an answer."""
        raise NoWorker("the worker process is being started")

    def close(self) -> None:
        """See `Source.close`."""
