"""Peers by a discovery token and by DNS: what is asked, what is believed, and how it ends where nothing is found."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from doubles.names import name_server
from registries import REGISTRIES, DiscoveredCluster, ask, discovery_service, new_token, register
from scripted import CUT, GET, PROBE, Plan, Reply, Scripted, Seen, deaf, ok, refusing

from aetcd import TLS
from aetcd._routing.balance import RoundRobin
from aetcd._routing.peer import Peer, parse_peers
from aetcd._routing.retry import RetryPolicy
from aetcd._transport.auth import ANONYMOUS
from aetcd._transport.discovery import Discovery, reachable
from aetcd._transport.http import HTTP
from aetcd._transport.pool import Pool
from aetcd._transport.srv import SRV
from aetcd._transport.supervisor import Supervisor
from aetcd._transport.timeouts import Timeout
from aetcd._transport.token import Token
from aetcd.errors import ClientClosed, ConfigError, NoPeerAvailable, Outcome, RequestTimeout
from aetcd.testing import EtcdServer, etcd_binaries

Serve = Callable[..., Awaitable[Scripted]]

BINARIES = [binary for binary in etcd_binaries() if not binary.at_least(3, 6)]


def registry(*values: str, size: int | None = None) -> Plan:
    """A registry that holds what members have left, and tells them in an order of its own."""

    def plan(seen: Seen) -> Reply:
        if seen.target.endswith("/_config/size"):
            return node(value=str(size)) if size else ok(b'{"errorCode":100}', "404 Not Found")
        nodes = [{"key": f"/{at}", "value": value, "createdIndex": 9 + at} for at, value in enumerate(values)]
        return node(dir=True, nodes=nodes[::-1])

    return plan


def node(**fields: object) -> Reply:
    return ok(json.dumps({"action": "get", "node": fields}).encode())


def members(*urls: tuple[str, Sequence[str]], learners: Sequence[str] = ()) -> bytes:
    """What a member tells on its peer port, of others by peer URL and client URLs."""
    found = [{"id": 1, "peerURLs": [peer], **({"clientURLs": clients} if clients else {})} for peer, clients in urls]
    return json.dumps(found + [{"peerURLs": [], "clientURLs": [url], "isLearner": True} for url in learners]).encode()


def urls(peers: Sequence[Peer]) -> list[str]:
    return [peer.url for peer in peers]


@pytest.fixture(scope="module", params=BINARIES, ids=str)
def etcd(request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
    """An etcd that serves the v2 keys in which tokens are kept."""
    with EtcdServer(binary=request.param) as server:
        yield server


# Real registries, real clusters


@pytest.mark.parametrize("kind", REGISTRIES)
async def test_real_token(etcd: EtcdServer, kind: str) -> None:
    """Three members that made their cluster by a token are found by it, at the URLs where they serve clients."""
    async with AsyncExitStack() as opened:
        if kind == "keys":
            url = new_token(etcd.url, 3)
        else:
            url = ask(opened.enter_context(discovery_service(etcd.url)) + "/new?size=3")
        cluster = DiscoveredCluster(3, token=url, binary=etcd.binary)
        found = asyncio.create_task(Token(url).find())
        await opened.enter_async_context(cluster)
        assert sorted(urls(await found)) == sorted(cluster.peers)
        register(url, "late=http://127.0.0.1:1")
        await cluster.members[0].kill()
        assert sorted(urls(await Token(url).find())) == sorted(cluster.peers)


async def test_real_registry_without_size(etcd: EtcdServer) -> None:
    """As in etcd 0.4: no size, and clients' URLs as they are, in the order in which they were registered."""
    url = new_token(etcd.url, None)
    for port in (4003, 4001, 4002):
        register(url, f"http://127.0.0.1:{port}")
    assert urls(await Token(url).find()) == [f"http://127.0.0.1:{port}" for port in (4003, 4001, 4002)]


