"""errors: one base, two sides of blame."""

import copy
import pickle

import pytest

from asyncrev import errors
from asyncrev.errors import (
    AsyncrevError,
    DeadlinePassed,
    FirstByteLate,
    FrameLate,
    FrameTooLarge,
    IdleTooLong,
    IncompleteFrame,
    InputTooSlow,
    LocalError,
    PeerRefused,
    ProxyHeaderLate,
    RemoteError,
    RepliesTooSlow,
    SettingsError,
    TlsHandshakeLate,
    WriteStalled,
)


def test_all_names_every_error_of_the_module() -> None:
    """Nothing public is left out of __all__."""
    found = {n for n, v in vars(errors).items() if isinstance(v, type)}
    assert found == set(errors.__all__)


@pytest.mark.parametrize("name", errors.__all__)
def test_error_has_the_one_base_and_at_most_one_side(name: str) -> None:
    """A caller can catch all of them, or one side's."""
    error = getattr(errors, name)
    assert issubclass(error, AsyncrevError)
    assert not (issubclass(error, LocalError) and issubclass(error, RemoteError))
    assert error.__doc__
    assert str(error("why")) == ("refused: why" if name == "PeerRefused" else "why")


def test_refusal_survives_being_copied_and_pickled() -> None:
    """As it crosses a process, with its last word."""
    error = PeerRefused("it said no", reply=b"bye")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(again), again.reply) == ("refused: it said no", b"bye")


def test_settings_error_is_a_value_error() -> None:
    """Who validates settings generically catches it without knowing us."""
    assert issubclass(SettingsError, ValueError)


def test_every_fault_of_a_peer_has_a_reason_of_its_own() -> None:
    """Connections are counted under it; two that share one could not be told apart."""
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, RemoteError)]
    reasons = [kind.reason for kind in kinds]
    assert len(reasons) == len(set(reasons)) == 20
    assert all("reason" in vars(kind) for kind in kinds)  # none has only what it inherits


def test_deadlines_can_be_caught_together() -> None:
    """Whoever logs slow peers apart from wrong ones."""
    late = {
        v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, DeadlinePassed)
    }
    assert late == {
        DeadlinePassed,
        FirstByteLate,
        FrameLate,
        IdleTooLong,
        InputTooSlow,
        RepliesTooSlow,
        ProxyHeaderLate,
        TlsHandshakeLate,
        WriteStalled,
    }
    assert not issubclass(FrameTooLarge, DeadlinePassed)
    assert not issubclass(IncompleteFrame, DeadlinePassed)
