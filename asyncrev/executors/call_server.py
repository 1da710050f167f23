"""What a worker of a `SocketExecutor` does: it makes the calls that it is sent, in their order.

Thread: the worker's.
"""

import os
import socket
from typing import Any

from asyncrev.executors.messages import NOTHING, pack, read_message
from asyncrev.executors.results import FrameFailure, failure_of

__all__ = ["CallFailure", "serve_calls", "serve_calls_at"]


class CallFailure(FrameFailure):
    """What a call itself has raised, in the place of its result."""

    __slots__ = ()


def serve_calls(sock: socket.socket) -> None:
    """Answer each call, a function with its arguments, by its result, until `sock` ends."""
    with sock, sock.makefile("rb") as stream:
        while (call := read_message(stream)) is not NOTHING:
            try:
                sock.sendall(_result_of(call))
            except OSError:  # nobody waits any more
                return


def serve_calls_at(fd: int) -> None:
    """Do the same with a copy of a socket's descriptor, as of another interpreter's socket."""
    serve_calls(socket.socket(fileno=os.dup(fd)))


def _result_of(call: Any) -> bytes:
    function, args, kwargs = call
    try:
        return pack(function(*args, **kwargs))
    except BaseException as error:
        return pack(CallFailure(*failure_of(error)))
