"""Reading the configuration again while a server runs, and what may change by that."""

import dataclasses
import os
from collections.abc import Sequence

from asyncrev.command.config_values import with_file, without_file
from asyncrev.command.option_values import OptionValue, refuse_contradictions
from asyncrev.errors import SettingsError

__all__ = ["FIXED", "Difference", "values_again"]

# Options of what is open for as long as the service runs. A worker that is started anew can have
# all others; options that need each other are all in here, or none.
FIXED = frozenset({"config", "host", "port", "uds", "uds_mode", "fd", "backlog", "admin"})
FIXED |= {"workers", "balance", "restart_limit", "hung_after_s"}


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """An option with another value than before."""

    before: OptionValue
    after: OptionValue

    @property
    def name(self) -> str:
        """The name of the option."""
        return self.after.option.name

    @property
    def may_change(self) -> bool:
        """Whether it can change without a restart of the service."""
        return self.name not in FIXED

    @property
    def words(self) -> str:
        """The option and where its value now comes from, for messages."""
        if self.after.is_given:
            return self.after.origin
        return f"{self.name} ({self.before.place} no longer has it)"


def values_again(
    before: Sequence[OptionValue],
) -> tuple[list[OptionValue], list[Difference]]:
    """Return option values of the same flags and variables, and the file as it is now.

    Options that must not change keep their values; the differences name those, too, in the order
    of the table. Thread: any.

    Args:
        before: what `values_of` or the last call returned.

    Raises:
        SettingsError: the file or a value cannot be used; nothing has changed.
    """
    _refuse_pipe(before)
    wanted = with_file(without_file(before))
    refuse_contradictions(wanted)  # also of those that will not change
    pairs = list(zip(before, wanted, strict=True))
    values = [old if new.option.name in FIXED else new for old, new in pairs]
    return values, [Difference(old, new) for old, new in pairs if old.value != new.value]


def _refuse_pipe(values: Sequence[OptionValue]) -> None:
    """Refuse a file that can be read only once: its second reading finds nothing, or never ends."""
    path = next(value.value for value in values if value.option.name == "config")
    if path is not None and os.path.exists(path) and not os.path.isfile(path):
        raise SettingsError(
            f"--config {path}: it is no regular file, so it cannot be read again; "
            "give the path of one, or restart the service"
        )
