from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

import aetcd
from aetcd.errors import AuthFailed, Unauthenticated
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
