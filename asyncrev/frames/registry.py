"""The grammars by the names that users call them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from asyncrev.errors import SettingsError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.lines import Lines
from asyncrev.frames.prefixed import Prefixed
from asyncrev.limits import LEAST_READ_BYTES, Limits

__all__ = ["FRAMINGS", "as_framing", "check_longest"]

FRAMINGS: Mapping[str, Grammar] = MappingProxyType(
    {"line": Lines(), "len32": Prefixed("len32", 4), "len64": Prefixed("len64", 8)}
)


def as_framing(framing: Any, limits: Limits | None = None) -> Grammar | None:
    """Return the grammar called `framing`, or `framing` itself if it is a grammar.

    None stands for "raw", which has no frames. With `limits`, its longest frame must fit the part
    of the buffer pool that one connection may use. Thread: any.

    Raises:
        SettingsError: there is no such grammar (the message has the names of all), or its
            frames cannot have `max_frame_bytes`, or its longest frame does not fit.
    """
    if isinstance(framing, Grammar):
        grammar = framing
    elif framing == "raw":
        return None
    elif isinstance(framing, str) and framing in FRAMINGS:
        grammar = FRAMINGS[framing]
    else:
        hint = "" if isinstance(framing, str) else ", or an object of a class derived from Grammar"
        raise SettingsError(
            f"framing is {framing!r}; it must be one of raw, {', '.join(FRAMINGS)}{hint}"
        )
    if limits is not None:
        check_longest(grammar, limits.max_frame_bytes)
        _check_room(grammar, limits)
    return grammar


def check_longest(grammar: Grammar, max_frame_bytes: int) -> None:
    """Check that frames of `grammar` can have `max_frame_bytes`.

    Raises:
        SettingsError: they end before; the message says where.
    """
    if max_frame_bytes > grammar.most_payload_bytes:
        raise SettingsError(
            f"max_frame_bytes is {max_frame_bytes}; it must be at most "
            f"{grammar.most_payload_bytes}, the longest that a frame of {grammar.name} can be"
        )


def _check_room(grammar: Grammar, limits: Limits) -> None:
    """Check that the longest frame and one more small read fit, as `Limits` does for ours."""
    overhead_bytes = grammar.overhead_bytes(limits.max_frame_bytes)
    needed_bytes = limits.max_frame_bytes + overhead_bytes + LEAST_READ_BYTES
    if needed_bytes > limits.pool_connection_bytes:
        raise SettingsError(
            f"pool_connection_bytes is {limits.pool_connection_bytes}; {grammar.name} frames of "
            f"max_frame_bytes, {limits.max_frame_bytes}, need at least {needed_bytes}"
        )
