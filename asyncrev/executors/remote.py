"""What runs in the workers of executors: a batch of frames, each by one call of the function.

A function is the callable itself where the worker shares this interpreter, and else its name, as
`module:attr`, which is imported once per worker.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from asyncrev.executors.arena_use import ArenaUse, Span
from asyncrev.executors.results import FrameFailure, failure_of
from asyncrev.processors import as_reply

__all__ = ["Answer", "resolve", "run_batch", "try_function"]

Function = Callable[[bytes], Any]
Answer = bytes | Span | FrameFailure | None

_resolved: dict[str, Function] = {}  # one per process or interpreter; any of its threads writes


def resolve(function: Function | str) -> Function:
    """Return the function of that name; imports its module at the first call.

    Raises:
        ImportError, AttributeError, or what the module raises.
    """
    if not isinstance(function, str):
        return function
    found = _resolved.get(function)
    if found is None:
        module_name, _, attributes = function.partition(":")
        value: Any = importlib.import_module(module_name)
        for name in attributes.split("."):
            value = getattr(value, name)
        found = _resolved[function] = value
    return found


def run_batch(
    function: Function | str, payloads: Sequence[bytes | Span], arena: ArenaUse | None = None
) -> list[Answer]:
    """Return what came of each frame, in order; an exception is of its own frame only.

    A payload that is a span lies in the arena; so do replies, as far as there is room. Never raises
    what the function raises, not even SystemExit. Thread: the executor's worker.
    """
    try:
        call = resolve(function)
        memory = None if arena is None else arena.memory()
    except BaseException as error:
        return [failure_of(error)] * len(payloads)
    answers: list[Answer] = []
    for payload in payloads:
        try:
            frame = payload if memory is None or isinstance(payload, bytes) else memory.get(payload)
            reply = as_reply(call(frame), None, views_allowed=False)  # type: ignore[arg-type]
            answers.append(reply if memory is None else memory.put(reply))  # type: ignore[arg-type]
        except BaseException as error:
            answers.append(failure_of(error))
    return answers


def try_function(function: Function | str, *, call: bool) -> FrameFailure | None:
    """Import the function and, if `call`, give it an empty frame; return what went wrong.

    Thread: the executor's worker, before its first frame.
    """
    try:
        found = resolve(function)
        if call:
            as_reply(found(b""), None, views_allowed=False)
    except BaseException as error:
        return failure_of(error)
    return None
