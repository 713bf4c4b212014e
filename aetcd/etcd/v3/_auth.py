"""Who may do what: users, roles, and the keys that roles may read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from attrs import frozen

from aetcd._wire.message import Effect
from aetcd.etcd.v3._arguments import flag, named, one_of, text
from aetcd.etcd.v3._codec import Key, Route, Wire, key_range
from aetcd.etcd.v3._gateway import Group
from aetcd.etcd.v3._models import AuthStatus, Empty, PermissionType, Role, RoleList, Token, User, UserList

if TYPE_CHECKING:
    from aetcd._transport.timeouts import Timeout

__all__ = ["AUTHENTICATE", "Auth"]

ENABLE = Route(operation="v3 auth enable", path="/auth/enable", effect=Effect.ONCE)
DISABLE = Route(operation="v3 auth disable", path="/auth/disable", effect=Effect.ONCE)
STATUS = Route(operation="v3 auth status", path="/auth/status", effect=Effect.READ, needs="3.5")
# One token more is no harm: nobody uses it, and it ends by itself.
AUTHENTICATE = Route(operation="v3 authenticate", path="/auth/authenticate", effect=Effect.REPEATABLE, secret=True)
USER_ADD = Route(operation="v3 user add", path="/auth/user/add", effect=Effect.ONCE, secret=True)
USER_GET = Route(operation="v3 user get", path="/auth/user/get", effect=Effect.READ)
USER_LIST = Route(operation="v3 user list", path="/auth/user/list", effect=Effect.READ)
USER_DELETE = Route(operation="v3 user delete", path="/auth/user/delete", effect=Effect.ONCE)
USER_PASSWORD = Route(operation="v3 user password", path="/auth/user/changepw", effect=Effect.ONCE, secret=True)
USER_GRANT = Route(operation="v3 user grant", path="/auth/user/grant", effect=Effect.ONCE)
USER_REVOKE = Route(operation="v3 user revoke", path="/auth/user/revoke", effect=Effect.ONCE)
ROLE_ADD = Route(operation="v3 role add", path="/auth/role/add", effect=Effect.ONCE)
ROLE_GET = Route(operation="v3 role get", path="/auth/role/get", effect=Effect.READ)
ROLE_LIST = Route(operation="v3 role list", path="/auth/role/list", effect=Effect.READ)
ROLE_DELETE = Route(operation="v3 role delete", path="/auth/role/delete", effect=Effect.ONCE)
ROLE_GRANT = Route(operation="v3 role grant", path="/auth/role/grant", effect=Effect.ONCE)
ROLE_REVOKE = Route(operation="v3 role revoke", path="/auth/role/revoke", effect=Effect.ONCE)


@frozen(repr=False)
class Auth(Group):
    """Users, roles and permissions.

    What is refused raises AuthFailed with the server's reason: a name that is taken or unknown, a role not granted.
    Changes raise OutcomeUnknown where no answer tells. An empty name raises ValueError.
    """

    async def enable(self, *, timeout: float | Timeout | None = None) -> Empty:
        """Ask for credentials from now on. There must be a user `root` with the role `root`."""
        return await self._do(ENABLE, {}, timeout)

    async def disable(self, *, timeout: float | Timeout | None = None) -> Empty:
        """Ask for credentials no more. Users and roles stay."""
        return await self._do(DISABLE, {}, timeout)

    async def status(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> AuthStatus:
        """Whether credentials are asked for. Raises Unsupported before etcd 3.5."""
        return await self._gateway.ask(STATUS, {}, AuthStatus, timeout=timeout, peer=peer)

    async def authenticate(
        self, name: str, password: str, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> str:
        """A token for a user: sent in `Authorization` as it stands. It ends after five minutes by default.

        Raises Unauthenticated for a wrong name or password, AuthFailed where authentication is not enabled.
        """
        message = {"name": named(name, "name"), "password": text(password, "password")}
        # Anonymous, for a stale token of the channel's own would be refused, or be renewed by this very call.
        answer = await self._gateway.ask(AUTHENTICATE, message, Token, timeout=timeout, peer=peer, anonymous=True)
        return answer.token

    # Users

    async def add_user(
        self, name: str, password: str = "", *, no_password: bool = False, timeout: float | Timeout | None = None
    ) -> Empty:
        """Make a user.

        no_password: One that proves itself by its TLS certificate only (etcd 3.4).
        """
        if bool(text(password, "password")) == flag(no_password, "no_password"):
            raise ValueError("password must be given, or no_password be true, but not both")
        message: Wire = {"name": named(name, "name"), "password": password}
        if no_password:
            message["options"] = {"no_password": True}
        return await self._do(USER_ADD, message, timeout)

    async def user(
        self, name: str, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> tuple[str, ...]:
        """The user's roles."""
        message = {"name": named(name, "name")}
        return (await self._gateway.ask(USER_GET, message, User, timeout=timeout, peer=peer)).roles

    async def users(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> tuple[str, ...]:
        """Names of all users."""
        return (await self._gateway.ask(USER_LIST, {}, UserList, timeout=timeout, peer=peer)).users

    async def delete_user(self, name: str, *, timeout: float | Timeout | None = None) -> Empty:
        """Delete a user. The tokens it has are refused from then on."""
        return await self._do(USER_DELETE, {"name": named(name, "name")}, timeout)

    async def change_password(self, name: str, password: str, *, timeout: float | Timeout | None = None) -> Empty:
        """Give a user another password. The tokens it has are refused from then on."""
        message = {"name": named(name, "name"), "password": named(password, "password")}
        return await self._do(USER_PASSWORD, message, timeout)

    async def grant_role(self, name: str, role: str, *, timeout: float | Timeout | None = None) -> Empty:
        """Give a user a role."""
        return await self._do(USER_GRANT, {"user": named(name, "name"), "role": named(role, "role")}, timeout)

    async def revoke_role(self, name: str, role: str, *, timeout: float | Timeout | None = None) -> Empty:
        """Take a role from a user."""
        return await self._do(USER_REVOKE, {"name": named(name, "name"), "role": named(role, "role")}, timeout)

    # Roles

    async def add_role(self, role: str, *, timeout: float | Timeout | None = None) -> Empty:
        """Make a role, without permissions."""
        return await self._do(ROLE_ADD, {"name": named(role, "role")}, timeout)

    async def role(self, role: str, *, timeout: float | Timeout | None = None, peer: str | None = None) -> Role:
        """A role's permissions."""
        return await self._gateway.ask(ROLE_GET, {"role": named(role, "role")}, Role, timeout=timeout, peer=peer)

    async def roles(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> tuple[str, ...]:
        """Names of all roles."""
        return (await self._gateway.ask(ROLE_LIST, {}, RoleList, timeout=timeout, peer=peer)).roles

    async def delete_role(self, role: str, *, timeout: float | Timeout | None = None) -> Empty:
        """Delete a role, also from the users that have it."""
        return await self._do(ROLE_DELETE, {"role": named(role, "role")}, timeout)

    async def grant_permission(
        self,
        role: str,
        permission: PermissionType,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        from_key: bool = False,
        timeout: float | Timeout | None = None,
    ) -> Empty:
        """Let a role `READ`, `WRITE` or `READWRITE` a range of keys, given as to `V3.range`."""
        one_of(permission, get_args(PermissionType), "permission")
        message = {"permType": permission, **_range(key, range_end, prefix, from_key)}
        return await self._do(ROLE_GRANT, {"name": named(role, "role"), "perm": message}, timeout)

    async def revoke_permission(
        self,
        role: str,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        from_key: bool = False,
        timeout: float | Timeout | None = None,
    ) -> Empty:
        """Take a permission from a role; the range must be just as it was granted."""
        message = {"role": named(role, "role"), **_range(key, range_end, prefix, from_key)}
        return await self._do(ROLE_REVOKE, message, timeout)

    async def _do(self, route: Route, message: Wire, timeout: float | Timeout | None) -> Empty:
        return await self._gateway.ask(route, message, Empty, timeout=timeout)


def _range(key: Key, range_end: Key | None, prefix: bool, from_key: bool) -> Wire:
    first, end = key_range(key, range_end, prefix, from_key)
    return {"key": first, "range_end": end}
