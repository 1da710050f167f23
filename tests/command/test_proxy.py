"""proxy: whose PROXY headers are read, as options say."""

import pytest

from asyncrev import ProxyProtocol
from asyncrev.command.proxy import make_proxy
from asyncrev.command.settings import ServeSettings
from tests.command_line import invoke

BOTH = ("serve", "--proxy-protocol", "v2", "--proxy-from")


def test_off_is_the_default_and_needs_nobody(served: list[ServeSettings]) -> None:
    """Also when it is said."""
    assert invoke("serve").exit_code == 0
    assert invoke("serve", "--proxy-protocol", "off").exit_code == 0
    assert [settings.proxy for settings in served] == [None, None]


def test_addresses_come_with_commas_and_repeated(served: list[ServeSettings]) -> None:
    """Both at once, too."""
    args = ("10.0.0.0/8, 192.0.2.7", "--proxy-from", "unix", "--proxy-timeout-s", "500ms")
    assert invoke(*BOTH, *args).exit_code == 0
    trusted = ("10.0.0.0/8", "192.0.2.7", "unix")
    assert served[0].proxy == ProxyProtocol(version="v2", trusted=trusted, timeout_s=0.5)


def test_addresses_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, served: list[ServeSettings]
) -> None:
    """With commas."""
    monkeypatch.setenv("ASYNCREV_PROXY_PROTOCOL", "any")
    monkeypatch.setenv("ASYNCREV_PROXY_FROM", "10.0.0.0/8,192.0.2.7,::1")
    assert invoke("serve").exit_code == 0
    trusted = ("10.0.0.0/8", "192.0.2.7", "::1")
    assert served[0].proxy == ProxyProtocol(trusted=trusted)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--proxy-protocol", "any"), "--proxy-protocol any without --proxy-from; give the"),
        (("--proxy-from", "::1"), "--proxy-from without --proxy-protocol; say which version"),
        (("--proxy-timeout-s", "3"), "--proxy-timeout-s without --proxy-protocol"),
        ((*BOTH[1:], "localhost"), "--proxy-from: trusted has 'localhost'"),
        ((*BOTH[1:], ""), "--proxy-from: trusted has ''"),
        ((*BOTH[1:], "::1", "--proxy-timeout-s", "0"), "--proxy-timeout-s: timeout_s is 0"),
    ],
)
def test_options_that_cannot_be_end_with_2(
    args: tuple[str, ...], said: str, served: list[ServeSettings]
) -> None:
    """And say what to give."""
    result = invoke("serve", *args)
    assert result.exit_code == 2
    assert said in result.output
    assert not served


def test_no_proxy_no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that reads no headers does not pay for the module that reads addresses."""
    monkeypatch.setitem(__import__("sys").modules, "asyncrev.server.proxy_protocol", None)
    assert make_proxy("off", (), 3.0) is None
    with pytest.raises(ImportError):
        make_proxy("any", ("::1",), 3.0)
