"""AuthN of 3.3: users, roles and clusters, and tokens that its gateways ask for.

Permissions are bits (GET 1, HEAD-OBJ 2, PUT 4, APPEND 8, ...), kept by role for each cluster. A cluster that is
registered brings the roles `BucketOwner-<alias>`, `ClusterOwner-<alias>` and `Guest-<alias>`. A user's token carries
what its roles allow when it is issued, as the recorded one of a user with an unknown role carried nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

from aiohttp import web
from attrs import define, field
from doubles.aistore_node import Ask, Node, Refusal, empty
from doubles.aistore_state import JSON

SECRET = b"aBitLongSecretKey"

EVERYTHING = (1 << 64) - 1

ROLES = {
    "BucketOwner": (895, "Full access to buckets of cluster"),
    "ClusterOwner": (EVERYTHING, "Full access to cluster"),
    "Guest": (771, "Read-only access to buckets of cluster"),
}

DAY = 86400


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _hidden(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


@define(eq=False)
class AuthN(Node):
    """The server of its own that issues tokens; `check` is what a gateway does with one."""

    users: dict[str, JSON] = field(factory=dict)
    clusters: dict[str, JSON] = field(factory=dict)
    roles: dict[str, JSON] = field(factory=dict)
    revoked: set[str] = field(factory=set)

    kind = "authn"

    def __attrs_post_init__(self) -> None:
        Node.__attrs_post_init__(self)
        self.users["admin"] = user("admin", "admin", ["Admin"])
        self.roles["Admin"] = role("Admin", "AuthN administrator", admin=True)

    async def answer(self, ask: Ask) -> web.StreamResponse:
        match ask.method, ask.items:
            case "POST", ["users", name] if name:
                return await self._login(ask, name)
            case "DELETE", ["tokens"]:
                self.revoked.add(str((await ask.message()).get("token", "")))
                return empty()
            case _, ["users", *rest]:
                return await self._users(ask, "".join(rest))
            case _, ["clusters", *rest]:
                return await self._clusters(ask, "".join(rest))
            case _, ["roles", *rest]:
                return await self._roles(ask, "".join(rest))
        raise self.unknown(ask)

    async def _login(self, ask: Ask, name: str) -> web.Response:
        password = str((await ask.message()).get("password", ""))
        known = self.users.get(name)
        if known is None or known["pass"] != _hidden(password):
            raise Refusal(401, "Not authorized")
        return self.json({"token": self.issue(name)})

    def issue(self, name: str, *, expired: bool = False) -> str:
        """A token of that user, as a login gives it."""
        known = self.users[name]
        moment = time.time_ns() + (-DAY if expired else DAY) * 1_000_000_000
        seconds, rest = divmod(moment, 1_000_000_000)
        expires = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09}Z"
        claims: JSON = {"expires": expires, "username": name}
        if any(self.roles.get(r, {}).get("admin") for r in known["roles"] or []):
            claims["admin"] = True
        else:
            claims |= {"buckets": None, "clusters": self._allowed(known)}
        head = _b64(json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode())
        body = _b64(json.dumps(claims, separators=(",", ":"), sort_keys=True).encode())
        signed = _b64(hmac.digest(SECRET, f"{head}.{body}".encode(), "sha256"))
        return f"{head}.{body}.{signed}"

    def _allowed(self, known: JSON) -> list[JSON] | None:
        found = [c for r in known["roles"] or [] for c in self.roles.get(r, {}).get("clusters") or []]
        return found + (known["clusters"] or []) or None

    def check(self, header: str, permission: int) -> None:
        """Raises Refusal 401: for a token that is none, is over or was revoked, and for what it does not allow."""
        token = header.removeprefix("Bearer ")
        claims = self._claims(token) if header.startswith("Bearer ") else None
        if claims is None or token in self.revoked:
            raise Refusal(401, "invalid token")
        if claims["expires"] < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()):
            raise Refusal(401, "invalid token")
        if claims.get("admin"):
            return
        allowed = 0
        for cluster in claims.get("clusters") or []:
            allowed |= int(cluster["perm"])
        if not allowed & permission:
            raise Refusal(401, "insufficient permissions")

    def _claims(self, token: str) -> JSON | None:
        head, _, signed = token.rpartition(".")
        if _b64(hmac.digest(SECRET, head.encode(), "sha256")) != signed:
            return None
        body = head.partition(".")[2]
        found: JSON = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return found

    def _admin(self, ask: Ask) -> None:
        """Raises Refusal where the request does not come from an administrator of AuthN (HTTP basic, or a token)."""
        given = ask.headers.get("Authorization", "")
        if given.startswith("Bearer "):
            self.check(given, EVERYTHING)
            return
        name, _, password = base64.b64decode(given.removeprefix("Basic ") or b"").decode().partition(":")
        known = self.users.get(name)
        if known is None or known["pass"] != _hidden(password) or "Admin" not in (known["roles"] or []):
            raise Refusal(401, "Not authorized", headers={"WWW-Authenticate": 'Basic realm="Restricted"'})

    async def _users(self, ask: Ask, name: str) -> web.StreamResponse:
        if ask.method == "GET":
            if not name:
                return self.json(self.users)
            return self.json(self._known(self.users, name, "user"))
        self._admin(ask)
        if ask.method == "DELETE":
            self._known(self.users, name, "user")
            del self.users[name]
            return empty()
        told = await ask.message()
        if ask.method == "POST":
            named = str(told.get("id", ""))
            if not named or named in self.users:
                raise Refusal(
                    409 if named else 400, f'user "{named}" already registered' if named else "user ID is undefined"
                )
            self.users[named] = user(named, str(told.get("pass") or told.get("password") or ""), told.get("roles"))
            self.users[named] |= {key: told.get(key) for key in ("clusters", "buckets")}
            return empty()
        known = self._known(self.users, name, "user")
        known |= {key: told[key] for key in ("roles", "clusters", "buckets") if told.get(key)}
        if password := told.get("pass") or told.get("password"):
            known["pass"] = _hidden(str(password))
        return empty()

    async def _clusters(self, ask: Ask, named: str) -> web.StreamResponse:
        if ask.method == "GET":
            known = {named: self._known(self.clusters, named, "cluster")} if named else self.clusters
            return self.json({"clusters": known})
        self._admin(ask)
        if ask.method == "DELETE":
            self._known(self.clusters, named, "cluster")
            alias = self.clusters.pop(named)["alias"] or named
            for name in ROLES:
                self.roles.pop(f"{name}-{alias}", None)
            return empty()
        told = await ask.message()
        named = named or str(told.get("id", ""))
        if not named:
            raise Refusal(400, "cluster ID is undefined")
        if ask.method == "POST" and named in self.clusters:
            raise Refusal(409, f'cluster "{named}" already registered')
        alias = str(told.get("alias") or "")
        self.clusters[named] = {"id": named, "alias": alias, "urls": told.get("urls") or []}
        for name, (perm, desc) in ROLES.items():
            full = f"{name}-{alias or named}"
            where = [{"id": named, "perm": str(perm)}]
            self.roles[full] = role(full, f"{desc} {named}[{alias}]", clusters=where)
        return empty()

    async def _roles(self, ask: Ask, name: str) -> web.StreamResponse:
        if ask.method == "GET":
            admin_last = sorted(self.roles.values(), key=lambda known: bool(known["admin"]))
            return self.json(self._known(self.roles, name, "role") if name else admin_last)
        self._admin(ask)
        if ask.method == "DELETE":
            self._known(self.roles, name, "role")
            del self.roles[name]
            return empty()
        told = await ask.message()
        name = name or str(told.get("name", ""))
        if ask.method == "POST" and name in self.roles:
            raise Refusal(409, f'role "{name}" already exists')
        self.roles[name] = role(name, str(told.get("desc", "")), clusters=told.get("clusters"))
        return empty()

    def _known(self, among: dict[str, JSON], name: str, what: str) -> JSON:
        if name not in among:
            raise Refusal(404, f'{what} "{name}" not found')
        return among[name]


def user(id: str, password: str, roles: list[str] | None) -> JSON:
    return {"id": id, "pass": _hidden(password), "roles": roles, "clusters": None, "buckets": None}


def role(name: str, desc: str, *, clusters: list[JSON] | None = None, admin: bool = False) -> JSON:
    told: JSON = {"name": name, "desc": desc, "roles": None, "clusters": clusters}
    return told | {"buckets": None, "admin": admin}
