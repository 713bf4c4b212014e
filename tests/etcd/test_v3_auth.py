from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from v3_servers import connected

from aetcd._transport.auth import NoAuth
from aetcd._transport.channel import Channel
from aetcd.errors import AuthFailed, PermissionDenied, Unauthenticated, Unsupported
from aetcd.etcd.v3 import V3, Permission
from aetcd.testing import EtcdServer, etcd_binaries


@pytest.fixture(params=etcd_binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
    """A server of the test's own: authentication is the whole server's."""
    with EtcdServer(binary=request.param, protocols=("v3",)) as server:
        yield server


@pytest.fixture
async def v3(server: EtcdServer) -> AsyncIterator[V3]:
    async with connected(server.peers) as v3:
        yield v3


class Fixed(NoAuth):
    """A token that was had before, and is not renewed."""

    def __init__(self, token: str) -> None:
        self._headers = {"Authorization": token}

    def current(self) -> dict[str, str]:
        return self._headers


async def make_root(v3: V3) -> None:
    await v3.auth.add_user("root", "secret")
    await v3.auth.add_role("root")
    await v3.auth.grant_role("root", "root")


async def test_users_and_roles(v3: V3) -> None:
    """Made, listed, joined, parted, deleted."""
    assert (await v3.auth.users(), await v3.auth.roles()) == ((), ())
    await v3.auth.add_user("ann", "pw")
    await v3.auth.add_user("cert", no_password=True)
    await v3.auth.add_role("reader")
    await v3.auth.add_role("writer")
    assert (await v3.auth.users(), await v3.auth.roles()) == (("ann", "cert"), ("reader", "writer"))
    assert await v3.auth.user("ann") == ()
    await v3.auth.grant_role("ann", "reader")
    await v3.auth.grant_role("ann", "writer")
    assert await v3.auth.user("ann") == ("reader", "writer")
    await v3.auth.revoke_role("ann", "writer")
    assert await v3.auth.user("ann") == ("reader",)
    await v3.auth.delete_role("reader")
    assert await v3.auth.user("ann") == ()
    await v3.auth.change_password("ann", "other")
    await v3.auth.delete_user("ann")
    assert (await v3.auth.users(), await v3.auth.roles()) == (("cert",), ("writer",))


async def test_permissions(v3: V3) -> None:
    """On one key, up to a key, on a prefix, from a key on."""
    await v3.auth.add_role("r")
    await v3.auth.grant_permission("r", "READ", "a")
    await v3.auth.grant_permission("r", "WRITE", "b", range_end="c")
    await v3.auth.grant_permission("r", "READWRITE", "d/", prefix=True)
    await v3.auth.grant_permission("r", "READ", "x", from_key=True)
    assert (await v3.auth.role("r")).perm == (
        Permission(perm_type="READ", key=b"a"),
        Permission(perm_type="WRITE", key=b"b", range_end=b"c"),
        Permission(perm_type="READWRITE", key=b"d/", range_end=b"d0"),
        Permission(perm_type="READ", key=b"x", range_end=b"\0"),
    )
    await v3.auth.revoke_permission("r", "a")
    await v3.auth.revoke_permission("r", "b", range_end="c")
    await v3.auth.revoke_permission("r", "d/", prefix=True)
    await v3.auth.revoke_permission("r", "x", from_key=True)
    assert (await v3.auth.role("r")).perm == ()


async def test_refusals(v3: V3) -> None:
    """Each with the server's own reason."""
    await v3.auth.add_user("ann", "pw")
    await v3.auth.add_role("r")
    for call, reason in (
        (v3.auth.enable(), "root user does not exist"),
        (v3.auth.add_user("ann", "pw"), "user name already exists"),
        (v3.auth.add_role("r"), "role name already exists"),
        (v3.auth.user("bob"), "user name not found"),
        (v3.auth.role("none"), "role name not found"),
        (v3.auth.grant_role("ann", "none"), "role name not found"),
        (v3.auth.revoke_role("ann", "r"), "role is not granted"),
        (v3.auth.revoke_permission("r", "a"), "permission is not granted"),
        (v3.auth.authenticate("ann", "pw"), "authentication is not enabled"),
    ):
        with pytest.raises(AuthFailed, match=reason):
            await call


async def test_status(v3: V3, server: EtcdServer) -> None:
    """Before 3.5 the version that it takes is named."""
    if not server.binary.at_least(3, 5):
        with pytest.raises(Unsupported, match=r"needs etcd 3\.5"):
            await v3.auth.status()
        return
    before = await v3.auth.status()
    await make_root(v3)
    await v3.auth.enable()
    async with connected(server.peers, user=("root", "secret")) as root:
        after = await root.auth.status()
    assert (before.enabled, after.enabled) == (False, True)
    assert after.auth_revision > before.auth_revision


async def test_token(v3: V3, server: EtcdServer) -> None:
    """Wanted once authentication is on; given for a password; good for what the user may do."""
    await make_root(v3)
    await v3.auth.add_user("ann", "pw")
    await v3.auth.add_role("r")
    await v3.auth.grant_role("ann", "r")
    await v3.auth.grant_permission("r", "READ", "shared/", prefix=True)
    await v3.auth.enable()
    with pytest.raises(Unauthenticated, match="user name is empty"):
        await v3.put("shared/a", "1")
    for name, password in (("ann", "wrong"), ("bob", "pw")):
        with pytest.raises(Unauthenticated, match="authentication failed"):
            await v3.auth.authenticate(name, password)
    async with connected(server.peers, user=("root", "secret"), timeout=5) as root:
        await root.put("shared/a", "1")
        async with connected(server.peers, user=("ann", "pw")) as ann:
            assert (await ann.range("shared/", prefix=True)).kvs[0].value == b"1"
            for call in (ann.put("shared/a", "2"), ann.range("other"), ann.auth.users()):
                with pytest.raises(PermissionDenied):
                    await call
        await root.auth.disable()
    await v3.put("shared/a", "3")


async def test_stale_token(v3: V3, server: EtcdServer) -> None:
    """401 is told as such where nobody renews; a channel that can does so and repeats the call, writes too."""
    await make_root(v3)
    await v3.auth.enable()
    stale = V3(Channel(v3.gateway.channel.pool, Fixed("long.gone")))
    with pytest.raises(Unauthenticated) as caught:
        await stale.put("a", "1")
    assert (caught.value.status, caught.value.code) == (401, 16)
    assert caught.value.message == "etcdserver: invalid auth token"
    async with connected(server.peers, user=("root", "secret")) as root:
        await root.put("a", "1")
        # The server forgets every token with its process.
        await server.members[0].restart()
        await server.wait_healthy()
        assert (await root.put("a", "2", prev_kv=True)).header.revision > 0
        assert (await root.range("a")).kvs[0].version == 2


async def test_passwords_are_secret(v3: V3) -> None:
    """No `repr` of a request or an answer shows them."""
    from aetcd.etcd.v3._auth import AUTHENTICATE, USER_ADD, USER_PASSWORD
    from aetcd.etcd.v3._models import Token

    for route in (AUTHENTICATE, USER_ADD, USER_PASSWORD):
        request = route.request("/v3", b'{"password":"hush"}')
        assert request.secret
        assert "hush" not in repr(request)
    assert "hush" not in repr(Token(token="hush"))


async def test_bad_input() -> None:
    """Named before it is sent: this peer does not exist."""
    async with connected(["http://127.0.0.1:1"], prefix="/v3") as v3:
        for call, error, named in (
            (v3.auth.add_user("", "pw"), ValueError, "name"),
            (v3.auth.add_user("ann"), ValueError, "password"),
            (v3.auth.add_user("ann", "pw", no_password=True), ValueError, "password"),
            (v3.auth.add_user("ann", 5), TypeError, "password"),  # type: ignore[arg-type]
            (v3.auth.add_user("ann", no_password="yes"), TypeError, "no_password"),  # type: ignore[arg-type]
            (v3.auth.authenticate("", "pw"), ValueError, "name"),
            (v3.auth.authenticate("ann", 5), TypeError, "password"),  # type: ignore[arg-type]
            (v3.auth.authenticate("ann", None), TypeError, "password"),  # type: ignore[arg-type]
            (v3.auth.change_password("ann", ""), ValueError, "password"),
            (v3.auth.user(b"ann"), TypeError, "name"),  # type: ignore[arg-type]
            (v3.auth.grant_role("ann", ""), ValueError, "role"),
            (v3.auth.add_role(""), ValueError, "role"),
            (v3.auth.grant_permission("r", "EXECUTE", "a"), ValueError, "permission"),  # type: ignore[arg-type]
            (v3.auth.grant_permission("r", "READ", ""), ValueError, "key"),
            (v3.auth.revoke_permission("r", "a", range_end="b", prefix=True), ValueError, "only one"),
        ):
            with pytest.raises(error, match=named):
                await call


@pytest.mark.parametrize("password", [b"hush", ["hush"], 4711, "hush\ud800"])
async def test_passwords_that_are_none(password: Any) -> None:
    """What is wrong with one is said without it."""
    async with connected(["http://127.0.0.1:1"], prefix="/v3") as v3:
        for call in (v3.auth.add_user, v3.auth.authenticate, v3.auth.change_password):
            with pytest.raises((TypeError, ValueError), match=r"^password must be") as caught:
                await call("ann", password)
            assert not re.search("hush|4711", repr(caught.value))
