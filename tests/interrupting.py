"""A signal handler that raises, at any place where CPython may run one."""

import contextlib
import dis
import functools
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import pytest

# Behind these CPython looks for signals (Python/ceval.c, CHECK_EVAL_BREAKER).
_LOOKS = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME"}


@functools.cache
def places_of(code: CodeType) -> dict[int, int]:
    """Return the offsets of the instructions before which a signal handler may run.

    With each goes that of the instruction before, or that of a jump to it.
    """
    found: dict[int, int] = {}
    before = None
    for instruction in dis.get_instructions(code):
        if before is not None and before.opname in _LOOKS:
            found[instruction.offset] = before.offset
        if instruction.opname == "JUMP_BACKWARD":
            found[instruction.argval] = instruction.offset
        before = instruction
    return found


def interrupted(call: Callable[[], object], place: int, *functions: Any) -> bool:
    """Call, with KeyboardInterrupt raised at the `place`-th such place within `functions`.

    Return whether there was one. An interrupt that `call` returns instead of raising is its own.
    """
    codes = {function.__code__ for function in functions}
    left = [place]
    called: dict[CodeType, int] = {}  # where Python functions were called: no look behind that

    def in_frame(frame: FrameType, event: str, _: object) -> Any:
        place = frame.f_lasti
        before = places_of(frame.f_code).get(place) if event == "opcode" else None
        if before is not None and not before <= called.get(frame.f_code, -1) < place:
            left[0] -= 1
            if left[0] < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return in_frame

    def enter(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_back is not None:
            called[frame.f_back.f_code] = frame.f_back.f_lasti
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return in_frame

    before = sys.gettrace()
    # From 3.12 on `settrace` asks for no events of opcodes unless some frame has asked before.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(enter)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            call()
    finally:
        sys.settrace(before)
    return left[0] < 0


def everywhere(scenario: Callable[[int], bool], least: int) -> None:
    """Run `scenario` for each place; it returns whether it was interrupted there.

    `least`: how many places there must be.
    """
    if sys.version_info >= (3, 13):
        pytest.skip("3.13.0 reports no opcodes of some functions for which they are asked")
    place = 0
    while scenario(place):
        place += 1
        assert place < 10_000, "it never ends without an interrupt"
    assert place >= least, f"{place} places; at least {least} were expected"
