"""Processors for workers of tests."""

import json
import os

from asyncrev.supervisor.process import DESCRIPTORS_VARIABLE


def inherited() -> list[int]:
    """Return the descriptors that a child of this process would have."""
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if fd > 2 and os.get_inheritable(fd):
                found.append(fd)
        except OSError:  # that of the list
            pass
    return found


AT_IMPORT = inherited()


def descriptors(_: bytes) -> bytes:
    """Return what a child would inherit, at the import and now."""
    variable = os.environ.get(DESCRIPTORS_VARIABLE)
    return json.dumps({"inherited": [AT_IMPORT, inherited()], "variable": variable}).encode()
