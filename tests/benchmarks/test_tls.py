"""The benchmarks over TLS: short runs, wrong replies, handshakes, and a machine without OpenSSL."""

import contextlib
import dataclasses
import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import build, report, run, tls
from benchmarks.build import compiled, have_compiler
from benchmarks.scenarios import FULL, SCENARIOS, Scenario
from benchmarks.servers import SERVERS, Kind, custom

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not have_compiler() or tls.missing() is not None, reason="no gcc, or no OpenSSL for it"
    ),
]

SWAPPING = f"{sys.executable} -m tests.benchmarks.swapping {{port}} {{framing}}"
SHORT = ("--rounds", "1", "--seconds", "0.2", "--quiet")
HANDSHAKES = SCENARIOS["handshakes"]


@pytest.mark.parametrize("optimized", ["-O1", "-O3"])
def test_c_program_with_openssl_compiles_without_a_warning(optimized: str, tmp_path: Path) -> None:
    """What gcc has to say is an error, of the load generator without TLS, too."""
    for name, *flags in (("loadgen", "-DWITH_TLS"), ("native_tls",), ("loadgen",)):
        libraries = ("-lssl", "-lcrypto") if "WITH_TLS" in str(flags) or "tls" in name else ()
        program = compiled(
            name, *flags, "-Werror", optimized, libraries=libraries, directory=tmp_path
        )
        assert program.stat().st_size > 0


CIPHERS = {
    ("1.2", "rsa"): "TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384",
    ("1.3", "ecdsa"): "TLSv1.3 TLS_AES_256_GCM_SHA384",
}
FEW = ("native", "asyncrev")
ALL = tuple(label for label, kind in SERVERS.items() if kind.tls_command)


@pytest.mark.parametrize(
    ("version", "key", "servers"),
    [
        ("1.2", "rsa", FEW),
        ("1.3", "ecdsa", FEW),
        pytest.param("1.3", "ecdsa", ALL, marks=pytest.mark.slow),
    ],
)
def test_short_run_verifies_every_reply_of_every_peer(
    version: str, key: str, servers: tuple[str, ...], tmp_path: Path
) -> None:
    """All servers negotiate the same, or their figures could not be compared."""
    labels = [label for label in servers if not SERVERS[label].missing()]
    path = tmp_path / "results.json"
    arguments = ["--tls", version, "--key", key, "--scenarios", "tls-bulk4,tls-handshakes"]
    code = run.main([*arguments, "--servers", ",".join(labels), "--json", str(path), *SHORT])
    results = json.loads(path.read_text(encoding="utf-8"))
    assert code == 0, report.text(results)
    assert results["tls"] == {"version": version, "key": key}
    assert f"TLS {version}, a certificate with a key of {key.upper()}" in report.text(results)
    for name, scenario in results["scenarios"].items():
        assert sorted(scenario["servers"]) == sorted(labels)
        for server in scenario["servers"].values():
            (one,) = server["rounds"]
            assert one["tls"] == CIPHERS[version, key]
            assert one["verified"] == ("sums" if name == "tls-bulk4" else "every byte")
            assert one["messages"] > 0
            assert (one["errors"], one["lost_connections"]) == (0, 0)
            assert server["median"]["cpu_us_per_message"] > 0
            assert server["ratio"] is not None


def errors_over_tls(kind: Kind, scenario: Scenario) -> int:
    """Return how many errors a short run has."""
    with tls.made("1.3", "ecdsa") as made:
        results = run.measure(
            {"tried": scenario}, {"tried": kind}, 1, 0.3, made, warmup_s=0.05, progress=False
        )
    server = results["scenarios"]["tried"]["servers"]["tried"]
    assert not server["failures"]
    return int(server["errors"])


@pytest.mark.parametrize("framing", ["raw", "line"])
def test_two_swapped_bytes_are_errors_over_tls(framing: str) -> None:
    """One reply in a hundred."""
    scenario = Scenario(
        title=framing, headline="messages_per_s", framing=framing, connections=2, tls=True
    )
    assert errors_over_tls(custom(f"{SWAPPING} {{certificate}}"), scenario) > 0
    right = SERVERS["asyncrev"]
    assert errors_over_tls(right, scenario) == 0


