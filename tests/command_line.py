"""Calls of the command in this process, and what it would serve with."""

from click.testing import CliRunner, Result

from asyncrev.command import cli


def invoke(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.main, args, env=env, prog_name="asyncrev")
