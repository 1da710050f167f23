"""The main function of a worker process.

Thread: the main one of the worker process.
"""

import multiprocessing
import os
import signal
import socket
import threading
from multiprocessing.connection import wait as wait_for

from asyncrev.executors.call_server import serve_calls

__all__ = ["run_worker"]


def run_worker(sock: socket.socket) -> None:
    """Answer calls until `sock` ends; see `call_server`."""
    _prepare()
    serve_calls(sock)


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
