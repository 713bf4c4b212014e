"""A client with the settings of etcdctl's environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme

import aetcd
from aetcd._client.environment import settings_from_env


def test_nothing_is_set() -> None:
    """The client is the default one."""
    assert settings_from_env({}) == {}
    assert repr(aetcd.Client.from_env({})) == "<Client of http://127.0.0.1:2379 protocol=auto>"


def test_empty_variables() -> None:
    """They count as not set, as for etcdctl."""
    names = "ENDPOINTS USER PASSWORD CACERT CERT KEY INSECURE_SKIP_TLS_VERIFY DIAL_TIMEOUT COMMAND_TIMEOUT API"
    assert settings_from_env({f"ETCDCTL_{name}": "" for name in names.split()}) == {}


def test_all_variables(tmp_path: Path) -> None:
    """Each has its setting."""
    authority = trustme.CA()
    certificate = authority.issue_cert("client")
    ca, cert, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(ca)
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    environ = {
        "ETCDCTL_ENDPOINTS": "https://a:2379, https://b,https://c:1",
        "ETCDCTL_USER": "ann:s3:cret",
        "ETCDCTL_CACERT": str(ca),
        "ETCDCTL_CERT": str(cert),
        "ETCDCTL_KEY": str(key),
        "ETCDCTL_INSECURE_SKIP_TLS_VERIFY": "true",
        "ETCDCTL_DIAL_TIMEOUT": "1m1.5s",
        "ETCDCTL_COMMAND_TIMEOUT": "500ms",
        "ETCDCTL_API": "3",
        "UNRELATED": "x",
    }
    settings = settings_from_env(environ)
    assert settings == {
        "peers": ["https://a:2379", "https://b", "https://c:1"],
        "username": "ann",
        "password": "s3:cret",
        "tls": aetcd.TLS(ca=str(ca), cert=str(cert), key=str(key), verify=False),
        "timeout": aetcd.Timeout(0.5, connect=61.5),
        "protocol": "v3",
    }
    client = aetcd.Client.from_env(environ)
    assert [peer.url for peer in client.status().peers] == ["https://a:2379", "https://b:2379", "https://c:1"]
    assert client.status().protocol == "v3"
    assert "s3:cret" not in repr(client)


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        ("ann:secret", None, ("ann", "secret")),
        ("ann:", None, ("ann", "")),
        ("ann", "secret", ("ann", "secret")),
        ("ann:secret", "", ("ann", "secret")),
        ("ann:of:the:hill", "secret", ("ann:of:the:hill", "secret")),
    ],
)
def test_credentials(user: str, password: str | None, expected: tuple[str, str]) -> None:
    """As etcdctl takes them: beside a password of its own, a colon belongs to the name."""
    environ = {"ETCDCTL_USER": user} | ({} if password is None else {"ETCDCTL_PASSWORD": password})
    settings = settings_from_env(environ)
    assert (settings["username"], settings["password"]) == expected


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5.0), ("500ms", 0.5), ("1m30s", 90.0), ("0.5h", 1800.0), ("250us", 0.00025)]
)
def test_durations(text: str, seconds: float) -> None:
    """As Go writes them."""
    assert settings_from_env({"ETCDCTL_COMMAND_TIMEOUT": text})["timeout"].total == pytest.approx(seconds)
    assert settings_from_env({"ETCDCTL_DIAL_TIMEOUT": text})["timeout"].connect == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ETCDCTL_COMMAND_TIMEOUT", "5"),
        ("ETCDCTL_COMMAND_TIMEOUT", "soon"),
        ("ETCDCTL_DIAL_TIMEOUT", "5 s"),
        ("ETCDCTL_DIAL_TIMEOUT", "-5s"),
        ("ETCDCTL_API", "4"),
        ("ETCDCTL_API", "v3"),
        ("ETCDCTL_USER", "s3cret"),
    ],
)
def test_variables_that_cannot_work(name: str, value: str) -> None:
    """ConfigError, naming the variable."""
    with pytest.raises(aetcd.ConfigError, match=name) as caught:
        aetcd.Client.from_env({name: value})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "settings", "expected"),
    [
        ({"ETCDCTL_ENDPOINTS": "a"}, {"peers": ["b"]}, "<Client of http://b:2379 protocol=auto>"),
        ({"ETCDCTL_ENDPOINTS": "a"}, {"host": "b", "port": 1}, "<Client of http://b:1 protocol=auto>"),
        ({"ETCDCTL_API": "3"}, {"protocol": "v2"}, "<Client of http://127.0.0.1:2379 protocol=v2>"),
        ({"ETCDCTL_ENDPOINTS": "a"}, {"namespace": "n/"}, "<Client of http://a:2379 protocol=auto namespace='n/'>"),
    ],
)
def test_arguments_go_before_variables(environ: dict[str, str], settings: dict[str, Any], expected: str) -> None:
    """What the call says wins."""
    assert repr(aetcd.Client.from_env(environ, **settings)) == expected


def test_the_process_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read where none is given."""
    monkeypatch.setenv("ETCDCTL_ENDPOINTS", "http://from-env:1")
    assert repr(aetcd.Client.from_env()) == "<Client of http://from-env:1 protocol=auto>"


async def test_a_subclass() -> None:
    """It makes its own kind."""

    class Mine(aetcd.Client):
        pass

    assert type(Mine.from_env({})) is Mine
