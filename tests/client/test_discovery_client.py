"""Clients that find their peers: by a discovery token, by DNS, by the cluster's own membership."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from doubles.names import name_server
from registries import DiscoveredCluster, new_token, register

import aetcd
from aetcd import ConfigError, NoPeerAvailable, RequestTimeout, Trace
from aetcd._transport.srv import SRV
from aetcd.testing import EtcdBinary, EtcdCluster, EtcdServer, TCPProxy, etcd_binaries
from aetcd.testing._settings import ServerTLS

BINARIES = [binary for binary in etcd_binaries() if not binary.at_least(3, 6)]
NOBODY = "http://127.0.0.1:1"


@pytest.fixture
async def token(etcd35: EtcdServer) -> str:
    """A fresh token for three members."""
    return new_token(etcd35.url, 3)


@pytest.fixture(params=BINARIES, ids=str)
def binary(request: pytest.FixtureRequest) -> EtcdBinary:
    """Each etcd that serves v3 and v2."""
    found: EtcdBinary = request.param
    return found


@pytest.fixture
async def discovered(token: str, binary: EtcdBinary) -> AsyncIterator[DiscoveredCluster]:
    """Three members that made their cluster by the token."""
    async with DiscoveredCluster(3, token=token, binary=binary) as cluster:
        yield cluster


def urls(client: aetcd.Client) -> set[str]:
    return {peer.url for peer in client.status().peers}


async def until(condition: Callable[[], object], within: float = 15.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


# Making one


def test_making_one_needs_nothing() -> None:
    """No loop and no registry is needed to make a client, and its `repr` says that it knows no peers yet."""
    client = aetcd.Client(discovery="http://127.0.0.1:1/0123456789abcdef")
    assert repr(client) == "<Client of peers not found yet protocol=auto>"
    assert client.status().peers == []


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"discovery": "127.0.0.1/token"}, r"^discovery: "),
        ({"discovery_srv": "https://example.com"}, r"^discovery_srv must be a domain"),
        (
            {"discovery": "https://host/token", "discovery_srv": "example.com"},
            r"^discovery and discovery_srv are given",
        ),
        ({"member_sync": 0}, r"^member_sync must be more than 0"),
        ({"member_sync": -1.5}, r"^member_sync must be more than 0"),
        ({"member_sync": float("inf")}, r"^member_sync must be more than 0"),
        ({"member_sync": float("nan")}, r"^member_sync must be more than 0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], text: str) -> None:
    """What cannot work is said when the client is made, and the argument is named."""
    with pytest.raises(ConfigError, match=text):
        aetcd.Client(**settings)


@pytest.mark.parametrize("settings", [{"discovery": 1}, {"discovery_srv": 1}, {"member_sync": "60"}])
def test_settings_of_another_type(settings: dict[str, Any]) -> None:
    """So is what is of another type."""
    (name,) = settings
    with pytest.raises(TypeError, match=f"^{name} must be"):
        aetcd.Client(**settings)


# By a token


@pytest.mark.parametrize("protocol", ["v3", "v2", "auto"])
async def test_token(discovered: DiscoveredCluster, protocol: Any) -> None:
    """The first call finds all members, and later ones fail over between them."""
    async with aetcd.Client(discovery=discovered.token, protocol=protocol) as client:
        assert urls(client) == set()
        await client.set("a", "1")
        assert urls(client) == set(discovered.peers)
        await (await discovered.leader()).kill()
        async with asyncio.timeout(20):
            while True:
                try:
                    assert await client.get("a") == "1"
                    break
                except (aetcd.TransportError, aetcd.NoLeader, aetcd.ServerUnavailable):
                    await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "first",
    [
        lambda client: client.v3.put("a", "1"),
        lambda client: client.v2.set("a", "1"),
        lambda client: client.v3.cluster.members(),
        lambda client: _enter(client.watch("a")),
        lambda client: _enter(client.lock("a")),
    ],
    ids=["v3", "v2", "members", "watch", "lock"],
)
async def test_any_first_call(etcd35: EtcdServer, first: Callable[[aetcd.Client], Any]) -> None:
    """Whatever is called first, the peers are found for it."""
    url = new_token(etcd35.url, 1)
    register(url, etcd35.url)
    async with aetcd.Client(discovery=url) as client:
        await first(client)
        assert urls(client) == {etcd35.url}


@pytest.mark.parametrize("protocol", ["v3", "v2"])
async def test_session_first(etcd35: EtcdServer, protocol: Any) -> None:
    """A session renews at the peers by name, so it begins by finding them, although on v2 it sends nothing then."""
    url = new_token(etcd35.url, 1)
    register(url, etcd35.url)
    async with aetcd.Client(discovery=url, protocol=protocol) as client, client.session(ttl=5):
        assert urls(client) == {etcd35.url}


async def _enter(block: Any) -> None:
    async with block:
        pass


async def test_one_search_for_many_calls(etcd35: EtcdServer, prefix: str) -> None:
    """Calls at the same time share one search, and calls after them need none."""
    url = new_token(etcd35.url, 1)
    register(url, etcd35.url)
    asked = []
    trace = Trace(on_request=lambda event: asked.append(event.operation))
    async with aetcd.Client(discovery=url, namespace=prefix, trace=trace) as client:
        await asyncio.gather(*(client.set(f"k{number}", "v") for number in range(20)))
        assert asked.count("discovery") == 2
        await client.get("k1")
        assert asked.count("discovery") == 2


async def test_cluster_in_the_making(token: str, binary: EtcdBinary) -> None:
    """A call that comes too early waits for the members; one with less patience is told how far they are."""
    async with aetcd.Client(discovery=token, timeout=30) as client, AsyncExitStack() as opened:
        with pytest.raises(RequestTimeout, match=r"discovery: no peers .* 0 of 3 members have registered") as raised:
            await client.get("a", timeout=0.5)
        assert raised.value.outcome is aetcd.Outcome.NOT_SENT
        waiting = asyncio.create_task(client.set("a", "1"))
        cluster = await opened.enter_async_context(DiscoveredCluster(3, token=token, binary=binary))
        await waiting
        assert urls(client) == set(cluster.peers)


async def test_registry_is_asked_again(etcd35: EtcdServer) -> None:
    """A search that failed is the call's error; the next call searches again."""
    url = f"{etcd35.url}/v2/keys/_etcd/registry/{'ef' * 16}"
    async with aetcd.Client(discovery=url) as client:
        for _ in range(2):
            with pytest.raises(NoPeerAvailable, match="knows no such token"):
                await client.set("a", "1")
        register(new_token(etcd35.url, 1, "ef" * 16), etcd35.url)
        assert (await client.v3.version()).server.startswith("3.5.")


