"""Which certificate a client gets: the one that has the host it names (SNI, RFC 6066, 3)."""

import ssl
from collections.abc import Sequence

__all__ = ["ByName"]


class ByName:
    """The contexts by the names in their certificates, as a context's `sni_callback`.

    A name that stands in several certificates leads to the first of them. Never changed after it
    was made. Thread: any.

    Attributes:
        unreachable: numbers of the contexts that no name leads to, but for the first, the default.
    """

    def __init__(self, contexts: Sequence[tuple[ssl.SSLContext, Sequence[str]]]) -> None:
        """Take each context with the names of its certificate, in lower case."""
        self._contexts: dict[str, ssl.SSLContext] = {}
        for context, names in contexts:
            for name in names:
                self._contexts.setdefault(name, context)
        reached = list(self._contexts.values())
        self.unreachable = [
            number
            for number, (context, _) in enumerate(contexts)
            if number and context not in reached
        ]

    def find(self, name: str) -> ssl.SSLContext | None:
        """Return the context for a host, or None if no certificate has its name.

        A "*" stands for the whole first label and nothing else (RFC 9525, 6.3).
        """
        name = name.lower().rstrip(".")
        label, _, parent = name.partition(".")
        if name in self._contexts or not label:
            return self._contexts.get(name)
        return self._contexts.get(f"*.{parent}")

    def __call__(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Give `connection` the context for `name`; without one it keeps the default."""
        found = None if name is None else self.find(name)
        if found is not None:
            connection.context = found
