"""Watches that share their streams, on real servers, and what becomes of them when something breaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import pytest
from relays import copy, first_of
from tokens import jwt

import aetcd
from aetcd._routing.peer import parse_peers
from aetcd._transport.auth import ANONYMOUS
from aetcd._wire.message import Effect, Request
from aetcd.etcd.v3 import _hub, _mux
from aetcd.etcd.v3._link import Link
from aetcd.testing import EtcdCluster, EtcdServer, TCPProxy, etcd_binaries

MakeProxy = Callable[[str], Awaitable[TCPProxy]]


async def until(condition: Callable[[], bool], *, within: float = 10) -> None:
    """Wait for something that some other task brings about."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


async def take(changes: aetcd.Watch, count: int, *, within: float = 10) -> list[aetcd.Change]:
    taken = []
    async with asyncio.timeout(within):
        for _ in range(count):
            item = await anext(changes)
            assert isinstance(item, aetcd.Change), item
            taken.append(item)
    return taken


@asynccontextmanager
async def entered(watches: list[aetcd.Watch]) -> AsyncIterator[list[aetcd.Watch]]:
    """All of them, entered together."""
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(watch) for watch in watches))
        yield watches


def streams(client: aetcd.Client) -> Counter[str]:
    """The streams of a client, by peer."""
    return Counter({peer.url: peer.streams for peer in client.status().peers if peer.streams})


def links(client: aetcd.Client) -> list[Link]:
    """The same from inside."""
    assert client.v3.hub is not None
    return client.v3.hub._links


async def watchers(client: aetcd.Client, url: str) -> int:
    """How many watches a server has, by its own count."""
    request = Request(operation="metrics", method="GET", path="/metrics", effect=Effect.READ)
    answer = await client._pool.send(request, auth=ANONYMOUS, peer=url)
    lines = answer.body.decode().splitlines()
    (line,) = [line for line in lines if line.startswith("etcd_debugging_mvcc_watcher_total ")]
    return int(float(line.split()[1]))


# Sharing


async def test_many_watches_on_few_connections(etcd: EtcdServer, prefix: str, proxy: MakeProxy) -> None:
    """A thousand watches stand on two streams, and each is told what is its own and nothing else."""
    far = await proxy(etcd.url)
    async with aetcd.Client(far.url, protocol="v3", namespace=prefix) as client:
        async with entered([client.watch(f"{n:03}") for n in range(1000)]) as watches:
            assert streams(client) == {far.url: 2}
            assert {watch.status().state for watch in watches} == {"live"}
            for n in (0, 500, 999):
                await client.set(f"{n:03}", str(n))
                (change,) = await take(watches[n], 1)
                assert (change.key, change.value) == (f"{n:03}", str(n))
            assert sum(watch.status().lag for watch in watches) == 0


async def test_leaving_ends_the_watch_on_the_server(etcd: EtcdServer, prefix: str) -> None:
    """And leaves the stream to the others."""
    async with aetcd.Client(etcd.url, protocol="v3", namespace=prefix) as client:

        async def until_watchers(count: int) -> None:
            async with asyncio.timeout(10):
                while await watchers(client, etcd.url) != count:
                    await asyncio.sleep(0.01)

        await until_watchers(0)  # those of tests before are gone
        async with client.watch("n") as stays:
            async with entered([client.watch(f"{n}") for n in range(50)]):
                await until_watchers(51)
            await until_watchers(1)
            await client.set("n", "1")
            assert (await take(stays, 1))[0].value == "1"
            assert streams(client) == {etcd.url: 1}