async def test_closing_ends_the_search(etcd35: EtcdServer) -> None:
    """Who waits for peers when the client is closed gets ClientClosed at once."""
    client = aetcd.Client(discovery=new_token(etcd35.url, 3))
    waiting = asyncio.create_task(client.get("a"))
    await until(lambda: client._discovery._search is not None)
    await client.aclose()
    with pytest.raises(aetcd.ClientClosed):
        await waiting


async def test_named_peers_are_the_fallback(etcd35: EtcdServer, prefix: str) -> None:
    """Where the registry cannot be read, the peers that were named serve."""
    async with aetcd.Client(etcd35.url, discovery=f"{NOBODY}/0123456789", namespace=prefix, timeout=5) as client:
        await client.set("a", "1")
        assert urls(client) == {etcd35.url}


async def test_found_peers_beside_named_ones(etcd35: EtcdServer, prefix: str) -> None:
    """Where it can, both are there: what was named may be dead."""
    url = new_token(etcd35.url, 1)
    register(url, etcd35.url)
    async with aetcd.Client(NOBODY, discovery=url, namespace=prefix) as client:
        await client.set("a", "1")
        assert urls(client) == {NOBODY, etcd35.url}


async def test_debug_lines_work_when_pasted(etcd35: EtcdServer, caplog: pytest.LogCaptureFixture) -> None:
    """Discovery is among what `debug=True` shows."""
    url = new_token(etcd35.url, 1)
    register(url, etcd35.url)
    with caplog.at_level(logging.DEBUG, "aetcd.http"):
        async with aetcd.Client(discovery=url, debug=True) as client:
            await client.v3.version()
    lines = [record.getMessage() for record in caplog.records]
    assert f"curl -sS {url}" in lines


# By DNS


async def test_srv(etcd35: EtcdServer, prefix: str) -> None:
    """The first call reads the domain's records."""
    port = etcd35.url.rpartition(":")[2]
    async with name_server(etcd_client=[f"0 0 {port} localhost."]) as server:
        records = SRV("example.com", nameservers=["127.0.0.1"], port=server.port)
        async with aetcd.Client(discovery_srv=records, namespace=prefix) as client:
            await client.set("a", "1")
            assert await client.get("a") == "1"
            assert urls(client) == {f"http://localhost:{port}"}
            assert len(server.asked) == 2


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, ServerTLS]:
    """An authority's file, and a server's settings with a certificate of its."""
    ca = trustme.CA()
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    ca.cert_pem.write_to_path(str(paths["ca"]))
    certificate = ca.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(str(paths["cert"]))
    certificate.private_key_pem.write_to_path(str(paths["key"]))
    return paths["ca"], ServerTLS(cert=paths["cert"], key=paths["key"])


