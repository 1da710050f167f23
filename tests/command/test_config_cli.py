"""config_cli: `asyncrev config show` and `asyncrev config check` as they are typed."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from tests.command_line import invoke
from tests.support import DEADLINE_S, ROOT, run_asyncrev, serving


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ASYNCREV_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "f.toml"


def test_help_lists_both_and_each_has_the_options_of_serve() -> None:
    """The group is a verb beside serve."""
    text = " ".join(invoke("--help").output.split())
    assert "config Show or check the options of a server" in text
    assert {"check", "show"} <= {*invoke("config", "--help").output.split()}
    for verb in ("show", "check"):
        text = " ".join(invoke("config", verb, "--help").output.split())
        assert "--max-connections " in text
        assert "--config PATH " in text
        assert "Exit codes: 0 " in text
    assert "--format [text|toml|json]" in invoke("config", "show", "--help").output
    assert invoke("nothing").exit_code == 2


def test_show_has_all_four_origins(file: pathlib.Path) -> None:
    """Flag, variable, file with its line, default."""
    file.write_text("[serve]\nport = 1\n\n[limits]\nslots = 7\n")
    result = invoke(
        *("config", "show", "--config", str(file), "--threads", "2"),
        env={"ASYNCREV_IDLE_TIMEOUT_S": "90s"},
    )
    assert result.exit_code == 0
    rows = [" ".join(line.split()) for line in result.output.splitlines()]
    for row in (
        f"config {file} --config",
        "host 127.0.0.1 default",
        f"port 1 {file}:2",
        "threads 2 --threads",
        f"slots 7 {file}:5",
        "entries 28 default: four times --slots",
        "idle_timeout_s 90s ASYNCREV_IDLE_TIMEOUT_S",
    ):
        assert row in rows


def test_toml_of_show_is_a_file_for_the_next_one(file: pathlib.Path) -> None:
    """With the same values as before."""
    flags = ["--uds", "/a b", "--slots", "7", "--idle-timeout-s", "inf", "--cpu", "0"]
    flags += ["--ssl-certfile", "a", "--ssl-certfile", "b"]
    first = invoke("config", "show", "--format", "toml", *flags)
    assert first.exit_code == 0
    assert tomllib.loads(first.output)["serve"] == {
        "uds": "/a b",
        "ssl_certfile": ["a", "b"],
        "cpu": "0",
    }
    file.write_text(first.output)
    forms = [
        json.loads(invoke("config", "show", "--format", "json", *how).output)["options"]
        for how in (flags, ["--config", str(file)])
    ]
    assert [form.pop("config")["value"] for form in forms] == [None, str(file)]
    values = [{name: one["value"] for name, one in form.items()} for form in forms]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "args", [["--port", "x"], ["--slots", "0"], ["--uds-mode", "0660"], ["--config", "/none"]]
)
def test_show_refuses_what_serve_refuses_in_one_line(args: list[str]) -> None:
    """Nothing is shown then."""
    result = invoke("config", "show", *args)
    assert result.exit_code == 2
    assert result.output.startswith("asyncrev: error: ")
    assert result.output.count("\n") == 1


def test_show_does_not_import_the_processor() -> None:
    """It is only asked what would be."""
    assert invoke("config", "show", "--processor", "no_module:X").exit_code == 0


def test_check_says_one_line_if_all_is_well(file: pathlib.Path) -> None:
    """On stdout."""
    file.write_text("[limits]\nslots = 7\n")
    result = invoke("config", "check", "--config", str(file))
    assert result.exit_code == 0
    assert result.output.startswith(f"ok: 1 from {file}, 1 from the command line; ")
    assert result.output.count("\n") == 1
    assert result.stderr == ""


def test_check_has_all_mistakes_of_all_sources(file: pathlib.Path) -> None:
    """A line each: values of flags and variables, keys of the file, and what serve would find."""
    file.write_text("[serve]\nprot = 1\nprocessor = 'no_module:X'\n[limits]\nslots = '7x'\n")
    args = ["--config", str(file), "--port", "x", "--loop", "y", "--tee", "-"]
    result = invoke("config", "check", *args, env={"ASYNCREV_THREADS": "z", "ASYNCREV_PROT": "1"})
    assert result.exit_code == 2
    assert result.stdout == ""
    warning, *lines = result.stderr.splitlines()
    assert warning.startswith("asyncrev: warning: ASYNCREV_PROT is ignored")
    assert all(line.startswith("asyncrev: error: ") for line in lines)
    for part in (
        "'--port' (env var: 'ASYNCREV_PORT'): 'x' is not a whole number",
        "'--loop' (env var: 'ASYNCREV_LOOP'): 'y' is not one of",
        "'--threads' (env var: 'ASYNCREV_THREADS'): 'z' is not a whole number",
        f"{file}:2: [serve] prot is no key; perhaps port was meant",
        f"{file}:5: [limits] slots = \"7x\": '7x' is not a valid integer",
        f"{file}:3: --processor 'no_module:X': No module named 'no_module'",
    ):
        assert sum(part in line for line in lines) == 1, part
    assert len(lines) == 6


def test_check_of_a_file_that_is_no_toml_goes_on(file: pathlib.Path) -> None:
    """Flags are checked all the same."""
    file.write_text("[serve\n")
    result = invoke("config", "check", "--config", str(file), "--slots", "0")
    assert result.exit_code == 2
    assert "it is not TOML" in result.stderr
    assert "slots is 0" in result.stderr
    assert invoke("config", "check", "--no-such-option").exit_code == 2


def test_flag_with_a_mistake_counts_as_not_given_in_a_check() -> None:
    """It contradicts nothing then."""
    result = invoke("config", "check", "--port", "x", "--uds", "s")
    assert result.stderr.count("\n") == 1
    assert "'x' is not a whole number" in result.stderr


def test_both_work_as_a_process(file: pathlib.Path) -> None:
    """With the streams and codes of one."""
    file.write_text("[serve]\nprot = 1\n")
    shown = run_asyncrev("config", "show", "--port", "1234")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "1234" in shown.stdout
    checked = run_asyncrev("config", "check", "--config", str(file))
    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr == (
        f"asyncrev: error: {file}:2: [serve] prot is no key; perhaps port was meant\n"
    )


def test_server_serves_with_its_file(file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The address of the file yields to the flag's, a limit and a framing of it hold."""
    file.write_text("[serve]\nframing = 'line'\nuds = 'not/here'\n[limits]\nslots = 7\n")
    with serving("--config", str(file), cwd=tmp_path) as server:
        assert " framing=line " in server.start_line
        assert " slots=7 " in server.start_line
        with server.connect() as sock:
            sock.settimeout(DEADLINE_S)
            sock.sendall(b"abc\n")
            assert sock.recv(9) == b"cba\n"