async def test_a_stream_without_watches_is_closed(
    etcd35: EtcdServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, and the next watch has a new one."""
    monkeypatch.setattr(_hub, "LINGER", 0.1)
    async with aetcd.Client(etcd35.url, protocol="v3", namespace=prefix) as client:
        for _ in range(2):
            async with client.watch("n") as changes:
                assert streams(client) == {etcd35.url: 1}
                await client.set("n", "1")
                await take(changes, 1)
            await until(lambda: not streams(client), within=5)


async def test_off_by_switch(etcd35: EtcdServer, prefix: str) -> None:
    """`watch_sharing=False` gives each a connection of its own."""
    async with aetcd.Client(etcd35.url, protocol="v3", namespace=prefix, watch_sharing=False) as client:
        async with entered([client.watch(f"{n}") for n in range(7)]) as watches:
            assert streams(client) == {etcd35.url: 7}
            await client.set("3", "x")
            assert (await take(watches[3], 1))[0].key == "3"


async def test_one_that_is_lost_is_nothing_to_the_others(etcd: EtcdServer, prefix: str) -> None:
    """A compaction, or an impossible start, ends the one watch that it is about."""
    async with aetcd.Client(etcd.url, protocol="v3", namespace=prefix) as client:
        first = await client.set("n", "0", full=True)
        async with client.watch("n") as stays:
            last = await client.set("n", "1", full=True)
            await client.v3.compact(last.revision)
            with pytest.raises(aetcd.HistoryLost, match="compacted"):
                async with client.watch("n", since=first.revision) as lost:
                    await take(lost, 1)
            with pytest.raises(aetcd.HistoryLost, match="restored"):
                async with client.watch("n", since=last.revision + 1_000_000):
                    pass
            await client.set("n", "2")
            assert [change.value for change in await take(stays, 2)] == ["1", "2"]
            assert streams(client) == {etcd.url: 1}


async def test_standing_costs_no_request(etcd35: EtcdServer, prefix: str) -> None:
    """Watches that go on from a cursor ask for nothing but themselves, unless the member is behind it."""
    sent: list[str] = []
    trace = aetcd.Trace(on_request=lambda event: sent.append(event.operation))
    async with aetcd.Client(etcd35.url, protocol="v3", namespace=prefix, trace=trace) as client:
        now = (await client.set("n", "0", full=True)).revision
        sent.clear()
        async with entered([client.watch(f"{n}", since=now + n % 2) for n in range(60)]):
            pass
        assert [operation for operation in sent if operation != "health"] == ["v3 watch"]


# Broken streams


async def test_a_connection_that_stalls_alone(etcd35: EtcdServer, prefix: str, proxy: MakeProxy) -> None:
    """Its peer answers every other request, and it is noticed within 5 s or so; nothing is lost."""
    far = await proxy(etcd35.url)
    async with aetcd.Client(far.url, protocol="v3", namespace=prefix) as client:
        # Behind the answer to the first message, and before a watch.
        trap = far.stall_after(received=2000, match=b"/v3/watch")
        async with entered([client.watch(f"{n}") for n in range(20)]) as watches:
            for n in range(40):
                await client.set("0", str(n))
                if trap.sprung:
                    break
            await trap.wait(5)
            clock = asyncio.get_running_loop().time
            stalled_at = clock()
            await client.set("0", "last")
            assert await client.get("0") == "last"
            seen: list[str] = []
            while not seen or seen[-1] != "last":
                seen += [change.value for change in await take(watches[0], 1)]
            assert clock() - stalled_at < 6
            assert seen == [*map(str, range(len(seen) - 1)), "last"]
            await client.set("19", "x")
            assert (await take(watches[19], 1))[0].value == "x"


@pytest.mark.parametrize("cluster_binary", etcd_binaries(), ids=str)
async def test_the_watches_of_a_dead_member_move_and_are_spread(cluster: EtcdCluster) -> None:
    """They go to both members that are left, and miss nothing."""
    async with aetcd.Client(*cluster.peers, protocol="v3") as client:
        async with entered([client.watch(f"w/{n}") for n in range(300)]) as watches:
            used = streams(client)
            assert len(used) == 2
            (dead,) = [member for member in cluster.members if member.url == next(iter(used))]
            await dead.kill()
            async with aetcd.Client(*cluster.peers, protocol="v3") as writer:
                for n in range(300):
                    with suppress(aetcd.OutcomeUnknown):
                        await writer.set(f"w/{n}", "after", timeout=10)
                there = {int(node.key[2:]) for node in await writer.ls("w")}
            assert len(there) > 290
            for n in there:
                assert [change.value for change in await take(watches[n], 1)] == ["after"]
            assert streams(client) == {member.url: 1 for member in cluster.members if member is not dead}
            loads = sorted(len(link.mux) for link in links(client))
            assert loads[0] > 50


async def test_streams_that_are_cut_again_and_again(etcd: EtcdServer, prefix: str, proxy: MakeProxy) -> None:
    """However often, and whatever was on its way: each change once and in order, in every watch."""
    far = await proxy(etcd.url)
    async with (
        aetcd.Client(far.url, protocol="v3", namespace=prefix) as client,
        aetcd.Client(etcd.url, protocol="v3", namespace=prefix) as writer,
    ):
        async with entered([client.watch(f"{n}") for n in range(4)] + [client.watch("", recursive=True)]) as watches:
            for n in range(120):
                await writer.set(f"{n % 4}", str(n))
                if n % 30 == 17:
                    far.cut()
                if n % 30 == 2:
                    far.cut_after(received=n * 7, match=b"/v3/watch")
            for n in range(4):
                assert [change.value for change in await take(watches[n], 30)] == [str(m) for m in range(n, 120, 4)]
            assert [change.value for change in await take(watches[4], 120)] == [str(m) for m in range(120)]


async def test_a_slow_reader_holds_up_nobody(etcd: EtcdServer, prefix: str) -> None:
    """What it does not read is left with the server; the others go on by the same stream; it loses nothing."""
    total = 4000
    async with aetcd.Client(etcd.url, protocol="v3", namespace=prefix) as client:
        async with client.watch("", recursive=True) as slow, client.watch("", recursive=True) as quick:
            for first in range(0, total, 100):
                await asyncio.gather(*(client.set(f"{n}", str(n)) for n in range(first, first + 100)))
                await take(quick, 100)
                assert slow.status().lag <= 1000
            assert slow.status().lag > 900
            assert len(links(client)[0].mux) == 1  # its changes are not even sent
            assert slow.status().state == "live"
            assert streams(client) == {etcd.url: 1}
            seen = await take(slow, total, within=30)
            assert [change.revision for change in seen] == sorted({change.revision for change in seen})
            assert {change.value for change in seen} == {str(n) for n in range(total)}
            await client.set("end", "")
            assert (await take(slow, 1))[0].key == "end"


# Proxies in between


class Holding:
    """A proxy that passes a request on when it has all of it, as most do by default; or refuses one that is large."""

    def __init__(self, target: str, *, most: int | None = None) -> None:
        self.target = target.removeprefix("http://").split(":")
        self.most = most
        self.heads: list[str] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head.decode())
                fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
                length = int(fields.get("content-length", 0))
                if self.most is not None and length > self.most:
                    writer.write(b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 3\r\n\r\nbig")
                    await writer.drain()
                    return
                body = await reader.readexactly(length)
                await self._pass_on(head, body, reader, writer)
            finally:
                writer.transport.abort()

    async def _pass_on(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One request for each connection, until either side ends it."""
        far, there = await asyncio.open_connection(*self.target)
        there.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)

        try:
            await first_of(copy(far, writer), reader.read())
        finally:
            there.transport.abort()