@pytest.mark.parametrize("kind", REGISTRIES)
async def test_unknown_token(etcd: EtcdServer, kind: str) -> None:
    """A token that nobody made is told at once, without the token in full."""
    with ExitStack() as opened:
        if kind == "keys":
            url = f"{etcd.url}/v2/keys/_etcd/registry/{'ab' * 16}"
        else:
            url = f"{opened.enter_context(discovery_service(etcd.url))}/{'ab' * 16}"
        with pytest.raises(NoPeerAvailable, match=r"abab\.\.\.: the registry knows no such token") as raised:
            await Token(url).find()
    assert raised.value.outcome is Outcome.NOT_SENT
    assert "ab" * 16 not in str(raised.value) + repr(Token(url))


# What registries may answer


async def test_first_ones_in_order(serve: Serve) -> None:
    """Who registered after the last place was taken is no member."""
    server = await serve(registry("http://127.0.0.1:4001", "http://127.0.0.1:4002", "http://127.0.0.1:4003", size=2))
    assert urls(await Token(f"{server.url}/token").find()) == ["http://127.0.0.1:4001", "http://127.0.0.1:4002"]


async def test_size_is_waited_for(serve: Serve) -> None:
    """As long as places are free the registry is asked again."""
    server = await serve(registry("http://127.0.0.1:4001", size=2))
    token = Token(f"{server.url}/token")
    found = asyncio.create_task(token.find())
    await server.until(lambda server: len(server.seen) > 3)
    assert token.progress == f"1 of 2 members have registered at {server.url}/toke..."
    server.plan = registry("http://127.0.0.1:4001", "http://127.0.0.1:4002", size=2)
    assert len(await found) == 2


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (ok(b"<html>"), "is no etcd discovery URL"),
        (ok(b'{"node":{"value":"x"}}'), "the size of the cluster is 'x'"),
        (ok(b"", "301 Moved Permanently", Location="https://elsewhere/"), "the registry answered HTTP 301"),
        (ok(b"", "503 Service Unavailable"), "the registry answered HTTP 503"),
        (CUT, "the registry does not answer: .*the connection broke"),
    ],
)
async def test_registry_that_is_none(serve: Serve, reply: Reply, text: str) -> None:
    """An answer that cannot be read ends the search; one that may pass, or none, does so the third time."""
    server = await serve(lambda _: reply)
    with pytest.raises(NoPeerAvailable, match=text):
        await Token(f"{server.url}/token").find()
    assert len(server.seen) == (3 if reply is CUT or b" 503 " in reply.data else 1)


async def test_token_that_is_a_key(serve: Serve) -> None:
    """A key is no token."""
    server = await serve(
        lambda seen: ok(status="404 Not Found") if "_config" in seen.target else node(value="http://x")
    )
    with pytest.raises(NoPeerAvailable, match="is a key, and no token"):
        await Token(f"{server.url}/token").find()


async def test_registry_recovers(serve: Serve) -> None:
    """One answer that may pass is no reason to give up."""
    good = registry("http://127.0.0.1:4001", size=1)
    server = await serve()
    server.plan = lambda seen: good(seen) if len(server.seen) > 1 else ok(status="500 Internal Server Error")
    assert urls(await Token(f"{server.url}/token").find()) == ["http://127.0.0.1:4001"]


async def test_values_without_urls(serve: Serve) -> None:
    """What members left is no URL."""
    server = await serve(registry("m0", size=1))
    with pytest.raises(NoPeerAvailable, match="left no URLs"):
        await Token(f"{server.url}/token").find()


# What members may answer


async def test_several_urls_and_members(serve: Serve) -> None:
    """`name=url,name=url` is one member; any URL that answers tells of all; learners and odd URLs are left out."""
    member = await serve()
    told = [(member.url, ["http://127.0.0.1:4001", "unix:///tmp/socket"]), ("http://other:1", ["http://0.0.0.0:4002"])]
    member.plan = lambda _: ok(members(*told, learners=["http://127.0.0.1:4003"]))
    server = await serve(registry(f"a={refusing()},a={member.url}", f"b={refusing()}", size=2))
    assert urls(await Token(f"{server.url}/token").find()) == ["http://127.0.0.1:4001"]
    assert {seen.target for seen in member.seen} == {"/members"}


