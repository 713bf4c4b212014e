"""Users, roles and the switch of etcd v2's own authentication, each call one request.

They are not those of etcd v3, which has its own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from aetcd._wire.decode import decode
from aetcd.etcd.v2._codec import admin_request
from aetcd.etcd.v2._errors import raise_auth_error
from aetcd.etcd.v2._models import V2Role, V2User

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel
    from aetcd._transport.timeouts import Timeout

__all__ = ["Auth", "Roles", "Users"]


class _Paths(msgspec.Struct):
    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None


class _Permissions(msgspec.Struct):
    kv: _Paths


class _Role(msgspec.Struct):
    role: str
    permissions: _Permissions

    def value(self) -> V2Role:
        paths = self.permissions.kv
        return V2Role(name=self.role, read=paths.read or (), write=paths.write or ())


class _Roles(msgspec.Struct):
    roles: list[_Role] | None = None


class _User(msgspec.Struct):
    """A write is answered with the names of the roles, a read with the whole roles."""

    user: str
    roles: list[str | _Role] | None = None

    def value(self) -> V2User:
        names = (role if isinstance(role, str) else role.role for role in self.roles or ())
        return V2User(name=self.user, roles=tuple(names))


class _Users(msgspec.Struct):
    users: list[_User] | None = None


class _Enabled(msgspec.Struct):
    enabled: bool


async def _ask(
    channel: Channel,
    operation: str,
    path: str,
    timeout: float | Timeout | None,
    *,
    method: str = "GET",
    document: dict[str, Any] | None = None,
) -> bytes:
    request = admin_request(operation, path, method=method, document=document)
    response = await channel.send(request, timeout=timeout)
    if response.status not in {200, 201}:
        raise_auth_error(request, response)
    return response.body


class Users:
    """Users. Once authentication is on, only root may ask and change; PermissionDenied tells all others so."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def list(self, *, timeout: float | Timeout | None = None) -> list[V2User]:
        """All users, in order of their names."""
        body = await _ask(self._channel, "v2 auth users list", "/v2/auth/users", timeout)
        return [user.value() for user in decode(body, _Users).users or ()]

    async def get(self, name: str, *, timeout: float | Timeout | None = None) -> V2User:
        """One user. Raises AuthFailed where there is none."""
        body = await _ask(self._channel, "v2 auth user get", _path("users", name), timeout)
        return decode(body, _User).value()

    async def create(
        self, name: str, password: str, *, roles: Collection[str] = (), timeout: float | Timeout | None = None
    ) -> V2User:
        """Make a user. The server gives one that is there the new password, and leaves its roles as they are.

        roles: Names; the server does not look whether there are such roles. The user `root` has the role `root`.
        """
        document: dict[str, Any] = {"user": name, "password": _password(password)}
        if roles:
            document["roles"] = _names("roles", roles)
        return await self._put("v2 auth user create", name, document, timeout)

    async def change_password(self, name: str, password: str, *, timeout: float | Timeout | None = None) -> V2User:
        """Give a user another password; the server makes the user where there is none."""
        document = {"user": name, "password": _password(password)}
        return await self._put("v2 auth user change password", name, document, timeout)

    async def grant(self, name: str, *roles: str, timeout: float | Timeout | None = None) -> V2User:
        """Give a user roles. Raises AuthFailed where there is no such user, or it has one of them."""
        document = {"user": name, "grant": _names("roles", roles)}
        return await self._put("v2 auth user grant", name, document, timeout)

    async def revoke(self, name: str, *roles: str, timeout: float | Timeout | None = None) -> V2User:
        """Take roles from a user. Raises AuthFailed where there is no such user, or it has none of them."""
        document = {"user": name, "revoke": _names("roles", roles)}
        return await self._put("v2 auth user revoke", name, document, timeout)

    async def delete(self, name: str, *, timeout: float | Timeout | None = None) -> None:
        """Take a user away; `root` not while authentication is on. Raises AuthFailed."""
        await _ask(self._channel, "v2 auth user delete", _path("users", name), timeout, method="DELETE")

    async def _put(
        self, operation: str, name: str, document: dict[str, Any], timeout: float | Timeout | None
    ) -> V2User:
        body = await _ask(self._channel, operation, _path("users", name), timeout, method="PUT", document=document)
        return decode(body, _User).value()


