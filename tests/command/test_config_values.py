"""config_values: a flag before a variable before the file; a lower source yields to a higher."""

import pathlib

import pytest

from asyncrev.command.config_values import blamed, name_places, with_file, without_file
from asyncrev.command.option_values import OptionValue, Source, default_of
from asyncrev.command.options import OPTIONS
from asyncrev.command.settings import ServeSettings
from asyncrev.errors import SettingsError
from tests.command_line import invoke


def given(path: pathlib.Path, **values: object) -> list[OptionValue]:
    """Return the values of all options, with `values` as flags, and the file."""
    values["config"] = str(path)
    return [
        OptionValue(row, values[row.name], Source.COMMAND_LINE)
        if row.name in values
        else default_of(row)
        for row in OPTIONS
    ]


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "f.toml"


def test_flag_comes_before_variable_before_file(
    served: list[ServeSettings], file: pathlib.Path
) -> None:
    """And the file before the default; its own path may be a variable."""
    file.write_text("[serve]\nport = 1\nthreads = 5\nframing = 'line'\n[limits]\nslots = 9\n")
    environment = {"ASYNCREV_CONFIG": str(file), "ASYNCREV_PORT": "2", "ASYNCREV_THREADS": "6"}
    assert invoke("serve", "--port", "3", env=environment).exit_code == 0
    assert invoke("serve", "--config", str(file)).exit_code == 0
    first, second = served
    assert (first.port, first.threads, first.framing, first.limits.slots) == (3, 6, "line", 9)
    assert (second.port, second.threads) == (1, 5)


@pytest.mark.parametrize(
    ("text", "args", "env", "wanted"),
    [
        ("host = '::'\nport = 1", ["--uds", "s"], {}, ("s", "127.0.0.1", 9090, None)),
        ("host = '::'\nport = 1", [], {"ASYNCREV_UDS": "s"}, ("s", "127.0.0.1", 9090, None)),
        ("uds = 's'\nuds_mode = '0666'", ["--port", "7"], {}, (None, "127.0.0.1", 7, None)),
        ("uds = 's'", [], {"ASYNCREV_HOST": "::"}, (None, "::", 9090, None)),
        ("host = '::'", ["--port", "7"], {}, (None, "::", 7, None)),
        ("port = 1", ["--fd", "3"], {"ASYNCREV_UDS": "s"}, (None, "127.0.0.1", 9090, 3)),
        ("", ["--uds", "s"], {"ASYNCREV_HOST": "::"}, ("s", "127.0.0.1", 9090, None)),
        # The file's host has nothing to yield to, because the variable itself yields.
        ("host = '::'", ["--port", "7"], {"ASYNCREV_UDS": "s"}, (None, "::", 7, None)),
    ],
)
def test_lower_source_yields_to_a_higher_one(
    served: list[ServeSettings],
    file: pathlib.Path,
    text: str,
    args: list[str],
    env: dict[str, str],
    wanted: tuple[object, ...],
) -> None:
    """A flag --uds takes the place of the file's address; the mode goes with its socket."""
    file.write_text(f"[serve]\n{text}\n")
    result = invoke("serve", "--config", str(file), *args, env=env)
    assert result.exit_code == 0, result.output
    (settings,) = served
    assert (settings.uds, settings.host, settings.port, settings.fd) == wanted
    assert settings.uds_mode == 0o600