class Mute(Holding):
    """A proxy that passes all on at once, until it is told to keep what clients send on streams."""

    silent = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, there = await asyncio.open_connection(*self.target)

        async def up() -> None:
            stream = False
            while data := await reader.read(65536):
                stream = stream or b"/watch " in data
                if not (stream and self.silent):
                    there.write(data)

        try:
            await first_of(up(), copy(far, writer))
        finally:
            there.transport.abort()
            writer.transport.abort()


async def test_a_stream_whose_requests_are_lost(
    etcd35: EtcdServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While changes still come on it: it is left for another, and whoever wants to enter does."""
    monkeypatch.setattr(_mux, "DEAF", 1.0)
    async with (
        Mute(etcd35.url) as between,
        aetcd.Client(between.url, protocol="v3", namespace=prefix) as client,
        aetcd.Client(etcd35.url, protocol="v3", namespace=prefix) as writer,
        client.watch("a") as watched,
    ):
        (old,) = links(client)
        between.silent = True

        async def write() -> None:
            while True:
                await writer.set("a", "x")

        writing = asyncio.ensure_future(write())
        entering = asyncio.ensure_future(client.watch("b").__aenter__())
        reading = asyncio.ensure_future(take(watched, 1_000_000))
        await until(lambda: old not in links(client))
        between.silent = False
        late = await entering
        for task in (writing, reading):
            task.cancel()
        await asyncio.gather(writing, reading, return_exceptions=True)
        await writer.set("b", "x")
        assert (await take(late, 1))[0].value == "x"
        assert watched.status().state == "live"
        await late.__aexit__(None, None, None)


async def test_a_hook_that_fails(etcd35: EtcdServer, prefix: str) -> None:
    """Watches end with what is wrong, and not as if the client were closed."""

    def on_request(event: aetcd.RequestEvent) -> None:
        if event.operation == "v3 watch":
            raise RuntimeError("the hook failed")

    trace = aetcd.Trace(on_request=on_request)
    async with aetcd.Client(etcd35.url, protocol="v3", namespace=prefix, trace=trace) as client:
        with pytest.raises(aetcd.WatchError, match="the hook failed"):
            async with client.watch("a"):
                pytest.fail("it cannot stand")


@pytest.mark.parametrize("most", [None, 2**20], ids=["holds", "refuses"])
async def test_a_proxy_that_lets_no_stream_through(etcd: EtcdServer, prefix: str, most: int | None) -> None:
    """Watches fall back by themselves to a request each; it is tried once, and the next ones do not wait for it."""
    async with Holding(etcd.url, most=most) as between:
        async with aetcd.Client(between.url, protocol="v3", namespace=prefix) as client:
            async with entered([client.watch(f"{n}") for n in range(5)]) as watches:
                assert streams(client) == {between.url: 5}
                clock = asyncio.get_running_loop().time
                started = clock()
                async with client.watch("late") as late:
                    assert clock() - started < 1
                    for name, watch in (("3", watches[3]), ("late", late)):
                        await client.set(name, "x")
                        assert [change.key for change in await take(watch, 1)] == [name]
            assert client.status().peers[0].state == "healthy"
            tries = [head for head in between.heads if f"content-length: {2**40}" in head.lower()]
            assert len(tries) == 1


async def test_a_proxy_that_comes_later(etcd35: EtcdServer, prefix: str) -> None:
    """Watches that shared a stream go on alone where no other comes up."""
    async with TCPProxy(etcd35.url) as plain, Holding(etcd35.url) as holding:
        async with aetcd.Client(plain.url, protocol="v3", namespace=prefix) as client:
            async with entered([client.watch(f"{n}") for n in range(3)]) as watches:
                assert streams(client) == {plain.url: 1}
                client._pool.learn(parse_peers(holding.url))
                plain.refuse()
                plain.cut()
                async with aetcd.Client(etcd35.url, protocol="v3", namespace=prefix) as writer:
                    for n in range(3):
                        await writer.set(f"{n}", "x")
                for watch in watches:
                    assert (await take(watch, 1, within=15))[0].value == "x"
                assert streams(client) == {holding.url: 3}


# Credentials


@pytest.fixture(params=["simple", "jwt"])
def token(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """What kind of tokens the server gives.

    Those that run out two seconds after they were given are signed: those of etcd's other kind live for as long as they
    are used, and a shared stream uses its own.
    """
    return jwt(tmp_path, ttl=2) if request.param == "jwt" else None


@pytest.fixture(params=etcd_binaries(), ids=str)
async def guarded(request: pytest.FixtureRequest, token: str | None) -> AsyncIterator[EtcdServer]:
    """A server with authentication, whose tokens live for two seconds; ann may read and write under `a/`."""
    async with EtcdServer(binary=request.param, protocols=("v3",), auth_token=token, auth_token_ttl=2) as server:
        async with aetcd.Client(server.url, protocol="v3") as client:
            auth = client.v3.auth
            await auth.add_user("root", "secret")
            await auth.add_role("root")
            await auth.grant_role("root", "root")
            await auth.add_user("ann", "pw")
            await auth.add_role("a")
            await auth.grant_permission("a", "READWRITE", "a/", prefix=True)
            await auth.grant_role("ann", "a")
            await auth.enable()
        yield server


async def test_a_token_that_ran_out(guarded: EtcdServer) -> None:
    """A stream keeps the token that it was opened with: new watches go to one with a new token, the old follow."""
    async with aetcd.Client(guarded.url, protocol="v3", username="ann", password="pw") as client:
        async with client.watch("a/1") as old:
            await client.set("a/1", "1")
            assert (await take(old, 1))[0].value == "1"
            async with aetcd.Client(guarded.url, protocol="v3", username="ann", password="pw") as other:
                await asyncio.sleep(3.5)  # by the server's clock, which nothing tells
                async with entered([client.watch(f"a/{n}") for n in range(2, 30)]) as new:
                    for n, watch in ((1, old), (2, new[0]), (29, new[-1])):
                        await other.set(f"a/{n}", "2")
                        assert (await take(watch, 1))[0].value == "2"
                    assert streams(client) == {guarded.url: 1}


async def test_a_watch_that_is_not_permitted(guarded: EtcdServer) -> None:
    """It alone is refused, without harm to the stream; and where nobody logged in, too."""
    async with aetcd.Client(guarded.url, protocol="v3", username="ann", password="pw") as client:
        async with client.watch("a/", recursive=True) as allowed:
            for key in ("b/1", "b/2"):
                with pytest.raises(aetcd.PermissionDenied):
                    async with client.watch(key):
                        pass
            await client.set("a/1", "x")
            assert (await take(allowed, 1))[0].value == "x"
            assert allowed.status().last_error is None
    # Up to 3.4 the server says why.
    why = aetcd.PermissionDenied if guarded.binary.at_least(3, 5) else aetcd.Unauthenticated
    async with aetcd.Client(guarded.url, protocol="v3") as nobody:
        with pytest.raises(why):
            async with nobody.watch("a/1"):
                pass


# Without a server


async def test_no_server_at_all(prefix: str) -> None:
    """Entering raises what a read raises; all at once, and nothing stays."""
    async with TCPProxy("127.0.0.1:1") as proxy:
        proxy.refuse()
        async with aetcd.Client(proxy.url, protocol="v3", namespace=prefix, retry=2) as client:
            watches = [client.watch(f"{n}") for n in range(5)]
            errors = await asyncio.gather(*(watch.__aenter__() for watch in watches), return_exceptions=True)
            assert {type(error) for error in errors} == {aetcd.NoPeerAvailable}
            assert client.status().watches == []
            assert not links(client)
