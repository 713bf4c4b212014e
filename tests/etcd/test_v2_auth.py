from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from v2_servers import BINARIES, connected

from aetcd.errors import AuthFailed, PermissionDenied, Unauthenticated
from aetcd.etcd.v2 import V2, V2Role, V2User
from aetcd.testing import EtcdServer

ROOT = ("root", "root's")
BOB = ("bob", "b:ob's é")


@pytest.fixture(scope="module", params=BINARIES, ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
    """One of its own: what is switched on here would shut out every other test."""
    with EtcdServer(binary=request.param) as server:
        yield server


@pytest.fixture
async def v2(server: EtcdServer) -> AsyncIterator[V2]:
    """A client as root, of a server on which nobody else is left and authentication is off."""
    async with connected(server.url, user=ROOT) as client:
        yield client
        if await client.auth.status():
            await client.auth.disable()
        for user in await client.auth.users.list():
            await client.auth.users.delete(user.name)
        for role in await client.auth.roles.list():
            if role.name != "root":
                await client.auth.roles.delete(role.name)


async def test_users(v2: V2) -> None:
    """Made, listed, read, given another password, and taken away."""
    users = v2.auth.users
    assert await users.list() == []
    assert await users.create("bob", "pw") == V2User(name="bob")
    assert await users.create("root", "pw") == V2User(name="root", roles=("root",))
    assert await users.change_password("bob", "pw2") == V2User(name="bob")
    assert await users.list() == [V2User(name="bob"), V2User(name="root", roles=("root",))]
    await users.delete("bob")
    with pytest.raises(AuthFailed, match="does not exist") as caught:
        await users.get("bob")
    assert caught.value.status == 404
    with pytest.raises(AuthFailed):
        await users.delete("bob")


async def test_names_that_need_quoting(v2: V2) -> None:
    """A name comes back as it was written."""
    for name in ("a b", "é%?#&"):
        assert (await v2.auth.users.create(name, "pw")).name == name
        assert (await v2.auth.users.get(name)).name == name
        assert (await v2.auth.roles.create(name)).name == name


async def test_roles(v2: V2) -> None:
    """Made, listed, read, changed, and taken away."""
    roles = v2.auth.roles
    assert await roles.list() == [V2Role(name="root", read=("/*",), write=("/*",))]
    assert await roles.create("r", read=["/a/*"]) == V2Role(name="r", read=("/a/*",))
    assert await roles.create("empty") == V2Role(name="empty")
    with pytest.raises(AuthFailed, match="already exists"):
        await roles.create("r")
    assert await roles.grant("r", read=["/b"], write=["/a/k"]) == V2Role(name="r", read=("/a/*", "/b"), write=("/a/k",))
    with pytest.raises(AuthFailed, match="duplicate"):
        await roles.grant("r", read=["/b"])
    assert await roles.revoke("r", read=["/a/*"], write=["/a/k"]) == V2Role(name="r", read=("/b",))
    with pytest.raises(AuthFailed, match="not updated"):
        await roles.revoke("r", read=["/z"])
    assert await roles.get("r") == V2Role(name="r", read=("/b",))
    assert [role.name for role in await roles.list()] == ["empty", "r", "root"]
    await roles.delete("r")
    for refused in (roles.get("r"), roles.delete("r"), roles.grant("r", read=["/a"]), roles.delete("root")):
        with pytest.raises(AuthFailed):
            await refused


async def test_roles_of_users(v2: V2) -> None:
    """Given at the making or later, and taken again."""
    users = v2.auth.users
    await v2.auth.roles.create("r1")
    await v2.auth.roles.create("r2")
    assert await users.create("bob", "pw", roles=["r1"]) == V2User(name="bob", roles=("r1",))
    assert await users.grant("bob", "r2") == V2User(name="bob", roles=("r1", "r2"))
    assert await users.get("bob") == V2User(name="bob", roles=("r1", "r2"))
    with pytest.raises(AuthFailed, match="duplicate"):
        await users.grant("bob", "r1")
    assert await users.revoke("bob", "r1", "r2") == V2User(name="bob")
    with pytest.raises(AuthFailed):
        await users.grant("nobody", "r1")


async def test_authentication_needs_root(v2: V2) -> None:
    """It cannot be switched on while nobody could switch it off, nor off when it is."""
    with pytest.raises(AuthFailed, match="No root user"):
        await v2.auth.enable()
    with pytest.raises(AuthFailed, match="already disabled"):
        await v2.auth.disable()
    assert await v2.auth.status() is False


async def test_authentication(v2: V2, server: EtcdServer) -> None:
    """Who may what: root all, bob his own, no one what guest may; 110 for every refusal."""
    await v2.auth.users.create(*ROOT)
    await v2.auth.users.create(*BOB)
    await v2.auth.roles.create("r", read=["/a/*"], write=["/a/*"])
    await v2.auth.users.grant("bob", "r")
    await v2.auth.enable()
    assert await v2.auth.status() is True
    with pytest.raises(AuthFailed, match="already enabled"):
        await v2.auth.enable()
    with pytest.raises(AuthFailed, match="root user while auth is enabled"):
        await v2.auth.users.delete("root")

    async with connected(server.url) as nobody, connected(server.url, user=BOB) as bob:
        await nobody.set("anyone", "v")
        await v2.auth.roles.revoke("guest", read=["/*"], write=["/*"])
        await bob.set("a/k", "v")
        assert (await bob.get("a/k")).the_node.value == "v"
        async with connected(server.url, user=("bob", "wrong")) as stranger:
            for refused in (nobody.get("a/k"), bob.get("anyone"), bob.set("anyone", "v"), stranger.get("a/k")):
                with pytest.raises(Unauthenticated) as caught:
                    await refused
                assert isinstance(caught.value, PermissionDenied)
                assert (caught.value.status, caught.value.code) == (401, 110)
        for refused_change in (
            nobody.auth.users.list(),
            bob.auth.users.get("bob"),
            bob.auth.roles.create("more"),
            bob.auth.disable(),
            bob.members.remove("abc"),
        ):
            with pytest.raises(Unauthenticated, match="Insufficient credentials"):
                await refused_change
        with pytest.raises(Unauthenticated):
            await nobody.wait("a/k", timeout=10)
    assert (await v2.get("a/k")).the_node.value == "v"


class Unasked:
    """A channel that nothing may reach."""


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
async def test_name_that_would_reach_elsewhere(name: str) -> None:
    """It is refused before anything is sent."""
    auth = V2(Unasked()).auth  # type: ignore[arg-type]
    for refused in (auth.users.get(name), auth.users.create(name, "pw"), auth.roles.delete(name)):
        with pytest.raises(ValueError, match="name"):
            await refused


async def test_arguments_that_mean_nothing() -> None:
    """Neither an empty password, nor no role, nor one text for several, is sent."""
    auth: Any = V2(Unasked()).auth  # type: ignore[arg-type]
    for refused, named in (
        (auth.users.create("bob", ""), "password"),
        (auth.users.create("bob", "pw", roles="r1"), "roles"),
        (auth.users.grant("bob"), "roles"),
        (auth.users.revoke("bob"), "roles"),
        (auth.roles.create("r", read="/a"), "read"),
        (auth.roles.grant("r"), "read"),
        (auth.roles.revoke("r"), "read"),
    ):
        with pytest.raises((ValueError, TypeError), match=named):
            await refused


async def test_passwords_are_secret() -> None:
    """No trace and no `repr` shows a request that holds one."""

    class Seen(Exception):
        pass

    class Channel:
        async def send(self, request: Any, **_: object) -> None:
            raise Seen(request)

    auth = V2(Channel()).auth  # type: ignore[arg-type]
    for call in (auth.users.create("bob", "pa55"), auth.users.change_password("bob", "pa55")):
        with pytest.raises(Seen) as caught:
            await call
        [request] = caught.value.args
        assert request.secret
        assert b"pa55" in request.body
        assert "pa55" not in repr(request)
