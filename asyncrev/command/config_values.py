"""Option values of all sources: flags, environment, then the file that --config names."""

from collections.abc import Sequence

from asyncrev.command.option_values import OptionValue, Source, default_of, without_yielding
from asyncrev.errors import SettingsError

__all__ = ["blamed", "name_places", "with_file", "with_file_and_mistakes", "without_file"]


def with_file(values: Sequence[OptionValue]) -> list[OptionValue]:
    """Return `values` with those of the file for options that have their default.

    `values` are of all options, from flags, the environment and defaults. The file is read if
    `config` is among them; a value of it yields to what it contradicts (`without_yielding`).

    Raises:
        SettingsError: the file cannot be read or has mistakes; the first is named.
    """
    merged, mistakes = with_file_and_mistakes(values)
    if mistakes:
        more = len(mistakes) - 1
        rest = f" (and {more} more: see asyncrev config check)" if more else ""
        raise SettingsError(f"{mistakes[0]}{rest}")
    return merged


def with_file_and_mistakes(
    values: Sequence[OptionValue],
) -> tuple[list[OptionValue], list[str]]:
    """Return the same as `with_file`, and a message for each mistake in the file.

    Raises:
        SettingsError: the file cannot be read, or is not TOML in UTF-8.
    """
    path = next(value.value for value in values if value.option.name == "config")
    if path is None:
        return without_yielding(values), []
    from asyncrev.command.config_file import read_file  # few servers have a file

    found = read_file(path)
    merged = [
        value if value.is_given else found.values.get(value.option.name, value) for value in values
    ]
    return without_yielding(merged), found.mistakes


def without_file(values: Sequence[OptionValue]) -> list[OptionValue]:
    """Return `values` without those of a file, as they were before `with_file`."""
    return [
        default_of(value.option) if (value.yielded or value).source is Source.FILE else value
        for value in values
    ]


def name_places(message: str, values: Sequence[OptionValue]) -> str:
    """Return an error message with the lines of those options in it that come from a file.

    Messages name an option by its flag, or a limit by its field.
    """
    places = {v.option.name: v.line for v in blamed(message, values) if v.source is Source.FILE}
    if not places or any(place in message for place in places.values()):
        return message
    if len(set(places.values())) == 1:
        return f"{next(iter(places.values()))}: {message}"
    said = ", ".join(f"{name} is at {place}" for name, place in places.items())
    return f"{message} ({said})"


def blamed(message: str, values: Sequence[OptionValue]) -> list[OptionValue]:
    """Return the options that a message names: as a flag, as the first word, or by several words.

    A name of one word, such as host, may also be a word of the sentence.
    """
    import re  # for an error only

    words = set(re.findall(r"(?<![\w-])(?:--[a-z][\w-]*|\w*_\w+)(?![\w-])", message))
    words.add(message.partition(" ")[0].rstrip(":,"))
    return [
        value
        for value in values
        if words & {value.option.flag, value.option.name, value.option.variable}
        or ("_" in value.option.name and value.option.name.replace("_", " ") in message)
    ]
