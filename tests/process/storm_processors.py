"""Processors for storms: slow ones, so that entries are in flight when their connections end."""

import os
import time

from tests.process.processors import Flip

SLOW = ("--processor", "tests.process.storm_processors:Slow")
PAUSING = ("--processor", "tests.process.storm_processors:Pausing")


class Slow(Flip):
    """Takes two milliseconds for every chunk."""

    def process(self, chunk: memoryview) -> bytes:
        time.sleep(0.002)
        return super().process(chunk)


class Pausing(Flip):
    """Waits at its fifth chunk, once, until somebody has opened the FIFO $GATE and closed it."""

    chunks = 0

    def process(self, chunk: memoryview) -> bytes:
        Pausing.chunks += 1
        if Pausing.chunks == 5:
            with open(os.environ["GATE"], "rb") as gate:
                gate.read()
        return super().process(chunk)
