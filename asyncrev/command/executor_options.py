"""What the options of an executor ask for."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from asyncrev.command.loading import load
from asyncrev.errors import SettingsError
from asyncrev.executors.settings import KINDS, ExecutorSettings

__all__ = ["ExecutorChoice", "executor_of"]


class ExecutorChoice(NamedTuple):
    """The executor of a server; `executors.making.make_engine` takes these three.

    Attributes:
        executor: a name of `KINDS`, or a function that makes executors.
        function: what its workers call.
        settings: of the engine.
    """

    executor: Any
    function: Any
    settings: ExecutorSettings


def executor_of(asked: Mapping[str, Any], function: Any) -> ExecutorChoice | None:
    """Return the executor that option values ask for, or None. Thread: main.

    `function`: the object that --processor names.

    Raises:
        SettingsError: the executor, or the function with it, cannot be used; names the option.
    """
    name = asked["executor"]
    if name is None:
        return None
    if name not in KINDS and ":" not in name:
        raise SettingsError(
            f"--executor {name!r}: give one of {', '.join(KINDS)}, or a function that makes "
            "executors, as module:attr"
        )
    executor = name if name in KINDS else load(name, "--executor")
    settings = ExecutorSettings(
        workers=asked["executor_workers"],
        address=asked["executor_address"],
        batch_frames=asked["executor_batch_frames"],
        batch_bytes=asked["executor_batch_bytes"],
        timeout_s=asked["executor_timeout_s"],
    )
    if name not in KINDS:
        if not callable(executor):
            raise SettingsError(f"--executor {name!r} is {executor!r}, which makes no executors")
        return ExecutorChoice(executor, function, settings)
    # Only now: multiprocessing takes 10 ms to import. An engine of a kind starts nothing yet.
    making = importlib.import_module("asyncrev.executors.making")
    try:
        making.make_engine(executor, function, settings)
    except SettingsError as error:
        raise SettingsError(f"--executor {name}: {error}") from error
    return ExecutorChoice(executor, function, settings)