@pytest.mark.parametrize("size_bytes", [64, 2048])
def test_wrong_reply_to_the_one_message_of_a_connection_is_an_error(size_bytes: int) -> None:
    """Each connection is checked before it is closed: by its bytes, or by their sum."""
    scenario = dataclasses.replace(HANDSHAKES, size_bytes=size_bytes, connections=2)
    answer = (
        "import socketserver, sys\n"
        "class Wrong(socketserver.StreamRequestHandler):\n"
        f"    def handle(self): self.wfile.write(b'x' * len(self.rfile.read({size_bytes})))\n"
        "socketserver.ThreadingTCPServer.allow_reuse_address = True\n"
        "socketserver.ThreadingTCPServer(('127.0.0.1', int(sys.argv[1])), Wrong).serve_forever()\n"
    )
    wrong = Kind(command=(sys.executable, "-c", answer, "{port}"), framings=("raw",))
    results = run.measure({"t": scenario}, {"w": wrong}, 1, 0.2, warmup_s=0.05, progress=False)
    server = results["scenarios"]["t"]["servers"]["w"]
    assert not server["failures"]
    assert server["errors"] > 0


def test_every_connection_of_handshakes_is_a_new_one_with_a_full_handshake() -> None:
    """The server counts what it accepts and what it resumes."""
    counting = (
        "import socket, ssl, sys\n"
        "context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)\n"
        "context.load_cert_chain(sys.argv[2])\n"
        "listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "print('ready', flush=True)\n"
        "resumed = served = 0\n"
        "while True:\n"
        "    sock = listener.accept()[0]\n"
        "    with context.wrap_socket(sock, server_side=True) as tls:\n"
        "        message = tls.recv(64)\n"
        "        if message == b'': break\n"
        "        tls.sendall(message[::-1])\n"
        "        resumed += tls.session_reused\n"
        "        served += 1\n"
        "        assert tls.recv(1) == b'', 'more than one message'\n"
        "print(served, resumed)\n"
    )
    with tls.made("1.3", "ecdsa") as made:
        port = _free_port()
        server = subprocess.Popen(
            [sys.executable, "-c", counting, str(port), str(made.certificate)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            seen = _load("--tls", "1.3", "--reconnect", port=port)
            _end(port)
            served, resumed = map(int, server.stdout.readline().split())
        finally:
            server.kill()
            server.communicate()
    assert seen["errors"] == 0
    assert 0 < seen["messages"] <= served
    assert resumed == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _load(*arguments: str, port: int) -> dict[str, Any]:
    command = [str(build.load_generator(tls=True)), "--port", str(port), *arguments]
    command += ["--seconds", "0.2", "--warmup", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _end(port: int) -> None:
    """Shake hands and say nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        context.wrap_socket(sock) as tls_sock,
        contextlib.suppress(ssl.SSLError),
    ):  # the server says no goodbye
        tls_sock.unwrap()


# -- what is refused -------------------------------------------------------------------------------


def test_machine_without_openssl_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Headers and command are looked for apart; the exit code is that of a usage error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tls, "COMPILER", "/usr/bin/true")
    arguments = ["--scenarios", "tls-latency", "--servers", "native", *SHORT]
    assert run.main(arguments) == 2
    assert "--tls needs the command openssl (Debian: apt-get install openssl)" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr(tls, "COMPILER", "/usr/bin/false")
    assert run.main(arguments) == 2
    assert "--tls needs the headers of OpenSSL (Debian: apt-get install libssl-dev)" in (
        capsys.readouterr().err
    )


def test_scenarios_over_tls_that_nobody_named_are_left_out_without_openssl(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full run has the others, and a line that says what is lacking."""
    monkeypatch.setattr(tls, "missing", lambda: "a library")
    options = run._parse(["--full"])
    assert options.scenarios == [name for name in FULL if not SCENARIOS[name].tls]
    assert "TLS: left out, because it needs a library" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--tls", "1.1"], "invalid choice: '1.1'"),
        (["--scenarios", "tls-idle"], "there is no tls-idle; there are small50, "),
        (["--servers", "apache"], "there is no apache; there are native, "),
        (["--server", "older"], "'older' must be NAME=COMMAND, with {port} in the command"),
        (["--server", "older=serve 80"], "'older=serve 80' must be NAME=COMMAND"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything runs."""
    with pytest.raises(SystemExit) as caught:
        run.main([*arguments, *SHORT])
    assert caught.value.code == 2
    assert part in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--tls", "1.3"], "compiled without TLS"),
        (["--tls", "1.1"], "--tls 1.1: must be 1.2 or 1.3"),
        (["--reconnect", "--depth", "2"], "--reconnect exchanges one message"),
        (["--rate", "-1"], "--rate must be above 0"),
        (["--rate", "10", "--reconnect"], "is not for --reconnect"),
    ],
)
def test_load_generator_refuses_what_it_cannot_do(arguments: list[str], part: str) -> None:
    """With a line that says what."""
    command = [str(build.load_generator(tls=False)), "--port", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert part in done.stderr
