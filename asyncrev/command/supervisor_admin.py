"""The admin endpoint of a supervisor, which asks all workers."""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asyncrev.command.admin_address import AdminAddress
from asyncrev.command.admin_setup import AdminDoor

if TYPE_CHECKING:  # h11 and prometheus_client are imported when they are asked for
    from asyncrev.admin.endpoint import Endpoint
    from asyncrev.admin.sources import Source
    from asyncrev.admin.supervision import AbsentSource, Supervision

__all__ = ["SupervisorAdmin"]


class SupervisorAdmin(AdminDoor):
    """The endpoint of a supervisor; without --admin it does nothing. Thread: the loop's.

    Attributes:
        config: what /config shows, in plain JSON types. Written by the loop, as after a reload,
            and read by the endpoint's thread.
    """

    def __init__(
        self,
        address: AdminAddress | None,
        config: Mapping[str, Any],
        sources: "Callable[[], Sequence[Source]]",
        facts: Callable[[], Mapping[str, Any]],
        request_drain: Callable[[], object],
        request_reload: Callable[[], object],
    ) -> None:
        """Prepare an endpoint; all functions are called on its thread, and must not wait.

        Args:
            address: of --admin.
            config: see above.
            sources: returns those that there are. A worker of slot 2 is "2", and is listed as not
                up while there is none. Of two with one name the later gets another.
            facts: see `Supervision`; none of what it has returned is changed later.
            request_drain: asks for the end of the service.
            request_reload: asks for a reload.
        """
        super().__init__(address)
        self.config = config
        self._sources = sources
        self._facts = facts
        self._request_drain = request_drain
        self._request_reload = request_reload
        self._supervision: Supervision | None = None
        self._absent: dict[int, AbsentSource] = {}  # by slot; of the endpoint's thread

    def note_stop(self) -> None:
        """Have it say that no worker is ready any more."""
        if self._supervision is not None:
            self._supervision.is_stopping = True

    def _make_endpoint(self, sockets: list[socket.socket], names: frozenset[str]) -> "Endpoint":
        from asyncrev.admin.endpoint import Endpoint
        from asyncrev.admin.supervision import Supervision

        self._supervision = Supervision(self._facts, self._request_reload)
        return Endpoint(
            self._listed,
            sockets,
            config=lambda: self.config,
            drain=self._request_drain,
            own_names=names,
            supervision=self._supervision,
        )

    def _listed(self) -> "list[Source]":
        """Return a source per slot, and further ones. Thread: the endpoint's."""
        from asyncrev.admin.supervision import AbsentSource

        present = self._sources()
        by_name = {source.worker: source for source in present}
        listed: list[Source] = []
        for slot in range(self._facts()["workers"]):
            source = by_name.get(str(slot))
            if source is None:
                source = self._absent.setdefault(slot, AbsentSource(str(slot)))
            listed.append(source)
        return [*listed, *(source for source in present if source not in listed)]
