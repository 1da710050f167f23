"""The main function of a worker process, in one."""

import multiprocessing
import os
import signal
import socket

from asyncrev.executors.messages import NOTHING, pack, read_message
from asyncrev.executors.worker_process import run_worker
from tests.executors import work
from tests.support import DEADLINE_S


def test_worker_answers_until_the_end_of_its_socket_whatever_a_terminal_sends() -> None:
    """Ctrl-C reaches the whole process group."""
    ours, theirs = socket.socketpair()
    context = multiprocessing.get_context("forkserver")
    with ours:
        ours.settimeout(DEADLINE_S)
        with theirs:
            process = context.Process(target=run_worker, args=(theirs,))
            process.start()
        with ours.makefile("rb") as stream:
            for frame in (b"a", b"b"):
                ours.sendall(pack((work.flip, (frame,), {})))
                assert read_message(stream) == frame.upper()
                assert process.pid is not None
                os.kill(process.pid, signal.SIGINT)
                os.kill(process.pid, signal.SIGHUP)
            ours.shutdown(socket.SHUT_WR)
            assert read_message(stream) is NOTHING
        process.join(DEADLINE_S)
        assert process.exitcode == 0
        process.close()
