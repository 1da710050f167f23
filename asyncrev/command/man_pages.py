"""Generator of the manual pages (man(7)) from the commands, hence from the tables of options.

Run `python -m asyncrev.command.man_pages packaging/share` to update the pages and the completion
scripts that a wheel installs.
"""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from asyncrev.command.completion import SHELLS, completion_script
from asyncrev.command.option import GROUP_NOTES, GROUPS

__all__ = ["man_page", "man_pages", "shared_files"]

# Where each shell looks for scripts below share/.
_COMPLETIONS = {
    "bash": "bash-completion/completions/asyncrev",
    "zsh": "zsh/site-functions/_asyncrev",
    "fish": "fish/vendor_completions.d/asyncrev.fish",
}


def shared_files(root: click.Group) -> dict[str, str]:
    """Return the text of each file that is installed, by its path below share/."""
    files = {f"man/man1/{name}.1": text for name, text in man_pages(root).items()}
    for shell in SHELLS:
        files[_COMPLETIONS[shell]] = completion_script(root, shell)
    return files


def man_pages(root: click.Group) -> dict[str, str]:
    """Return the page of `asyncrev` and of each of its commands, by its name."""
    context = _context(root, "asyncrev")
    commands = [(name, root.get_command(context, name)) for name in root.list_commands(context)]
    names = ["asyncrev", *(f"asyncrev-{name}" for name, _ in commands)]
    pages = {"asyncrev": man_page("asyncrev", root, names)}
    for name, command in commands:
        assert command is not None
        pages[f"asyncrev-{name}"] = man_page(f"asyncrev-{name}", command, names)
    return pages


def man_page(name: str, command: click.Command, names: list[str]) -> str:
    """Return the page `name`; it refers to the other `names`."""
    others = ", ".join(rf"\fB{_roff(one)}\fR(1)" for one in names if one != name)
    lines = [
        r".\" Made by asyncrev.command.man_pages; changes here are lost.",
        f'.TH {name.upper()} 1 "" asyncrev "User Commands"',
        ".SH NAME",
        rf"{_roff(name)} \- {_roff(_brief(command))}",
        ".SH SYNOPSIS",
        *_synopsis(name, command),
        ".SH DESCRIPTION",
        *_paragraphs(command.help or ""),
        *_below(name, command),
        ".SH SEE ALSO",
        others,
    ]
    return "\n".join(lines) + "\n"


def _context(command: click.Command, name: str) -> click.Context:
    # A command keeps the help option of its first context, so it must be the one that users have.
    return click.Context(command, info_name=name, help_option_names=["-h", "--help"])


def _brief(command: click.Command) -> str:
    first = _first_sentence(command).rstrip(".")
    return first[:1].lower() + first[1:]


def _first_sentence(command: click.Command) -> str:
    return (command.help or "").split("\n\n")[0].replace("\n", " ")


def _synopsis(name: str, command: click.Command) -> Iterator[str]:
    context = _context(command, name.replace("-", " ", 1))
    pieces = " ".join(command.collect_usage_pieces(context))
    yield rf"\fB{_roff(context.info_name or name)}\fR {_roff(pieces)}"


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of a help text; after a backspace, a paragraph keeps its lines."""
    # Python 3.13 takes the indentation out of docstrings itself.
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.rstrip() for line in paragraph.splitlines()]
        if lines and lines[0].strip() == "\b":
            lines[1:] = textwrap.dedent("\n".join(lines[1:])).split("\n")
            yield from (".PP", ".nf", *map(_line, lines[1:]), ".fi")
        else:
            yield from (".PP", _line(" ".join(line.strip() for line in lines)))


def _below(name: str, command: click.Command) -> Iterator[str]:
    """Yield the sections with options; for a group, what it has."""
    context = _context(command, name)
    if isinstance(command, click.Group):
        yield from _options(command, context)
        yield ".SH COMMANDS"
        for one in command.list_commands(context):
            sub = command.get_command(context, one)
            assert sub is not None
            yield from (".TP", rf"\fB{_roff(one)}\fR")
            if name == "asyncrev":
                yield _line(_first_sentence(sub))
            else:
                yield from (*list(_paragraphs(sub.help or ""))[1:2], ".RS")
                yield from (*list(_paragraphs(sub.help or ""))[2:], ".RE")
        return
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    groups: dict[str, list[click.Parameter]] = {}
    for parameter in command.get_params(context):
        row = getattr(parameter, "row", None)
        groups.setdefault("" if row is None else row.group, []).append(parameter)
    for group in ("", *GROUPS):
        records = [
            _record(one, context) for one in groups.get(group, []) if isinstance(one, click.Option)
        ]
        if not records:
            continue
        yield f'.SH "{(group or "Options").upper()}"'
        if group in GROUP_NOTES:
            yield _line(GROUP_NOTES[group])
        for flags, text in records:
            yield from (".TP", rf"\fB{_roff(flags)}\fR", _line(text))


def _record(option: click.Option, context: click.Context) -> tuple[str, str]:
    """Return names and text of an option; they must not depend on the version of click."""
    if hasattr(option, "row"):
        record = option.get_help_record(context)
        assert record is not None
        return record
    value = option.metavar or ""
    if not value and isinstance(option.type, click.Choice):
        value = f"[{'|'.join(option.type.choices)}]"
    names = ", ".join(option.opts)
    default = f"  [default: {option.default}]" if option.show_default else ""
    return f"{names} {value}".rstrip(), f"{option.help}{default}"


def _line(text: str) -> str:
    """Return a line of text in which the first character is no request (groff(7))."""
    escaped = _roff(text)
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _roff(text: str) -> str:
    """Return `text` with what roff would interpret escaped; a hyphen stays ASCII for copies."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga")
    escaped = escaped.replace("'", r"\(aq").replace("~", r"\(ti").replace("^", r"\(ha")
    return escaped.replace("…", "...")


def _main(directory: str) -> None:
    from asyncrev.command.cli import main

    for path, text in shared_files(main).items():
        file = Path(directory, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _main(sys.argv[1])
