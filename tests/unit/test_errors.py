"""errors: one base, two sides of blame."""

import pytest

from asyncrev import errors
from asyncrev.errors import AsyncrevError, LocalError, RemoteError, SettingsError


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
    assert str(error("why")) == "why"


def test_settings_error_is_a_value_error() -> None:
    """Who validates settings generically catches it without knowing us."""
    assert issubclass(SettingsError, ValueError)
