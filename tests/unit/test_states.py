"""states: the tables are whole, and the one way along them says no in words."""

import enum
from collections.abc import Mapping
from typing import Any

import pytest

from asyncrev.errors import LocalError
from asyncrev.states import (
    CONNECTION_TRANSITIONS,
    INPUT_TRANSITIONS,
    SERVER_TRANSITIONS,
    TABLES,
    TRANSPORT_TRANSITIONS,
    WORKER_TRANSITIONS,
    ConnectionEvent,
    ConnectionState,
    InputEvent,
    InputState,
    ServerEvent,
    ServerState,
    TransportEvent,
    TransportState,
    WorkerEvent,
    WorkerState,
    advance,
)

MACHINES: list[tuple[Mapping[Any, Any], type[enum.Enum], type[enum.Enum], set[Any]]] = [
    (WORKER_TRANSITIONS, WorkerState, WorkerEvent, {WorkerState.ENDED, WorkerState.DEAD}),
    (CONNECTION_TRANSITIONS, ConnectionState, ConnectionEvent, {ConnectionState.LOST}),
    (INPUT_TRANSITIONS, InputState, InputEvent, {InputState.PEER_ENDED}),
    (SERVER_TRANSITIONS, ServerState, ServerEvent, {ServerState.CLOSED}),
    (TRANSPORT_TRANSITIONS, TransportState, TransportEvent, {TransportState.CLOSED}),
]
EVERY = pytest.mark.parametrize(("table", "states", "events", "ends"), MACHINES)


@EVERY
def test_advance_follows_the_table_and_refuses_every_other_pair(
    table: Any, states: Any, events: Any, ends: Any
) -> None:
    """A pair that is not in the table raises with both names."""
    for state in states:
        for event in events:
            if (state, event) in table:
                assert advance(table, state, event) is table[state, event]
            else:
                with pytest.raises(LocalError, match=rf"{state.name} does not allow {event.name}"):
                    advance(table, state, event)


@EVERY
def test_table_reaches_every_state_and_uses_every_event(
    table: Any, states: Any, events: Any, ends: Any
) -> None:
    """Nothing is defined that cannot happen, and only the known ends have no way on."""
    start = next(iter(states))
    reached, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for (before, _), after in table.items():
            if before is state and after not in reached:
                reached.add(after)
                todo.append(after)
    assert reached == set(states)
    assert {event for _, event in table} == set(events)
    assert set(states) - {state for state, _ in table} == ends


def test_lost_is_possible_in_every_state_of_an_open_connection() -> None:
    """A peer may vanish at any time."""
    assert {s for s, e in CONNECTION_TRANSITIONS if e is ConnectionEvent.LOST} == {
        ConnectionState.OPEN,
        ConnectionState.ANSWERING,
        ConnectionState.FINISHED,
    }


def test_tables_lists_every_machine() -> None:
    """The documentation is checked against this."""
    assert list(TABLES.values()) == [table for table, *_ in MACHINES]
