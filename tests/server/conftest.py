"""The fork server and the tracker of semaphores live as long as the process: no test leaks them."""

import multiprocessing.forkserver
import multiprocessing.resource_tracker

import pytest


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> None:
    multiprocessing.resource_tracker.ensure_running()
    multiprocessing.forkserver.ensure_running()
