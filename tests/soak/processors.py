"""Processors that a soak must not let pass: what its own test runs it against."""

import itertools

from tests.process.processors import Flip

_kept: list[bytes] = []
_chunks = itertools.count(1)


class Leaking(Flip):
    """Keeps a part of every chunk for good."""

    def process(self, chunk: memoryview) -> bytes:
        _kept.append(bytes(8192))
        return super().process(chunk)


class Corrupting(Flip):
    """Exchanges the first two bytes of every thousandth chunk."""

    def process(self, chunk: memoryview) -> bytes:
        reply = super().process(chunk)
        if next(_chunks) % 1000 == 0:
            reply = reply[1:2] + reply[:1] + reply[2:]
        return reply