class Roles:
    """Roles: the keys that may be read and written.

    A key is written with its leading slash; a pattern ending in `*` covers all that begin so. The role `root` may
    everything and cannot be changed; `guest`, made when authentication is switched on, is what requests without
    credentials may.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def list(self, *, timeout: float | Timeout | None = None) -> list[V2Role]:
        """All roles, in order of their names."""
        body = await _ask(self._channel, "v2 auth roles list", "/v2/auth/roles", timeout)
        return [role.value() for role in decode(body, _Roles).roles or ()]

    async def get(self, name: str, *, timeout: float | Timeout | None = None) -> V2Role:
        """One role. Raises AuthFailed where there is none."""
        return decode(await _ask(self._channel, "v2 auth role get", _path("roles", name), timeout), _Role).value()

    async def create(
        self,
        name: str,
        *,
        read: Collection[str] = (),
        write: Collection[str] = (),
        timeout: float | Timeout | None = None,
    ) -> V2Role:
        """Make a role. Raises AuthFailed where there is one of that name."""
        document = {"role": name, "permissions": _permissions(read, write)}
        return await self._put("v2 auth role create", name, document, timeout)

    async def grant(
        self,
        name: str,
        *,
        read: Collection[str] = (),
        write: Collection[str] = (),
        timeout: float | Timeout | None = None,
    ) -> V2Role:
        """Add permissions. Raises AuthFailed where there is no such role, or it has one of them already."""
        _need_permissions(read, write)
        return await self._put("v2 auth role grant", name, {"role": name, "grant": _permissions(read, write)}, timeout)

    async def revoke(
        self,
        name: str,
        *,
        read: Collection[str] = (),
        write: Collection[str] = (),
        timeout: float | Timeout | None = None,
    ) -> V2Role:
        """Take permissions away. Raises AuthFailed where there is no such role, or it has none of them."""
        _need_permissions(read, write)
        return await self._put(
            "v2 auth role revoke", name, {"role": name, "revoke": _permissions(read, write)}, timeout
        )

    async def delete(self, name: str, *, timeout: float | Timeout | None = None) -> None:
        """Take a role away. Raises AuthFailed where there is none, and for `root`."""
        await _ask(self._channel, "v2 auth role delete", _path("roles", name), timeout, method="DELETE")

    async def _put(
        self, operation: str, name: str, document: dict[str, Any], timeout: float | Timeout | None
    ) -> V2Role:
        body = await _ask(self._channel, operation, _path("roles", name), timeout, method="PUT", document=document)
        return decode(body, _Role).value()


class Auth:
    """Authentication of the v2 API: HTTP basic, by the client's `username` and `password`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.users = Users(channel)
        self.roles = Roles(channel)

    async def enable(self, *, timeout: float | Timeout | None = None) -> None:
        """Switch it on. Raises AuthFailed where it is on already, or there is no user `root` yet.

        Until the role `guest` is restricted, requests without credentials may still read and write every key.
        """
        await _ask(self._channel, "v2 auth enable", "/v2/auth/enable", timeout, method="PUT")

    async def disable(self, *, timeout: float | Timeout | None = None) -> None:
        """Switch it off, which only root may. Raises AuthFailed where it is off already."""
        await _ask(self._channel, "v2 auth disable", "/v2/auth/enable", timeout, method="DELETE")

    async def status(self, *, timeout: float | Timeout | None = None) -> bool:
        """Whether it is on."""
        return decode(await _ask(self._channel, "v2 auth status", "/v2/auth/enable", timeout), _Enabled).enabled


def _path(kind: str, name: str) -> str:
    if "/" in name or name in {"", ".", ".."}:
        raise ValueError(f"name: of one segment, neither empty nor dots, not {name!r}")
    return f"/v2/auth/{kind}/{quote(name, safe='')}"


def _password(password: str) -> str:
    if not password:
        raise ValueError("password: the server takes an empty one for none")
    return password


def _names(argument: str, names: Collection[str]) -> list[str]:
    if isinstance(names, str):
        raise TypeError(f"{argument} must be several names, not the one text {names!r}")
    if not names:
        raise ValueError(f"{argument}: at least one is needed")
    return [*names]


def _permissions(read: Collection[str], write: Collection[str]) -> dict[str, Any]:
    if isinstance(read, str) or isinstance(write, str):
        raise TypeError("read and write must be several keys or patterns each, not one text")
    return {"kv": {"read": [*read], "write": [*write]}}


def _need_permissions(read: Collection[str], write: Collection[str]) -> None:
    if not read and not write:
        raise ValueError("read or write: at least one key or pattern is needed")
