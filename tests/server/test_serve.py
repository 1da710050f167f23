"""serve: makes and starts a server with all that it is given."""

import inspect

import pytest

import asyncrev
from asyncrev import Server
from asyncrev.states import ServerState
from tests.protocol.served import SMALL


def test_serve_takes_what_the_server_and_its_start_take() -> None:
    """Under the same names, with the same defaults."""
    taken = dict(inspect.signature(asyncrev.serve).parameters)
    for function in (Server, Server.start):
        for name, parameter in inspect.signature(function).parameters.items():
            if name != "self":
                assert taken.pop(name).default == parameter.default, name
    assert not taken


@pytest.mark.asyncio
async def test_serve_returns_a_server_that_listens() -> None:
    """On a free port, when it is told 0."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
        assert server.state is ServerState.SERVING
        assert server.limits is SMALL
        assert server.port > 0
