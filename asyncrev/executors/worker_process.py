"""The main function of a worker process: it makes the calls that it is sent, one after the other.

Thread: the main one of the worker process.
"""

import multiprocessing
import os
import signal
import socket
import threading
from multiprocessing.connection import wait as wait_for
from typing import Any

from asyncrev.executors.messages import NOTHING, pack, read_message
from asyncrev.executors.results import FrameFailure, failure_of

__all__ = ["CallFailure", "run_worker"]


class CallFailure(FrameFailure):
    """What a call itself has raised, in the place of its result."""

    __slots__ = ()


def run_worker(sock: socket.socket) -> None:
    """Answer each call, a function with its arguments, by its result, until `sock` ends."""
    _prepare()
    with sock, sock.makefile("rb") as stream:
        while (call := read_message(stream)) is not NOTHING:
            try:
                sock.sendall(_result_of(call))
            except OSError:  # the server has gone
                return


def _result_of(call: Any) -> bytes:
    function, args, kwargs = call
    try:
        return pack(function(*args, **kwargs))
    except BaseException as error:
        return pack(CallFailure(*failure_of(error)))


def _prepare() -> None:
    """Have the process end with the server, and by no signal from a terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server's drain still needs the worker
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """Wait for the end of the server, which a worker that is in a call would not notice."""
    wait_for([sentinel])
    os._exit(1)