async def test_members_that_form(serve: Serve) -> None:
    """A member that has told no URL for clients yet is waited for."""
    member = await serve()
    member.plan = lambda _: ok(members((member.url, [])))
    token = Token((await serve(registry(f"a={member.url}", size=1))).url + "/token")
    found = asyncio.create_task(token.find())
    await member.until(lambda member: len(member.seen) > 2)
    assert "name no URL for clients yet" in token.progress
    member.plan = lambda _: ok(members((member.url, ["http://127.0.0.1:4001"])))
    assert urls(await found) == ["http://127.0.0.1:4001"]


async def test_straggler_is_not_waited_for_long(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one never tells, those that do are enough."""
    monkeypatch.setattr("aetcd._transport.token.STRAGGLERS", 0.3)
    member = await serve()
    member.plan = lambda _: ok(members((member.url, ["http://127.0.0.1:4001"]), ("http://gone:1", [])))
    server = await serve(registry(f"a={member.url}", "b=http://127.0.0.1:1", size=2))
    assert urls(await Token(f"{server.url}/token").find()) == ["http://127.0.0.1:4001"]
    assert len(member.seen) > 1


@pytest.mark.parametrize("path", ["/v3/cluster/member/list", "/v2/members"])
async def test_peer_port_is_closed_to_clients(serve: Serve, path: str) -> None:
    """Where the registered URL does not answer, the usual port for clients of that host is asked for its cluster."""
    shut = refusing()
    guessed = await serve()
    body = b'{"members":' + members((shut, [guessed.url])) + b"}"
    guessed.plan = lambda seen: ok(body) if seen.target == path else ok(b"404 page not found", "404 Not Found")
    server = await serve(registry(f"a={shut}", size=1))
    assert urls(await Token(f"{server.url}/token", client_port=guessed.port).find()) == [guessed.url]


async def test_stranger_is_not_believed(serve: Serve) -> None:
    """Another cluster at that port, or at the registered URL by now, is not taken for the one that registered."""
    stranger, other = await serve(), await serve()
    for server in (stranger, other):
        body = members(("http://elsewhere:2380", [server.url]))
        server.plan = lambda seen, body=body: ok(body if seen.target == "/members" else b'{"members":' + body + b"}")
    token = Token((await serve(registry(f"a={other.url}", size=1))).url + "/token", client_port=stranger.port)
    found = asyncio.create_task(token.find())
    await stranger.until(lambda stranger: len(stranger.seen) > 4)
    assert not found.done()
    found.cancel()
    await asyncio.wait([found])


def test_loopback_of_another_machine() -> None:
    """What a remote member advertises by default is its own machine, not ours; what holds for all hosts is none."""
    told = ["http://localhost:2379", "http://127.0.0.5:2379", "http://[::1]:2379", "http://0.0.0.0:2379", "http://m0:1"]
    assert urls(reachable(told, local=False)) == ["http://m0:1"]
    assert urls(reachable(told, local=True)) == [*told[:3], "http://m0:1"]


async def test_private_registry_over_tls(serve: Serve, tmp_path: Path) -> None:
    """The configured authority is believed of the registry too, and no other is."""
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    server = await serve(registry("https://127.0.0.1:4001", size=1), tls=context)
    assert urls(await Token(f"{server.url}/token", TLS(ca=file)).find()) == ["https://127.0.0.1:4001"]
    with pytest.raises(NoPeerAvailable, match="CERTIFICATE_VERIFY_FAILED"):
        await Token(f"{server.url}/token").find()


@pytest.mark.parametrize(
    "url",
    [
        "", "host/token", "ftp://host/token", "https://host", "https://host/", "https://user:secret@host/token",
        "https://host/token?x=secret", "https://host/token#x", "https://a,b/token", "https://host:99999/token",
        "https://[::1/token", "https://host/to ken", "https://hôst/token",
    ],
)  # fmt: skip
def test_bad_url(url: str) -> None:
    """What can be no discovery URL says so, names the argument, and shows no credentials."""
    with pytest.raises(ConfigError, match=r"^discovery: ") as raised:
        Token(url)
    assert "secret" not in str(raised.value)


# DNS


async def test_srv_records() -> None:
    """Peers by priority, without the dot at the end of names; where there are records for https, none else are read."""
    ssl_records = ["20 0 2379 m2.example.com.", "10 0 2379 m0.example.com.", "15 0 4001 m1.example.com."]
    async with name_server(etcd_client_ssl=ssl_records, etcd_client=["0 0 1 clear.example.com."]) as server:
        found = await SRV("example.com", nameservers=["127.0.0.1"], port=server.port).find()
    assert urls(found) == ["https://m0.example.com:2379", "https://m1.example.com:4001", "https://m2.example.com:2379"]


async def test_srv_weights() -> None:
    """Of one priority, the heavy one comes first nearly always, and the other is there too."""
    records = ["10 1 2379 light.example.com.", "10 60000 2379 heavy.example.com."]
    firsts = set()
    async with name_server(etcd_client=records) as server:
        for _ in range(5):
            found = await SRV("example.com", nameservers=["127.0.0.1"], port=server.port).find()
            assert len(found) == 2
            firsts.add(found[0].host)
    assert "heavy.example.com" in firsts


async def test_srv_in_clear_text() -> None:
    """Where there are certainly no records for https, those for http are read."""
    async with name_server(etcd_client=["0 0 2379 m0.example.com.", "0 0 2379 ."]) as server:
        found = await SRV("example.com.", nameservers=["127.0.0.1"], port=server.port).find()
        assert urls(found) == ["http://m0.example.com:2379"]
        assert server.asked == ["_etcd-client-ssl._tcp.example.com", "_etcd-client._tcp.example.com"]


async def test_srv_failure_is_no_reason_for_clear_text() -> None:
    """Where nobody knows whether there are records for https, those for http are not asked for."""
    async with name_server(etcd_client=["0 0 2379 m0.example.com."]) as server:
        server.broken.add("_etcd-client-ssl._tcp.example.com")
        with pytest.raises(NoPeerAvailable, match=r"_etcd-client-ssl\._tcp\.example\.com\. cannot be read"):
            await SRV("example.com", nameservers=["127.0.0.1"], port=server.port).find()
        assert set(server.asked) == {"_etcd-client-ssl._tcp.example.com"}


async def test_srv_name_and_absence() -> None:
    """A domain's clusters are told apart by name; where there are no records, the error says which."""
    async with name_server(etcd_client_blue=["0 0 2379 m0.example.com."]) as server:
        settings = {"nameservers": ["127.0.0.1"], "port": server.port}
        assert urls(await SRV("example.com", name="blue", **settings).find()) == ["http://m0.example.com:2379"]
        with pytest.raises(NoPeerAvailable, match=r"_etcd-client-ssl-red\._tcp or _etcd-client-red\._tcp") as raised:
            await SRV("example.com", name="red", **settings).find()
    assert raised.value.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize(
    "domain", ["", "https://example.com", "example.com:53", "a,b", "exa mple", "u@example.com", "a/b"]
)
def test_bad_domain(domain: str) -> None:
    """What can be no domain says so, and names the argument."""
    with pytest.raises(ConfigError, match=r"^discovery_srv must be a domain"):
        SRV(domain)


def test_srv_without_dnspython(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing, making the client says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"aetcd-http\[srv\]"):
        SRV("example.com")


def test_dnspython_is_loaded_only_where_it_is_used() -> None:
    """The front door opens without the extra."""
    code = "import sys, aetcd; sys.exit('dns' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The search, as the pool's requests share it


LIMITS = Timeout(5)
FOUND = parse_peers("http://m0:2379", "http://m1:2379")


class Made:
    """A source that does as it is told, and counts."""

    progress = "not yet"

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.answer: asyncio.Future[Sequence[Peer]] = asyncio.get_running_loop().create_future()

    async def find(self) -> Sequence[Peer]:
        self.begun += 1
        try:
            return await asyncio.shield(self.answer)
        finally:
            self.ended += 1

    def renew(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    """The background of a client."""
    supervisor = Supervisor()
    yield supervisor
    await supervisor.aclose()


@pytest.fixture
async def made() -> Made:
    """A source under the test's control."""
    return Made()


@pytest.fixture
def used() -> list[Peer]:
    """The peers that were found."""
    return []


@pytest.fixture
def discovery(made: Made, supervisor: Supervisor, used: list[Peer]) -> Discovery:
    """The only way to any peers."""
    return Discovery(source=made, use=used.extend, spawn=supervisor.spawn, secure=False, fallback=False)


@pytest.fixture
def with_fallback(made: Made, supervisor: Supervisor, used: list[Peer]) -> Discovery:
    """One beside peers that were named."""
    return Discovery(source=made, use=used.extend, spawn=supervisor.spawn, secure=False, fallback=True)


async def turns() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_all_share_one_search(discovery: Discovery, made: Made, used: list[Peer]) -> None:
    """However many come, and although the first gives up: one search, whose peers are used once."""
    waiting = [asyncio.create_task(discovery.settle(LIMITS)) for _ in range(20)]
    await turns()
    waiting[0].cancel()
    await turns()
    made.answer.set_result(FOUND)
    await asyncio.gather(*waiting[1:])
    await discovery.settle(LIMITS)
    assert (made.begun, used) == (1, list(FOUND))


async def test_search_ends_with_the_last_who_waits(discovery: Discovery, made: Made) -> None:
    """Nobody waits, nothing is asked; who comes then begins anew."""
    waiting = [asyncio.create_task(discovery.settle(LIMITS)) for _ in range(2)]
    await turns()
    waiting[0].cancel()
    await turns()
    assert (made.begun, made.ended) == (1, 0)
    waiting[1].cancel()
    await turns()
    assert (made.begun, made.ended) == (1, 1)
    made.answer.set_result(FOUND)
    await discovery.settle(LIMITS)
    assert made.begun == 2


async def test_search_that_is_being_ended_is_not_joined(discovery: Discovery, made: Made, used: list[Peer]) -> None:
    """Who comes in the moment in which the last one leaves begins anew, and does not end with the old search."""
    waiting = asyncio.create_task(discovery.settle(LIMITS))
    await turns()
    waiting.cancel()
    made.answer.set_result(FOUND)
    await asyncio.create_task(discovery.settle(LIMITS))
    assert used == list(FOUND)


async def test_failure_is_for_all_and_not_for_ever(discovery: Discovery, made: Made, used: list[Peer]) -> None:
    """Everyone who waited gets the error; the next one searches again."""
    waiting = [asyncio.create_task(discovery.settle(LIMITS)) for _ in range(3)]
    await turns()
    made.answer.set_exception(NoPeerAvailable("gone", outcome=Outcome.NOT_SENT))
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [NoPeerAvailable] * 3
    assert len(set(map(id, errors))) == 3
    made.renew()
    made.answer.set_result(FOUND)
    await discovery.settle(LIMITS)
    assert (made.begun, used) == (2, list(FOUND))


async def test_failure_as_others_come(discovery: Discovery, made: Made) -> None:
    """Who begins a search in the moment in which one fails takes no error away from those who waited for that one."""
    waiting = []
    for turn in range(12):
        waiting += [asyncio.create_task(discovery.settle(LIMITS)) for _ in range(3)]
        if turn == 6:
            made.answer.set_exception(NoPeerAvailable("gone", outcome=Outcome.NOT_SENT))
        await asyncio.sleep(0)
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in errors} == {NoPeerAvailable}


async def test_time_limit_of_each(discovery: Discovery, made: Made) -> None:
    """Who has less time gives up alone, and is told how far the search came."""
    patient = asyncio.create_task(discovery.settle(LIMITS))
    with pytest.raises(RequestTimeout, match=r"discovery: no peers were found within 0.05 s: not yet") as raised:
        await discovery.settle(Timeout(0.05))
    assert raised.value.outcome is Outcome.NOT_SENT
    made.answer.set_result(FOUND)
    await patient
    assert made.begun == 1


async def test_closing_ends_the_wait(discovery: Discovery, supervisor: Supervisor) -> None:
    """Who waits when the client is closed is told so."""
    waiting = asyncio.create_task(discovery.settle(LIMITS))
    await turns()
    await supervisor.aclose()
    with pytest.raises(ClientClosed):
        await waiting


async def test_clear_text_is_left_out(made: Made, supervisor: Supervisor, used: list[Peer]) -> None:
    """A client that was told to use TLS takes no peers without it, and would rather have none."""
    discovery = Discovery(source=made, use=used.extend, spawn=supervisor.spawn, secure=True, fallback=False)
    made.answer.set_result(parse_peers("http://m0:2379"))
    with pytest.raises(NoPeerAvailable, match=r"speak no TLS.*http://m0:2379"):
        await discovery.settle(LIMITS)
    made.renew()
    made.answer.set_result(parse_peers("http://m0:2379", "https://m1:2379"))
    await discovery.settle(LIMITS)
    assert urls(used) == ["https://m1:2379"]


async def test_fallback_serves_after_a_failure(
    with_fallback: Discovery, made: Made, used: list[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other peers a failure is nobody's error, and the search goes on behind their backs."""
    monkeypatch.setattr("aetcd._transport.discovery.FIRST_PAUSE", 0.05)
    made.answer.set_exception(NoPeerAvailable("gone"))
    await with_fallback.settle(LIMITS)
    assert used == []
    made.renew()
    made.answer.set_result(FOUND)
    async with asyncio.timeout(5):
        while not used:
            await asyncio.sleep(0.005)
    assert made.begun >= 2


async def test_fallback_is_not_kept_waiting(with_fallback: Discovery, made: Made, used: list[Peer]) -> None:
    """A registry that is silent costs the first request a third of its time, and the others nothing."""
    clock = asyncio.get_running_loop().time
    started = clock()
    await with_fallback.settle(Timeout(0.3))
    assert 0.1 <= clock() - started < 0.25
    started = clock()
    await with_fallback.settle(LIMITS)
    assert clock() - started < 0.05
    made.answer.set_result(FOUND)
    await turns()
    assert used == list(FOUND)


# The pool


def empty_pool(**settings: Any) -> Pool:
    """A pool that nobody has told any peers."""
    return Pool(
        (),
        http=lambda: HTTP(None),
        balance=RoundRobin(),
        retry=RetryPolicy(base=0.01, cap=0.02),
        timeout=Timeout(5),
        probe=PROBE,
        **settings,
    )


async def test_prepare_comes_before_the_first_request(serve: Serve) -> None:
    """Its error is the request's, and the next request begins with it again; once it succeeded it is not called."""
    server = await serve()
    limits: list[float] = []

    async def prepare(given: Timeout) -> None:
        limits.append(given.total)
        if len(limits) == 1:
            raise NoPeerAvailable("nobody yet")
        pool.configure(parse_peers(server.url))

    pool = empty_pool(prepare=prepare)
    with pytest.raises(NoPeerAvailable, match="nobody yet"):
        await pool.send(GET, auth=ANONYMOUS)
    for _ in range(3):
        assert (await pool.send(GET, auth=ANONYMOUS, timeout=3)).status == 200
    async with pool.stream(GET, auth=ANONYMOUS):
        pass
    assert limits == [5, 3]
    await pool.aclose()


async def test_prepare_takes_from_the_time_of_the_call() -> None:
    """What it took is gone for the request itself."""

    async def prepare(_: Timeout) -> None:
        pool.configure(parse_peers(url))
        await asyncio.sleep(0.3)

    clock = asyncio.get_running_loop().time
    pool = empty_pool(prepare=prepare)
    with deaf() as url:
        started = clock()
        with pytest.raises(NoPeerAvailable):
            await pool.send(GET, auth=ANONYMOUS, timeout=0.4)
        assert 0.3 < clock() - started < 0.6
    await pool.aclose()


def test_found_peers_are_as_configured() -> None:
    """What is learnt later comes beside them, and cannot lower https to http; nor can another discovery."""
    pool = empty_pool()
    pool.learn(parse_peers("http://m0:1"))
    pool.configure(parse_peers("https://m1:1"))
    assert urls(pool.peers) == ["https://m1:1"]
    pool.learn(parse_peers("http://m0:1", "https://m2:1"))
    pool.configure(parse_peers("http://m3:1"))
    assert urls(pool.peers) == ["https://m1:1", "https://m2:1"]


async def test_lost_peer(serve: Serve, pool_of: Callable[..., Pool]) -> None:
    """The first failure of a healthy peer is told, and an answer is not."""
    server = await serve()
    pool = pool_of(server.url, refusing())
    await pool.send(GET, auth=ANONYMOUS)
    assert not pool.lost_peer.is_set()
    await pool.send(GET, auth=ANONYMOUS)
    assert pool.lost_peer.is_set()
