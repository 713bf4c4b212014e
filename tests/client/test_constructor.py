"""How a client is made: nothing is sent, no loop is needed, and what cannot work is refused."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import aetcd


def urls(client: aetcd.Client) -> Sequence[str]:
    return [peer.url for peer in client.status().peers]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (aetcd.Client, ["http://127.0.0.1:2379"]),
        (lambda: aetcd.Client(port=4001), ["http://127.0.0.1:4001"]),
        (lambda: aetcd.Client(host="http://localhost", port=4001), ["http://localhost:4001"]),
        (lambda: aetcd.Client(host="localhost"), ["http://localhost:2379"]),
        (lambda: aetcd.Client(host="https://etcd.example", port=443), ["https://etcd.example:443"]),
        (
            lambda: aetcd.Client(
                peers=[{"host": "http://host1", "port": 4001}, {"host": "http://host2", "port": 4001}]
            ),
            ["http://host1:4001", "http://host2:4001"],
        ),
        (lambda: aetcd.Client(peers=["a", ("b", 1), {"host": "c"}]), ["http://a:2379", "http://b:1", "http://c:2379"]),
        (lambda: aetcd.Client("http://a", "http://b:1"), ["http://a:2379", "http://b:1"]),
        (lambda: aetcd.Client(("a", 4001), ("b", 4002)), ["http://a:4001", "http://b:4002"]),
        (lambda: aetcd.Client({"host": "a", "port": 4001}), ["http://a:4001"]),
        (lambda: aetcd.Client("http://a:1,b:2,c"), ["http://a:1", "http://b:2", "http://c:2379"]),
        (lambda: aetcd.Client("https://a,b:1"), ["https://a:2379", "https://b:1"]),
        (lambda: aetcd.Client("a,http://b"), ["http://a:2379", "http://b:2379"]),
        (lambda: aetcd.Client("[::1]:4001"), ["http://[::1]:4001"]),
        (lambda: aetcd.Client("http://a:2379", "a"), ["http://a:2379"]),
    ],
)
def test_peers(make: Callable[[], aetcd.Client], expected: list[str]) -> None:
    """Every way to write them; a missing port is 2379, a missing scheme http."""
    client = make()
    assert urls(client) == expected
    assert all(url in repr(client) for url in expected)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"peers": ["http://a"], "host": "b"}, "host"),
        ({"peers": []}, "peers"),
        ({"peers": ["ftp://a"]}, "peers"),
        ({"peers": ["http://a:port"]}, "peers"),
        ({"peers": ["http://a:99999"]}, "peers"),
        ({"peers": [""]}, "peers"),
        ({"peers": ["http://"]}, "peers"),
        ({"peers": ["http://a b"]}, "peers"),
        ({"peers": [{"port": 1}]}, "peers"),
        ({"host": "a", "port": 0}, "port"),
        ({"host": "a", "port": 70000}, "port"),
        ({"host": "a:1", "port": 2}, "host"),
        ({"protocol": "v4"}, "protocol"),
        ({"protocol": None}, "protocol"),
        ({"balance": "random"}, "balance"),
        ({"namespace": "a\0"}, "namespace"),
        ({"namespace": "\ud800"}, "namespace"),
        ({"username": "u"}, "password"),
        ({"password": "p"}, "username"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"retry": 0}, "retry"),
        ({"retry": -1}, "retry"),
        ({"tls": aetcd.TLS(ca="/nowhere/ca.pem")}, "tls"),
        ({"tls": aetcd.TLS(key="/nowhere/key.pem")}, "tls"),
    ],
    ids=str,
)
def test_settings_that_cannot_work(settings: dict[str, Any], argument: str) -> None:
    """ConfigError, which is a ValueError, naming the argument."""
    with pytest.raises(aetcd.ConfigError, match=rf"\b{argument}\b") as caught:
        aetcd.Client(**settings)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"peers": 5}, "peers"),
        ({"peers": [5]}, "peers"),
        ({"host": 5}, "host"),
        ({"host": "a", "port": 1.5}, "port"),
        ({"host": "a", "port": True}, "port"),
        ({"namespace": b"bytes"}, "namespace"),
        ({"timeout": "5"}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"balance": 5}, "balance"),
        ({"retry": "often"}, "retry"),
        ({"tls": "ca.pem"}, "tls"),
        ({"consistent": "yes"}, "consistent"),
        ({"debug": "yes"}, "debug"),
        ({"username": 5, "password": "p"}, "username"),
        ({"username": "u", "password": 5}, "password"),
    ],
    ids=str,
)
def test_settings_of_another_kind(settings: dict[str, Any], argument: str) -> None:
    """TypeError or ValueError, naming the argument."""
    with pytest.raises((TypeError, ValueError), match=rf"\b{argument}\b"):
        aetcd.Client(**settings)


def test_a_list_among_peers() -> None:
    """The likely slip is told how to mend."""
    with pytest.raises(TypeError, match="peers="):
        aetcd.Client(["http://a"])


def test_positional_and_named_peers() -> None:
    """Only one way at a time."""
    with pytest.raises(aetcd.ConfigError, match="peers"):
        aetcd.Client("http://a", peers=["http://b"])
    with pytest.raises(aetcd.ConfigError, match="host"):
        aetcd.Client("http://a", host="b")


@pytest.mark.parametrize(
    "make",
    [
        lambda: aetcd.Client("http://ann:s3cret@a:2379"),
        lambda: aetcd.Client(host="http://ann:s3cret@a"),
        lambda: aetcd.Client(peers=[{"host": "ann:s3cret@a"}]),
        lambda: aetcd.Client("http://a:2379,ann:s3cret@b"),
        lambda: aetcd.Client(peers=["http://a", "https://s3cret@b"]),
    ],
)
def test_credentials_in_a_url(make: Callable[[], aetcd.Client]) -> None:
    """They are refused, and not shown: such errors land in logs."""
    with pytest.raises(aetcd.ConfigError, match="username=") as caught:
        make()
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in f"{error!s} {error!r}"
        error = error.__cause__ or error.__context__


def test_what_is_shown_of_a_client() -> None:
    """Peers, protocol and namespace; no credentials."""
    client = aetcd.Client("http://a", username="ann", password="s3cret", namespace="app/", protocol="v2")
    assert repr(client) == "<Client of http://a:2379 protocol=v2 namespace='app/'>"
    assert repr(aetcd.Client("a")) == "<Client of http://a:2379 protocol=auto>"
    for thing in (client, client.status(), client.v2, client.v3, client._pool, aetcd.Timeout(5), aetcd.TLS(ca="x")):
        assert "s3cret" not in repr(thing)
        assert "s3cret" not in str(thing)


def test_no_loop_is_needed() -> None:
    """A client, and all that hangs off it, can be made where no loop runs."""
    client = aetcd.Client(tls=False, trace=aetcd.Trace(), retry=False, balance="sticky", timeout=aetcd.Timeout(5))
    client.watch("key")
    client.lock("lock")
    client.election("election")
    client.session()
    assert client.status().protocol is None
    assert client.status().closed is False
    assert client.status().watches == []
    assert [peer.state for peer in client.status().peers] == ["healthy"]


@pytest.mark.parametrize("balance", ["round_robin", "least_pending", "power_of_two", "sticky"])
def test_policies(balance: str) -> None:
    """Each by its name."""
    assert urls(aetcd.Client(balance=balance)) == ["http://127.0.0.1:2379"]


def test_a_policy_of_ones_own() -> None:
    """An object with `pick`."""

    class First:
        def pick(self, candidates: Sequence[Any]) -> Any:
            return candidates[0]

    aetcd.Client(balance=First())


@pytest.mark.parametrize("tls", [None, True, False, aetcd.TLS(verify=False), ssl.create_default_context()])
def test_tls(tls: Any) -> None:
    """None, a bool, a TLS or a context."""
    aetcd.Client("https://a", tls=tls)


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    """ConfigError, naming the setting and the file."""
    broken = tmp_path / "cert.pem"
    broken.write_text("no certificate")
    for setting in ({"ca": broken}, {"cert": broken}):
        with pytest.raises(aetcd.ConfigError, match=r"tls.*cert\.pem"):
            aetcd.Client(tls=aetcd.TLS(**setting))
