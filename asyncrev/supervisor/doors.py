"""Where a service with several workers accepts: listening sockets for all, or for each slot.

The supervisor has them all open as long as it runs, so no connection is lost in the kernel's queue
when a worker dies.
"""

from collections.abc import Sequence
from typing import Any

from asyncrev.server.listeners import Listeners

__all__ = ["SharedDoors", "SlotDoors"]


class SharedDoors:
    """The supervisor accepts everything (`--balance exact`). All methods: the loop's thread.

    Attributes:
        listening: for each slot the descriptors that its worker accepts from: none.
    """

    def __init__(self, listeners: Listeners, workers: int) -> None:
        """Accept with `listeners`, which are open and not started."""
        self.listening: Sequence[Sequence[int]] = [()] * workers
        self._listeners = listeners
        self._is_open = False

    def start(self) -> None:
        """Accept from now on, while `set_open` says so."""
        self._listeners.start()
        self._is_open = True

    def set_open(self, has_place: bool, _: Sequence[bool]) -> None:
        """Accept while a worker has a place; what comes in other times waits in the kernel."""
        if has_place == self._is_open:
            return
        self._is_open = has_place
        if has_place:
            self._listeners.resume()
        else:
            self._listeners.pause()

    async def close(self, *, accept_queued: bool) -> None:
        """Listen no more; with `accept_queued` take what the kernel has completed. Idempotent."""
        self._is_open = False
        await self._listeners.close(accept_queued=accept_queued)

    @property
    def addresses(self) -> list[Any]:
        """What it listens on."""
        return self._listeners.addresses

    @property
    def accepting(self) -> bool:
        """Whether the next connection is accepted when it comes."""
        return self._listeners.accepting


class SlotDoors:
    """Workers accept from sockets of their slots (`--balance kernel`). All methods: the loop's.

    The supervisor accepts from those of a slot without a worker, for the others.

    Attributes:
        listening: for each slot the descriptors that its worker accepts from.
    """

    def __init__(self, slots: Sequence[Listeners], listening: Sequence[Sequence[int]]) -> None:
        """Accept with `slots`, which are open and not started."""
        self.listening = listening
        self._slots = slots
        self._are_open = [False] * len(slots)
        self._accepting = False

    def start(self) -> None:
        """Accept from now on for slots without a worker, as `set_open` says."""
        for listeners in self._slots:
            listeners.start()
            listeners.pause()

    def set_open(self, has_place: bool, ready: Sequence[bool]) -> None:
        """Accept for the slots whose workers do not serve, while another one has a place."""
        self._accepting = has_place
        for number, (listeners, serves) in enumerate(zip(self._slots, ready, strict=True)):
            wanted = has_place and not serves
            if wanted != self._are_open[number]:
                self._are_open[number] = wanted
                (listeners.resume if wanted else listeners.pause)()

    async def close(self, *, accept_queued: bool) -> None:
        """Listen no more; with `accept_queued` take what the kernel has completed. Idempotent."""
        self._accepting = False
        for listeners in self._slots:
            await listeners.close(accept_queued=accept_queued)

    @property
    def addresses(self) -> list[Any]:
        """What each slot listens on."""
        return self._slots[0].addresses

    @property
    def accepting(self) -> bool:
        """Whether the next connection is accepted when it comes, by whomever."""
        return self._accepting
