"""Every error that asyncrev raises or reports, split by who is to blame.

`LocalError` is a mistake of this program (its caller, its processor, its settings);
`RemoteError` is something a peer did. Messages carry the actual and the allowed value.
"""

__all__ = [
    "AsyncrevError",
    "BridgeStopped",
    "ChannelClosed",
    "LocalError",
    "ProcessorError",
    "RemoteError",
    "SettingsError",
    "WorkerDied",
    "WorkerHung",
    "WriteStalled",
]


class AsyncrevError(Exception):
    """Base of all errors of this package."""


class LocalError(AsyncrevError):
    """This program used asyncrev wrongly."""


class RemoteError(AsyncrevError):
    """A peer did something that ends its connection."""


class SettingsError(LocalError, ValueError):
    """A setting is out of range; the message names it, its value and what is allowed."""


class ChannelClosed(LocalError):
    """The channel is closed: nothing more can be put in, or everything has been taken out."""


class BridgeStopped(LocalError):
    """The bridge has been stopped, or was never started."""


class ProcessorError(LocalError):
    """A processor raised, or returned something that is not bytes; its connection is closed."""


class WorkerDied(AsyncrevError):
    """The worker thread ended by an error outside any processor; its cause is chained."""


class WorkerHung(AsyncrevError):
    """The worker thread did not end in time: a processor does not return."""


class WriteStalled(RemoteError):
    """A peer took no byte of its replies for the write-stall timeout."""