def test_tomllib_is_imported_for_a_file_only(file: pathlib.Path) -> None:
    """A server without one starts as fast as before."""
    file.write_text("[limits]\nslots = 7\n")
    plain = _modules("serve")
    assert plain == set()
    assert {"tomllib", "asyncrev.command.config_file"} <= _modules("serve", "--config", str(file))


SERVE = """
import sys
from asyncrev.command import serving
serving.serve_until_signal = lambda *_: 0
from asyncrev.command.cli import main
try:
    main()
finally:
    print(*(name for name in sys.modules if "toml" in name or ".config_" in name))
"""


def _modules(*args: str) -> set[str]:
    """Return which modules about files a process has imported when it would begin to serve."""
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *args], capture_output=True, text=True, check=True, timeout=60
    )
    return {*done.stdout.split()}


# -- the page --------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "howto" / "configure.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)[0]


def test_example_of_the_page_can_be_served(file: pathlib.Path) -> None:
    """As it stands, and with each of its comments that is a key."""
    file.write_text(EXAMPLE)
    result = invoke("config", "check", "--config", str(file))
    assert (result.exit_code, result.stderr) == (0, "")
    keys = re.findall(r"^# \w+ = .*$", EXAMPLE, re.M)
    assert len(keys) == 5
    file.write_text(re.sub(r"^# (?=\w+ = )", "", EXAMPLE, flags=re.M))
    lines = invoke("config", "check", "--config", str(file)).stderr.splitlines()
    assert len(lines) == 2  # it says where to listen in two ways, and has no certificate here
    assert "host" in lines[0]
    assert "--ssl-certfile 'rsa.pem': No such file" in lines[1]


def test_messages_of_the_page_are_those_of_the_command(file: pathlib.Path) -> None:
    """For its own example with two mistakes in it."""
    wrong = EXAMPLE.replace('framing = "line"', 'framing = "lines"')
    wrong = wrong.replace("threads = 1", "max_conections = 1")
    file.write_text(wrong)
    result = invoke("config", "check", "--config", str(file))
    said = result.stderr.replace(str(file), "/etc/asyncrev.toml")
    promised = re.findall(r"^    (asyncrev: error: .*\n)", PAGE, re.M)
    assert said == "".join(promised)
    assert len(promised) == 2


def test_output_of_the_page_is_that_of_the_command(file: pathlib.Path) -> None:
    """Each row that it shows, and the line of a check."""
    file.write_text(EXAMPLE)
    shown = invoke("config", "show", "--config", str(file), "--threads", "2").output
    rows = [line.split() for line in shown.replace(str(file), "/etc/asyncrev.toml").splitlines()]
    block = PAGE.split("    $ asyncrev config show ")[1].split("\n\n")[0].splitlines()[1:]
    promised = [line.split() for line in block if line.strip() != "..."]
    assert len(promised) == 6
    assert all(row in rows for row in promised)
    said = invoke("config", "check", "--config", str(file)).output
    (promised_line,) = re.findall(r"^    (ok: .*\n)", PAGE, re.M)
    assert said.replace(str(file), "/etc/asyncrev.toml") == promised_line
