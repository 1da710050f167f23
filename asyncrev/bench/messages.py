"""The messages of a load: a cycle of them that differ, and the reply to each."""

import random
from collections.abc import Callable
from typing import Any

from asyncrev.bench.plan import ECHO, RAW, REVERSE, Plan
from asyncrev.errors import LocalError, SettingsError
from asyncrev.frames.registry import FRAMINGS

__all__ = ["Cycle", "make_cycle"]

CYCLE_BYTES = 256 * 1024  # small enough to stay in the cache of the processor
MOST_VARIANTS = 251  # a prime, so that no power of two of connections lines up
_LEAST_VARIANTS = 2  # so that a reply that is lost or doubled is seen
_SEED = 1  # each run sends the same bytes

_LETTERS = bytes(range(ord("a"), ord("z") + 1))
_AS_LETTERS = bytes(_LETTERS[byte % 26] for byte in range(256))


class Cycle:
    """The messages, which each connection sends again and again from a place of its own.

    So a reply that is lost, doubled, out of order or another connection's is not what is expected.

    Attributes:
        requests: the messages as they are sent; all are of one length.
        replies: the reply to each.
        request_bytes: the length of a message as it is sent.
        stream: all messages, and the first ones once more, so that any `depth` of them that follow
            one another are one slice.
        splits_anywhere: whether the server may split a message, and answer each part by itself.
    """

    __slots__ = ("replies", "request_bytes", "requests", "splits_anywhere", "stream")

    def __init__(
        self, requests: list[bytes], replies: list[bytes], depth: int, *, splits_anywhere: bool
    ) -> None:
        self.requests = requests
        self.replies = replies
        self.request_bytes = len(requests[0])
        self.splits_anywhere = splits_anywhere
        again = (requests * (depth // len(requests) + 1))[:depth]
        self.stream = memoryview(b"".join(requests + again))

    def sent(self, first: int, messages: int) -> memoryview:
        """Return `messages` messages, at most the depth, from number `first` of the cycle on."""
        start_off = first % len(self.requests) * self.request_bytes
        return self.stream[start_off : start_off + messages * self.request_bytes]


def make_cycle(plan: Plan, function: Callable[[bytes], Any] | None = None) -> Cycle:
    """Return the messages of `plan`; `function` is what `plan.expect` names, if it names one.

    Raises:
        SettingsError: the function raised, or its reply cannot be one.
    """
    variants = min(MOST_VARIANTS, max(_LEAST_VARIANTS, CYCLE_BYTES // max(1, plan.size_bytes)))
    source = random.Random(_SEED)
    payloads = [source.randbytes(plan.size_bytes) for _ in range(variants)]
    if plan.framing == "line":  # which must not contain line ends
        payloads = [payload.translate(_AS_LETTERS) for payload in payloads]
    replies = [_reply(plan, function, payload) for payload in payloads]
    if plan.framing != RAW:
        encode = FRAMINGS[plan.framing].encode
        try:
            payloads = [encode(payload) for payload in payloads]
            replies = [encode(reply) for reply in replies]
        except LocalError as error:
            raise SettingsError(f"--expect {plan.expect}: {error}") from None
    return Cycle(
        payloads,
        replies,
        plan.depth,
        splits_anywhere=plan.framing == RAW and plan.expect == REVERSE,
    )


def _reply(plan: Plan, function: Callable[[bytes], Any] | None, payload: bytes) -> bytes:
    if plan.expect == REVERSE:
        return payload[::-1]
    if plan.expect == ECHO:
        return payload
    if function is None:
        raise SettingsError(f"--expect {plan.expect!r}: give reverse, echo or MODULE:FUNCTION")
    try:
        reply = function(payload)
        text = bytes(memoryview(reply))
    except TypeError as error:
        raise SettingsError(
            f"--expect {plan.expect}: it must return bytes for bytes, but: {error}"
        ) from None
    except Exception as error:
        raise SettingsError(f"--expect {plan.expect} raised {error!r}") from error
    if plan.framing == RAW and not text:
        raise SettingsError(
            f"--expect {plan.expect} returned no bytes; without frames, each message needs a reply"
        )
    return text
