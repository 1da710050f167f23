"""The grammars by the names that users call them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from asyncrev.errors import SettingsError
from asyncrev.frames.lines import Lines
from asyncrev.frames.prefixed import Prefixed

__all__ = ["FRAMINGS", "Framing", "as_framing"]

Framing: TypeAlias = Prefixed | Lines

FRAMINGS: Mapping[str, Framing] = MappingProxyType(
    {"line": Lines(), "len32": Prefixed("len32", 4), "len64": Prefixed("len64", 8)}
)


def as_framing(name: str) -> Framing | None:
    """Return the grammar called `name`; None for "raw", which has no frames.

    Raises:
        SettingsError: there is no such grammar; the message names those that there are.
    """
    if name == "raw":
        return None
    framing = FRAMINGS.get(name)
    if framing is None:
        raise SettingsError(f"framing is {name!r}; it must be one of raw, {', '.join(FRAMINGS)}")
    return framing
