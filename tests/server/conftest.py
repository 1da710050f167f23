"""Servers with executors start the fork server, too."""

from tests.executors.conftest import _fork_server

__all__ = ["_fork_server"]