@pytest.mark.parametrize(
    ("text", "args", "part"),
    [
        ("uds = 's'\nfd = 3", [], "uds ({file}:2) and fd ({file}:3) exclude each other"),
        ("uds_mode = '0660'", [], "uds_mode ({file}:2) without uds; name the UNIX socket, too"),
        ("uds = 's'", ["--port", "1", "--uds-mode", "0660"], "--uds-mode without --uds"),
        ("port = 1", ["--uds", "s", "--fd", "3"], "--uds and --fd exclude each other"),
        ("port = 'x'", [], "{file}:2: [serve] port = \"x\": 'x' is not a whole number; give 0 to"),
        ("a = 1\nb = 2\nc = 3", [], "is no key; keys are the names of options (asyncrev serve "),
        ("a = 1\nb = 2\nc = 3", [], "(and 2 more: see asyncrev config check)"),
        ("threads = 2\n[limits]\nslots = 0", [], "{file}:4: slots is 0; it must be a whole number"),
        (
            "[limits]\nlow_water_bytes = '2M'\nhigh_water_bytes = '1M'",
            [],
            "low_water_bytes is at {file}:3",
        ),
        ("processor = 'no_module:X'", [], "{file}:2: --processor 'no_module:X': No module named"),
        ("cpu = 'all'", [], "{file}:2: --cpu is 'all'; it must be auto, any"),
        ("ssl_certfile = 'none.pem'", [], "{file}:2: --ssl-certfile 'none.pem': No such file"),
        ("stop_word = \"a\\n\"\nframing = 'line'", [], "{file}:2: the stop word has a line end"),
    ],
)
def test_mistake_is_one_line_with_its_place(
    file: pathlib.Path, text: str, args: list[str], part: str
) -> None:
    """Whoever finds it: the reading of the file, the table, or the settings."""
    file.write_text(f"[serve]\n{text}\n".replace("[serve]\n[limits]", "\n[limits]"))
    result = invoke("serve", "--config", str(file), *args)
    assert result.exit_code == 2
    assert part.format(file=file) in result.output
    assert result.output.startswith("asyncrev: error: ")
    assert result.output.count("\n") == 1


def test_file_that_is_missing_is_one_line_in_the_form_of_the_log(file: pathlib.Path) -> None:
    """A flag can ask for JSON before the file is read."""
    result = invoke("serve", "--config", str(file))
    assert result.exit_code == 2
    assert result.output == f"asyncrev: error: --config {file}: No such file or directory\n"
    result = invoke("serve", "--config", str(file), "--log-format", "json")
    assert result.exit_code == 2
    assert result.output.startswith("{")


def test_without_file_undoes_with_file(file: pathlib.Path) -> None:
    """So the file can be read again; what yields to a flag does so again."""
    before = given(file, uds="s")
    file.write_text("[serve]\nport = 1\nthreads = 2\n")
    merged = with_file(before)
    changed = {value.option.name for value, old in zip(merged, before, strict=True) if value != old}
    assert changed == {"port", "threads"}
    (port,) = [value for value in merged if value.option.name == "port"]
    assert (port.value, port.place, port.yields_to) == (9090, "default", "--uds")
    assert port.yielded is not None
    assert port.yielded.place == f"{file}:2"
    assert without_file(merged) == before


def test_relative_path_is_made_absolute(
    served: list[ServeSettings], file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor may change the directory before the file is read again."""
    file.write_text("[serve]\nport = 'x'\n")
    monkeypatch.chdir(file.parent)
    assert f": {file}:2: [serve] port" in invoke("serve", "--config", "f.toml").output


def test_message_blames_options_by_flag_or_field(file: pathlib.Path) -> None:
    """A word of the sentence that is also the name of an option is not meant by it."""
    values = given(file)

    def names(message: str) -> list[str]:
        return [value.option.name for value in blamed(message, values)]

    assert names("--port 3, --host 'x': the processor of this loop") == ["host", "port"]
    assert names("slots is 0; low_water_bytes too") == ["slots", "low_water_bytes"]
    assert names("the slots are few; ring-bytes; no_option; --host-name x") == []
    assert name_places("slots is 0", values) == "slots is 0"


def test_file_with_mistakes_raises(file: pathlib.Path) -> None:
    """For those who have no command line."""
    file.write_text("[serve]\nprot = 1\n")
    with pytest.raises(SettingsError, match=r"perhaps port was meant$"):
        with_file(given(file))
