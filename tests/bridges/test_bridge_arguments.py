"""What a bridge is given: addresses that are servers, elections that meet, and mistakes that are named at once."""

from __future__ import annotations

import socket
from typing import Any

import pytest

import aetcd
from aetcd.bridges import prefix_to_keyval, registry_to_upstream, server_of
from aetcd.nginx import Fleet, Nginx

CLIENT = aetcd.Client("http://127.0.0.1:1")
FAR = "http://10.0.0.9:8080/api"
LOCAL = "http://127.0.0.1:8080/api"


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("10.0.0.7:8080", "10.0.0.7:8080"),
        (" app.example.com ", "app.example.com"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("http://10.0.0.7:8080/path?query", "10.0.0.7:8080"),
        ("http://10.0.0.7", "10.0.0.7:80"),
        ("http://10.0.0.7:/", "10.0.0.7:80"),
        ("https://ann:secret@app.example.com", "app.example.com:443"),
        ("tcp://[::1]:5432", "[::1]:5432"),
        ("http://[::1]", "[::1]:80"),
        ('{"server": "10.0.0.7:80", "weight": 3}', {"server": "10.0.0.7:80", "weight": 3}),
    ],
)
def test_addresses_are_servers(address: str, server: Any) -> None:
    """Whatever a service calls its address."""
    assert server_of(aetcd.Instance(id="a", address=address, metadata=None)) == server


@pytest.mark.parametrize("address", ["{", "http://10.0.0.7:none", "http://[::1"])
def test_addresses_that_are_none(address: str) -> None:
    """Raise ValueError, for which the instance is left out."""
    with pytest.raises(ValueError, match=r"."):
        server_of(aetcd.Instance(id="a", address=address, metadata=None))


def election(url: str, name: str = "shop", side: str = "http") -> str:
    upstream = getattr(Nginx(url), side).upstream(name)
    return registry_to_upstream("services", upstream, client=CLIENT).election or ""


def test_bridges_to_one_target_meet() -> None:
    """By a name that is the same in every process, and another one for another target."""
    names = [
        election(FAR),
        election(FAR, "other"),
        election(FAR, side="stream"),
        election("http://10.0.0.8:8080/api"),
        registry_to_upstream("services", Fleet([FAR, LOCAL]).http.upstream("shop"), client=CLIENT).election,
        prefix_to_keyval(CLIENT, "flags", Nginx(FAR).http.keyval("shop")).election,
        prefix_to_keyval(CLIENT, "flags", Fleet([FAR, LOCAL]).http.keyval("shop")).election,
    ]
    assert len(set(names)) == len(names)
    assert election(FAR) == names[0] == "aetcd-bridges/upstream/shop-0c28d58cc0cef4ae"
    turned = Fleet([LOCAL, FAR]).http.upstream("shop")
    assert registry_to_upstream("services", turned, client=CLIENT).election == names[4]
    assert registry_to_upstream("others", Nginx(FAR).http.upstream("shop"), client=CLIENT).election == names[0]
    assert "/a%2Fb" in election(FAR, "a/b")


@pytest.mark.parametrize("url", [LOCAL, "http://localhost:8080/api", "http://[::1]:8080/api"])
def test_the_loopback_is_another_one_on_each_host(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Bridges beside their own NGINX all write; to one that all can reach, one does."""
    here, common = election(url), election(FAR)
    assert here == election(url)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    assert election(url) != here
    assert election(FAR) == common


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"debounce": -0.1}, "debounce"),
        ({"debounce": True}, "debounce"),
        ({"check_every": 0}, "check_every"),
        ({"check_every": float("nan")}, "check_every"),
        ({"check_every": "30"}, "check_every"),
        ({"ttl": 0.5}, "ttl"),
        ({"ttl": 0}, "ttl"),
        ({"drain": 0}, "drain"),
        ({"drain": "5"}, "drain"),
        ({"allow_empty": 1}, "allow_empty"),
        ({"server": "10.0.0.1:80"}, "server"),
        ({"election": ""}, "election"),
        ({"election": 5}, "election"),
        ({"election": "services/leader"}, "election"),
    ],
)
def test_bad_settings(settings: dict[str, Any], named: str) -> None:
    """Are named, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=named):
        registry_to_upstream("services", Nginx(FAR).http.upstream("shop"), client=CLIENT, **settings)


@pytest.mark.parametrize(
    ("registry", "client", "named"),
    [
        ("", CLIENT, "registry"),
        ("/", CLIENT, "registry"),
        ("services", None, "client"),
        (CLIENT, None, "registry"),
        (CLIENT.registry("services"), CLIENT, "client"),
    ],
)
def test_bad_sources(registry: Any, client: aetcd.Client | None, named: str) -> None:
    """A registry has its client, a prefix needs one."""
    with pytest.raises((TypeError, ValueError), match=named):
        registry_to_upstream(registry, Nginx(FAR).http.upstream("shop"), client=client)


def test_no_upstream() -> None:
    """Is told at once."""
    with pytest.raises(TypeError, match="upstream"):
        registry_to_upstream("services", Nginx(FAR), client=CLIENT)  # type: ignore[arg-type]
