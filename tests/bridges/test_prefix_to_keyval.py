"""A prefix mirrored into a key-value zone: the same bridge, with pairs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from doubles.nginx import NginxDouble

import aetcd
from aetcd.bridges import prefix_to_keyval
from aetcd.nginx import Fleet, Nginx, PartialFailure, Synced
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]
Proxy = Callable[[str], Awaitable[TCPProxy]]

QUICK: dict[str, Any] = {"debounce": 0.02, "ttl": 2}


async def test_keys_become_pairs(
    connect: Connect, protocol: str, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """Under their names below the prefix, at once and by every change; what else is in the zone goes."""
    client = await connect(protocol=protocol)
    await client.set("flags/search", "on")
    await client.set("flags/eu/basket", "v2")
    await client.set("flags-x", "not under it")
    await nginx.http.keyval("one").set("old", "pair")
    async with prefix_to_keyval(client, "flags", nginx.http.keyval("one"), **QUICK) as bridge:
        assert double.pairs("one") == {"search": "on", "eu/basket": "v2"}
        assert isinstance(bridge.last_plan, Synced)
        assert [bridge.last_plan.removed, bridge.in_step] == [("old",), True]
        await client.set("flags/search", "off")
        await eventually(lambda: double.pairs("one")["search"] == "off")
        await client.delete("flags/eu/basket")
        await eventually(lambda: double.pairs("one") == {"search": "off"})
    assert double.pairs("one") == {"search": "off"}


async def test_a_prefix_without_keys(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """The zone keeps its pairs, unless the user says otherwise."""
    zone = nginx.http.keyval("one")
    await zone.set("old", "pair")
    async with prefix_to_keyval(client, "flags", zone, **QUICK) as bridge:
        assert isinstance(bridge.last_error, aetcd.CoordinationError)
        assert double.pairs("one") == {"old": "pair"}
        await client.set("flags/search", "on")
        await eventually(lambda: double.pairs("one") == {"search": "on"})
        await client.delete("flags/search")
        await eventually(lambda: bridge.last_error is not None)
        assert double.pairs("one") == {"search": "on"}
    async with prefix_to_keyval(client, "flags", zone, allow_empty=True, **QUICK) as bridge:
        assert bridge.in_step
        assert double.pairs("one") == {}


async def test_values_that_are_no_text(client: aetcd.Client, nginx: Nginx, double: NginxDouble) -> None:
    """Are left out and told."""
    await client.set("flags/a", b"\xff\xfe")
    await client.set("flags/b", "on")
    await client.v3.put(f"{client._namespace}flags/".encode() + b"\xff", "a key that is no text")
    async with prefix_to_keyval(client, "flags", nginx.http.keyval("one"), **QUICK) as bridge:
        assert double.pairs("one") == {"b": "on"}
        assert len(bridge.left_out) == 2
        assert "UTF-8" in bridge.left_out["a"]


async def test_a_stream_zone_and_a_check(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """Pairs that expired or that others wrote are put right by the full check."""
    await client.set("flags/a", "1")
    async with prefix_to_keyval(client, "flags", nginx.stream.keyval("two"), check_every=0.05, **QUICK):
        assert double.pairs("two", "stream") == {"a": "1"}
        double.elapse(3601)
        double.instance.keyvals["stream"]["two"]._put("stranger", "x", None)
        await eventually(lambda: double.pairs("two", "stream") == {"a": "1"})


async def test_a_fleet_of_zones(
    client: aetcd.Client, double: NginxDouble, second: NginxDouble, eventually: Eventually
) -> None:
    """Each one has the pairs; the one that is away has them when it is back."""
    await client.set("flags/a", "1")
    async with Fleet([double.url, second.url], timeout=1) as fleet:
        async with prefix_to_keyval(client, "flags", fleet.http.keyval("one"), **QUICK) as bridge:
            assert double.pairs() == second.pairs() == {"a": "1"}
            await second.stop()
            await client.set("flags/a", "2")
            await eventually(lambda: double.pairs() == {"a": "2"})
            await eventually(lambda: isinstance(bridge.last_error, PartialFailure))
            await second.start()
            await eventually(lambda: bridge.in_step, 20)
            assert second.pairs() == {"a": "2"}


async def test_one_of_two_writes_pairs(
    client: aetcd.Client, other: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """And the other takes over."""
    await client.set("flags/a", "1")
    zone = nginx.http.keyval("one")
    async with prefix_to_keyval(other, "flags", zone, **QUICK) as two:
        async with prefix_to_keyval(client, "flags", zone, **QUICK) as one:
            assert [one.leading, two.leading] == [False, True]
            await client.set("flags/a", "2")
            await eventually(lambda: double.pairs() == {"a": "2"})
            assert one.last_plan is None
        assert len(double.writes()) == 2


async def test_a_lost_watch_empties_no_zone(
    etcd35: EtcdServer,
    connect: Connect,
    proxy: Proxy,
    client: aetcd.Client,
    nginx: Nginx,
    double: NginxDouble,
    eventually: Eventually,
) -> None:
    """Cut off from etcd, with the history gone: the zone stays, and then has what is there."""
    middle = await proxy(etcd35.url)
    far = await connect(middle.url)
    await client.set("flags/a", "1")
    await client.set("flags/b", "1")
    async with prefix_to_keyval(far, "flags", nginx.http.keyval("one"), check_every=0.05, **QUICK) as bridge:
        middle.refuse()
        middle.cut()
        await eventually(lambda: not bridge.fresh)
        await client.delete("flags/a")
        result = await client.set("flags/c", "1", full=True)
        await client.v3.compact(result.revision)
        assert double.pairs() == {"a": "1", "b": "1"}
        middle.resume()
        await eventually(lambda: double.pairs() == {"b": "1", "c": "1"}, 20)


@pytest.mark.parametrize(
    ("given", "settings", "named"),
    [
        ("", {}, "prefix"),
        ("/", {}, "prefix"),
        (b"flags", {}, "prefix"),
        ("flags", {"debounce": -1}, "debounce"),
        ("flags", {"check_every": 0}, "check_every"),
        ("flags", {"election": "flags"}, "election"),
    ],
)
async def test_bad_arguments_of_pairs(
    client: aetcd.Client, nginx: Nginx, given: Any, settings: dict[str, Any], named: str
) -> None:
    """Are named, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=named):
        prefix_to_keyval(client, given, nginx.http.keyval("one"), **settings)


async def test_no_zone_and_no_client(client: aetcd.Client, nginx: Nginx) -> None:
    """Are told at once."""
    with pytest.raises(TypeError, match="zone"):
        prefix_to_keyval(client, "flags", nginx.http.upstream("shop"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="client"):
        prefix_to_keyval(nginx, "flags", nginx.http.keyval("one"))  # type: ignore[arg-type]