async def test_srv_over_tls(authority: tuple[Path, ServerTLS]) -> None:
    """Records for https lead to a peer whose certificate is checked; clear text is refused where TLS was asked for."""
    ca, tls = authority
    async with AsyncExitStack() as opened:
        server = await opened.enter_async_context(EtcdServer(tls=tls))
        port = server.url.rpartition(":")[2]
        names = await opened.enter_async_context(name_server(etcd_client_ssl=[f"0 0 {port} localhost."]))
        records = SRV("example.com", nameservers=["127.0.0.1"], port=names.port)
        async with aetcd.Client(discovery_srv=records, tls=aetcd.TLS(ca=ca)) as client:
            await client.set("a", "1")
            assert urls(client) == {f"https://localhost:{port}"}
        names.records = {"_etcd-client._tcp.example.com": [f"0 0 {port} localhost."]}
        async with aetcd.Client(discovery_srv=records, tls=aetcd.TLS(ca=ca)) as client:
            with pytest.raises(NoPeerAvailable, match="speak no TLS"):
                await client.get("a")


# By the cluster's membership


@pytest.mark.parametrize("protocol", ["v3", "v2"])
async def test_members_are_learnt_and_forgotten(binary: EtcdBinary, protocol: Any) -> None:
    """One peer leads to all members; one that was put out is forgotten after the failover; what was named stays."""
    async with AsyncExitStack() as opened:
        # Otherwise no member may be put out in a cluster's first five seconds.
        settings = ("--strict-reconfig-check=false",)
        cluster = await opened.enter_async_context(EtcdCluster(3, binary=binary, extra_args=settings))
        first, gone, stays = cluster.members
        proxy = await opened.enter_async_context(TCPProxy(first.url))
        client = await opened.enter_async_context(aetcd.Client(proxy.url, member_sync=3600, protocol=protocol))
        assert urls(client) == {proxy.url}
        await client.set("a", "1")
        await until(lambda: urls(client) == {proxy.url, *cluster.peers})
        members = (await client.v3.cluster.members()).members
        (number,) = [member.id for member in members if member.client_urls == (gone.url,)]
        await client.v3.cluster.remove(number, peer=first.url)
        await gone.kill()
        async with asyncio.timeout(15):
            while gone.url in urls(client):
                await client.get("a", consistent=False)
                await asyncio.sleep(0.02)
        assert urls(client) == {proxy.url, first.url, stays.url}


async def test_members_are_read_at_intervals(etcd35: EtcdServer, prefix: str) -> None:
    """Without any trouble too."""
    asked = []
    trace = Trace(on_request=lambda event: asked.append(event.operation))
    async with aetcd.Client(etcd35.url, member_sync=0.05, namespace=prefix, trace=trace) as client:
        assert asked == []
        await client.get("a")
        await until(lambda: asked.count("v3 member list") >= 3)


async def test_one_lost_peer_is_one_reading(etcd35: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that stays dead does not have the members read over and over."""
    monkeypatch.setattr("aetcd.etcd._membership.GAP", 0.02)
    asked = []
    trace = Trace(on_request=lambda event: asked.append(event.operation))
    async with aetcd.Client(NOBODY, etcd35.url, member_sync=3600, trace=trace) as client:
        await client.get("a")
        await until(lambda: client.status().peers[0].state != "healthy" and "v3 member list" in asked)
        await asyncio.sleep(0.5)
        assert asked.count("v3 member list") <= 3


async def test_no_member_sync_by_default(cluster: EtcdCluster) -> None:
    """Who does not ask for it is not led anywhere."""
    asked = []
    trace = Trace(on_request=lambda event: asked.append(event.operation))
    async with aetcd.Client(cluster.peers[0], trace=trace) as client:
        await client.set("a", "1")
        assert urls(client) == {cluster.peers[0]}
        assert "v3 member list" not in asked


async def test_failed_reading_is_quiet_and_repeated(binary: EtcdBinary, caplog: pytest.LogCaptureFixture) -> None:
    """While no member answers nothing is lost and nobody is told; afterwards members are learnt."""
    caplog.set_level(logging.DEBUG, "aetcd")
    async with EtcdServer(binary=binary) as server, TCPProxy(server.url) as proxy:
        async with aetcd.Client(proxy.url, member_sync=0.1, timeout=1) as client:
            proxy.refuse()
            with pytest.raises(NoPeerAvailable):
                await client.get("a")
            await until(lambda: any("members were not read" in record.message for record in caplog.records))
            proxy.resume()
            await until(lambda: urls(client) == {proxy.url, server.url})
        assert not [record for record in caplog.records if record.levelno > logging.INFO]
