"""AuthN: who may, and how one gets a token."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from conftest import QUICK
from doubles.aistore import AIStoreDouble

from aetcd.aistore import AIStore, AuthN, Permission, TokenRefused
from aetcd.errors import AIStoreError, ConfigError


@pytest.fixture
async def guarded() -> AsyncIterator[AIStoreDouble]:
    async with AIStoreDouble("3.3", auth=True) as cluster:
        yield cluster


@pytest.fixture
async def authn(guarded: AIStoreDouble) -> AsyncIterator[AuthN]:
    async with AuthN(guarded.authn.url, token=guarded.token(), retry=QUICK) as server:
        yield server


async def test_login(guarded: AIStoreDouble, authn: AuthN) -> None:
    """A token, or 401."""
    token = await authn.login("admin", "admin")
    async with AIStore(guarded.url, token=token) as ais:
        assert await ais.buckets() == []
    with pytest.raises(TokenRefused, match="Not authorized"):
        await authn.login("admin", "wrong")
    with pytest.raises(TokenRefused):
        await authn.login("no body/../x", "wrong")


async def test_source_logs_in_when_it_is_needed(guarded: AIStoreDouble, authn: AuthN) -> None:
    """And again when the cluster refuses the token."""
    async with AIStore(guarded.url, token=authn.source("admin", "admin"), retry=QUICK) as ais:
        assert not guarded.asked("POST", "/v1/users")
        await ais.buckets()
        (first,) = {asked.headers["Authorization"] for asked in guarded.asked("GET", "/v1/buckets")}
        guarded.revoke(first.removeprefix("Bearer "))
        await ais.buckets()
        assert len(guarded.asked("POST", "/v1/users")) == 2


async def test_revoke(guarded: AIStoreDouble, authn: AuthN) -> None:
    """It is refused from then on."""
    token = await authn.login("admin", "admin")
    await authn.revoke(token)
    async with AIStore(guarded.url, token=token, retry=QUICK) as ais:
        with pytest.raises(TokenRefused, match="invalid token"):
            await ais.buckets()


async def test_users_roles_and_clusters(authn: AuthN) -> None:
    """Made, seen, changed and removed; hashes of passwords are not kept."""
    await authn.register_cluster("c1", ["http://127.0.0.1:1"], alias="al1")
    clusters = await authn.clusters()
    assert (clusters["c1"].alias, clusters["c1"].urls) == ("al1", ("http://127.0.0.1:1",))
    roles = {role.name: role for role in await authn.roles()}
    assert roles["Admin"].admin
    assert roles["Guest-al1"].clusters[0].permissions == 771
    assert Permission.GET | Permission.HEAD | Permission.HEAD_BUCKET | Permission.LIST == 771
    await authn.add_role("reader", description="reads", clusters={"c1": Permission.GET | Permission.HEAD})
    assert {role.name: role for role in await authn.roles()}["reader"].clusters[0].permissions == 3
    await authn.add_user("bob", "secret", roles=["reader"])
    users = await authn.users()
    assert users["bob"].roles == ("reader",)
    assert "pass" not in repr(users["bob"])
    await authn.update_user("bob", password="other", roles=["Guest-al1"])
    assert await authn.login("bob", "other")
    with pytest.raises(TokenRefused):
        await authn.login("bob", "secret")
    await authn.remove_user("bob")
    await authn.remove_role("reader")
    await authn.unregister_cluster("c1")
    assert "bob" not in await authn.users()
    assert await authn.clusters() == {}
    with pytest.raises(AIStoreError):
        await authn.remove_user("bob")


async def test_administrator_by_password(guarded: AIStoreDouble) -> None:
    """In place of a token."""
    async with AuthN(guarded.authn.url, username="admin", password="admin") as authn:
        await authn.add_user("bob", "secret")
    async with AuthN(guarded.authn.url, username="bob", password="secret") as authn:
        with pytest.raises(TokenRefused):
            await authn.add_user("eve", "secret")


def test_arguments_are_checked() -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match="password is missing"):
        AuthN(username="admin")
    with pytest.raises(ConfigError, match="token and username"):
        AuthN(username="admin", password="x", token="t")
    assert "secret" not in repr(AuthN("http://127.0.0.1:1", username="admin", password="secret"))


async def test_lists_are_lists(authn: AuthN) -> None:
    """Text is no list of names."""
    with pytest.raises(TypeError, match="roles"):
        await authn.add_user("bob", "x", roles="Admin")
    with pytest.raises(TypeError, match="urls"):
        await authn.register_cluster("c1", "http://x")
    with pytest.raises(ValueError, match="urls"):
        await authn.register_cluster("c1", [])
    with pytest.raises(ValueError, match="name"):
        await authn.login("", "x")
