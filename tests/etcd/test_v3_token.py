from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tokens import jwt

import aetcd
from aetcd.errors import AuthFailed, Unauthenticated
from aetcd.etcd.v3 import Put, Version, _errors
from aetcd.etcd.v3._errors import Fault, fault_of
from aetcd.etcd.v3._token import UserToken
from aetcd.testing import EtcdServer, etcd_binaries


@pytest.fixture(params=etcd_binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
    """A server of the test's own: authentication is the whole server's."""
    with EtcdServer(binary=request.param, protocols=("v3",)) as server:
        yield server


@pytest.fixture
async def root(server: EtcdServer) -> AsyncIterator[aetcd.Client]:
    """Root, of a server whose authentication is off."""
    async with aetcd.Client(server.url) as client:
        await client.v3.auth.add_user("root", "secret")
        await client.v3.auth.add_role("root")
        await client.v3.auth.grant_role("root", "root")
    async with aetcd.Client(server.url, username="root", password="secret") as client:
        yield client


async def sees(watch: aetcd.Watch, value: str) -> None:
    change = await anext(watch)
    assert isinstance(change, aetcd.Change)
    assert change.value == value


@pytest.mark.parametrize("sharing", [True, False], ids=["shared", "alone"])
async def test_authentication_turned_off_and_on(server: EtcdServer, root: aetcd.Client, sharing: bool) -> None:
    """A client with a user goes on through each turn: its calls, a watch that stands, and new ones."""
    async with (
        asyncio.timeout(30),
        aetcd.Client(server.url, username="root", password="secret", watch_sharing=sharing) as client,
    ):
        async with client.watch("k") as old:
            for value, turn in enumerate((None, root.v3.auth.enable, root.v3.auth.disable, root.v3.auth.enable)):
                if turn is not None:
                    await turn()
                async with client.watch("k") as new:
                    await client.set("k", str(value))
                    assert await client.get("k") == str(value)
                    await sees(new, str(value))
                await sees(old, str(value))
        async with aetcd.Client(server.url) as stranger:
            with pytest.raises(Unauthenticated):
                await stranger.set("k", "x")


@pytest.mark.parametrize("sharing", [True, False], ids=["shared", "alone"])
async def test_watches_with_a_refused_token(server: EtcdServer, root: aetcd.Client, sharing: bool) -> None:
    """A new password ends all tokens, and versions say so differently: what stands goes on, and the next one stands."""
    await root.v3.auth.enable()
    async with (
        asyncio.timeout(30),
        aetcd.Client(server.url, username="root", password="secret", watch_sharing=sharing) as client,
        client.watch("k") as old,
    ):
        await root.v3.auth.change_password("root", "secret")
        async with client.watch("k") as new, client.v3.watch("k") as native:
            await root.set("k", "1")
            await sees(new, "1")
            assert (await anext(native)).kv.value == b"1"
        await sees(old, "1")


async def test_a_wrong_password_is_told() -> None:
    """Only where authentication is off does a client go without a token; who waits together asks once."""
    asked = 0
    answers: list[Exception] = [AuthFailed("etcdserver: invalid auth management"), Unauthenticated("wrong")]

    async def fetch() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise answers.pop(0)

    token = UserToken(fetch)
    for kind in (AuthFailed, Unauthenticated):
        with pytest.raises(kind):
            await token.renew(None)
    assert token.current() is None
    answers.append(AuthFailed("etcdserver: authentication is not enabled"))
    first, second = await asyncio.gather(token.renew(None), token.renew(None))
    assert (first, asked) == ({}, 3)
    assert token.current() is first is second


# Tokens that a change to any user or role makes stale: those that the server has signed, and does not keep


async def let_ann_in(url: str) -> None:
    """She may read and write under `a/`."""
    async with aetcd.Client(url, protocol="v3") as client:
        auth = client.v3.auth
        for user, role in (("root", "root"), ("ann", "a")):
            await auth.add_user(user, "pw")
            await auth.add_role(role)
            await auth.grant_role(user, role)
        await auth.grant_permission("a", "READWRITE", "a/", prefix=True)
        await auth.enable()


@pytest.fixture(params=etcd_binaries(), ids=str, scope="module")
def signing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """One for all that follows."""
    auth_token = jwt(tmp_path_factory.mktemp("keys"), ttl=300)
    with EtcdServer(binary=request.param, protocols=("v3",), auth_token=auth_token) as server:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(let_ann_in(server.url))
        yield server


# 3.4.23 answers 400 with the one, 3.5.1 answers 500 with the other, which no gRPC error was made of.
STALE = {"etcdserver: revision of auth store is old", "auth: revision in header is old"}

Told = list[tuple[str, int | None]]
Connect = Callable[..., Awaitable[aetcd.Client]]
Outdate = Callable[[], Awaitable[None]]


@pytest.fixture
def told() -> Told:
    """What was answered to ann's client since its token became stale: the operations, and the statuses."""
    return []


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of the server's refusals, as they are read."""
    read: list[str] = []

    def reading(body: bytes, status: int) -> Fault:
        fault = fault_of(body, status)
        read.append(fault.text)
        return fault

    monkeypatch.setattr(_errors, "fault_of", reading)
    return read


@pytest.fixture
async def ann(signing: EtcdServer, told: Told) -> AsyncIterator[Connect]:
    """`await ann(**settings)`: her client, closed when the test is over."""
    trace = aetcd.Trace(on_response=lambda event: told.append((event.operation, event.status)))
    async with AsyncExitStack() as opened:

        async def connect(**settings: Any) -> aetcd.Client:
            client = aetcd.Client(
                signing.url, protocol="v3", username="ann", password="pw", trace=trace, timeout=5, **settings
            )
            return await opened.enter_async_context(client)

        yield connect


@pytest.fixture
async def outdate(signing: EtcdServer, told: Told, refusals: list[str], prefix: str) -> AsyncIterator[Outdate]:
    """Makes every token stale that was given before."""
    async with aetcd.Client(signing.url, protocol="v3", username="root", password="pw") as root:

        async def change_users() -> None:
            await root.v3.auth.add_role(prefix)
            await root.v3.auth.delete_role(prefix)
            told.clear()
            refusals.clear()

        yield change_users


async def get(client: aetcd.Client, key: str) -> None:
    assert await client.get(key) == "0"


async def put(client: aetcd.Client, key: str) -> None:
    assert (await client.set(key, "1", full=True)).node.version == 2


async def gets(client: aetcd.Client, key: str) -> None:
    assert await asyncio.gather(*(client.get(f"{key}{n or ''}") for n in range(5))) == ["0", *[None] * 4]


async def puts(client: aetcd.Client, key: str) -> None:
    results = await asyncio.gather(*(client.set(f"{key}{n or ''}", "1", full=True) for n in range(5)))
    assert [result.node.version for result in results] == [2, 1, 1, 1, 1]


async def txn(client: aetcd.Client, key: str) -> None:
    assert (await client.v3.txn().when(Version(key) == 1).then(Put(key, "1"))).succeeded


async def lock(client: aetcd.Client, key: str) -> None:
    async with client.lock(f"{key}/lock") as held:
        assert held.fencing_token > 0


CALLS = {
    "get": (get, {"v3 range"}),
    "set": (put, {"v3 put"}),
    "gets together": (gets, {"v3 range", "v3 txn"}),
    "sets together": (puts, {"v3 put", "v3 txn"}),
    "txn": (txn, {"v3 txn"}),
    "lock": (lock, {"v3 txn"}),
}


@pytest.mark.parametrize("case", CALLS)
async def test_users_changed_before_a_call(
    ann: Connect, outdate: Outdate, told: Told, refusals: list[str], prefix: str, case: str
) -> None:
    """It is refused, as it was not done, and sent once more with one new token, by itself."""
    call, operations = CALLS[case]
    client = await ann(coalesce_writes=True)
    await client.set(f"a/{prefix}", "0")
    await outdate()
    await call(client, f"a/{prefix}")
    assert {operation for operation, status in told if status != 200} == operations
    assert refusals
    assert set(refusals) <= STALE
    assert told.count(("v3 authenticate", 200)) == 1


@pytest.mark.parametrize("sharing", [True, False], ids=["shared", "alone"])
async def test_users_changed_before_a_watch(
    ann: Connect, outdate: Outdate, told: Told, prefix: str, sharing: bool
) -> None:
    """It stands at the second try, with one new token; one that stood before goes on."""
    client = await ann(watch_sharing=sharing)
    key = f"a/{prefix}"
    async with asyncio.timeout(20), client.watch(key) as old:
        await client.set(key, "0")
        await outdate()
        async with client.watch(key) as new:
            assert told.count(("v3 authenticate", 200)) == 1
            await client.set(key, "1")
            await sees(new, "1")
        await outdate()
        async with client.v3.watch(key) as native:
            assert told.count(("v3 authenticate", 200)) == 1
            await client.set(key, "2")
            assert (await anext(native)).kv.value == b"2"
        for value in "012":
            await sees(old, value)
        assert told.count(("v3 authenticate", 200)) == 1
