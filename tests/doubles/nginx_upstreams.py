"""Upstreams of the double: servers with IDs, defaults, resolved names, and every way to be refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from attrs import define, field
from doubles.nginx_errors import Refused

WHOLE = {"weight": "UpstreamBadWeight", "max_conns": "UpstreamBadMaxConns", "max_fails": "UpstreamBadMaxFails"}
TIMES = {"fail_timeout": "UpstreamBadFailTimeout", "slow_start": "UpstreamBadSlowStart"}
DEFAULTS: dict[str, Any] = {"weight": 1, "max_conns": 0, "max_fails": 1, "fail_timeout": 10, "slow_start": 0}
ROUTE_MAX = 32

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

Names = Mapping[str, list[str]] | None
"""What the configuration's `resolver` knows; None without one."""


def zeros(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 0)


def responses() -> dict[str, Any]:
    return {**zeros("1xx", "2xx", "3xx", "4xx", "5xx", "total"), "codes": {}}


def peer_ssl() -> dict[str, Any]:
    counters: dict[str, Any] = {
        **zeros("handshakes", "handshakes_failed", "session_reuses", "no_common_protocol", "handshake_timeout")
    }
    reasons = zeros("expired_cert", "revoked_cert", "hostname_mismatch", "other")
    return {**counters, "peer_rejected_cert": 0, "verify_failures": reasons}


@define
class Server:
    """A server: its configuration, and how it fares."""

    id: int
    side: str
    server: str
    service: str | None = None
    route: str = ""
    backup: bool = False
    down: bool = False
    drain: bool = False
    parent: str | None = None
    host: str | None = None
    numbers: dict[str, Any] = field(factory=lambda: dict(DEFAULTS))
    weight_fixed: bool = False
    template: bool = False  # a name that is resolved: no peer itself
    state: str = "up"
    active: int = 0
    counters: dict[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """The statistics, as DELETE of the upstream leaves them: `state`, `active` and configuration stay."""
        self.counters = {**zeros("sent", "received", "fails", "unavail", "downtime")}
        self.counters["health_checks"] = zeros("checks", "fails", "unhealthy")
        self.counters["ssl"] = peer_ssl()
        if self.side == "http":
            self.counters |= {"requests": 0, "responses": responses()}
        else:
            self.counters["connections"] = 0

    def configuration(self, version: int) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": self.id, "server": self.server, **self.numbers}
        if version >= 3:
            shown |= {name: f"{self.numbers[name]}s" for name in TIMES}
        if self.side == "http":
            shown["route"] = self.route
        shown |= {"backup": self.backup, "down": self.down}
        if self.drain:
            shown["drain"] = True if version >= 2 else "true"
        optional = {"service": self.service, "parent": self.parent, "host": self.host}
        return shown | {name: value for name, value in optional.items() if value is not None}

    def status(self) -> dict[str, Any]:
        state = "down" if self.down else "draining" if self.drain else self.state
        shown = {"id": self.id, "server": self.server, "name": self.host or self.server, "backup": self.backup}
        shown |= {"weight": self.numbers["weight"], "state": state, "active": self.active}
        if self.numbers["max_conns"]:
            shown["max_conns"] = self.numbers["max_conns"]
        if self.service is not None:
            shown["service"] = self.service
        return shown | self.counters


@define
class Upstream:
    """A group of servers.

    static: It has no `zone`. backups: Its balancing method knows them. room: Servers that its zone has room for.
    unique: From version 6 on 409 EntryExists is in the tables without a word on when it comes. Assumed here, where this
        is set: the address is there already. Without it an address may be there twice, as nginx itself allows.
    """

    name: str
    side: str = "http"
    static: bool = False
    backups: bool = True
    room: int | None = None
    unique: bool = False
    names: Names = None
    queue: dict[str, int] | None = None
    keepalive: int = 0
    servers: dict[int, Server] = field(factory=dict)
    zombies: int = 0
    next_id: int = 0

    @classmethod
    def of(cls, name: str, servers: Iterable[str], **settings: Any) -> Upstream:
        """With servers that the configuration names."""
        upstream = cls(name, **settings)
        for server in servers:
            upstream.put(server=server)
        return upstream

    def put(self, **settings: Any) -> Server:
        server = Server(self.next_id, self.side, **settings)
        self.next_id += 1
        self.servers[server.id] = server
        return server

    def at(self, address: str) -> Server:
        """The server with this address."""
        return next(server for server in self.servers.values() if server.server == address)

    def clear(self) -> None:
        for server in self.servers.values():
            server.clear()
        if self.queue is not None:
            self.queue["overflows"] = 0

    def status(self) -> dict[str, Any]:
        peers = [server.status() for server in self.servers.values() if not server.template]
        shown: dict[str, Any] = {"peers": peers, "zombies": self.zombies, "zone": f"{self.side}_{self.name}"}
        if self.side == "http":
            shown["keepalive"] = self.keepalive
            if self.queue is not None:
                shown["queue"] = dict(self.queue)
        return shown

    def find(self, text: str) -> Server:
        if not re.fullmatch(r"[0-9]+", text):
            raise Refused("UpstreamBadServerId", "invalid server ID")
        if int(text) not in self.servers:
            raise Refused("UpstreamServerNotFound", f'server with ID "{text}" does not exist')
        return self.servers[int(text)]

    def add(self, body: Mapping[str, Any], version: int) -> Server:
        checked = self._check(body, version, {"backup", "service"})
        if "server" not in checked:
            raise Refused("UpstreamConfFormatError", 'missing "server" argument')
        service = checked.pop("service", None)
        host, address, is_name = self._address(checked.pop("server"), service)
        if is_name and self.names is None:
            raise Refused("UpstreamConfNoResolver", f'no resolver defined to resolve "{host}"')
        if checked.get("backup") and not self.backups:
            raise Refused("UpstreamNoBackup", f'upstream "{self.name}" has no backup')
        if self.unique and version >= 6 and any(one.server == address for one in self.servers.values()):
            raise Refused("EntryExists", "entry exists")
        found = list((self.names or {}).get(host, [])) if is_name else []
        if self.room is not None and len(self.servers) + 1 + len(found) > self.room:
            raise Refused("UpstreamOutOfMemory", f'upstream "{self.name}" memory exhausted')
        settings = self._settings(checked)
        server = self.put(server=address, service=service, template=is_name, **settings)
        port = address.rpartition(":")[2] if service is None else "8000"
        for resolved in found:
            copied = {**settings, "numbers": dict(server.numbers)}
            fixed = service is not None
            self.put(
                server=f"{resolved}:{port}",
                service=service,
                parent=str(server.id),
                host=host,
                weight_fixed=fixed,
                **copied,
            )
        return server

    def modify(self, server: Server, body: Mapping[str, Any], version: int) -> None:
        if body.get("service") == "":
            raise Refused("UpstreamBadService", '"service" is empty')
        checked = self._check(body, version, set())
        if "server" in checked:
            _, address, is_name = self._address(checked.pop("server"), None)
            if is_name:
                raise Refused("UpstreamBadAddress", 'invalid "server" argument')
            if server.parent is not None or server.template:
                raise Refused("UpstreamServerImmutable", f'server "{server.id}" address is immutable')
            checked["server"] = address
        if "weight" in checked and server.weight_fixed:
            raise Refused("UpstreamServerWeightImmutable", f'server "{server.id}" weight is immutable')
        longer = any(len(checked.get(name, "")) > len(getattr(server, name)) for name in ("server", "route"))
        if longer and self.room is not None and len(self.servers) >= self.room:
            # The tables name the code for PATCH too: that a longer text needs room is assumed.
            raise Refused("UpstreamOutOfMemory", f'upstream "{self.name}" memory exhausted')
        for name, value in self._settings(checked, server.numbers).items():
            setattr(server, name, value)

    def remove(self, server: Server) -> None:
        if server.parent is not None:
            raise Refused("UpstreamServerImmutable", f'server "{server.id}" not removable')
        children = [one for one in self.servers.values() if one.parent == str(server.id)]
        for gone in [server, *children]:
            del self.servers[gone.id]
            self.zombies += gone.active > 0

    def _settings(self, checked: Mapping[str, Any], numbers: Mapping[str, Any] = DEFAULTS) -> dict[str, Any]:
        given = {name: value for name, value in checked.items() if name in DEFAULTS}
        others = {name: value for name, value in checked.items() if name not in DEFAULTS}
        return {**others, "numbers": {**numbers, **given}}

    def _check(self, body: Mapping[str, Any], version: int, more: set[str]) -> dict[str, Any]:
        """The parameters as this version takes them, in the order of the reference's list of errors."""
        known = {"server", "down", *DEFAULTS, *more, *({"route", "drain"} if self.side == "http" else ())}
        checked: dict[str, Any] = {}
        for name, value in body.items():
            if isinstance(value, dict | list):
                raise Refused("UpstreamConfFormatError", "nested object or list")
            if name not in known:
                raise Refused("UpstreamConfFormatError", f'unknown parameter "{name}"')
            checked[name] = _typed(name, value, version)
        for name, code in WHOLE.items():
            if name in checked and not (1 if name == "weight" else 0) <= checked[name] < 2**31:
                raise Refused(code, f'invalid "{name}"')
        for name, code in TIMES.items():
            if name in checked:
                checked[name] = _seconds(name, checked[name], code)
        if len(checked.get("route", "").encode()) > ROUTE_MAX:
            raise Refused("UpstreamBadRoute", "route is too long")
        if checked.get("service") == "":
            raise Refused("UpstreamBadService", '"service" is empty')
        return checked

    def _address(self, text: str, service: str | None) -> tuple[str, str, bool]:
        """Host, address as it is kept, and whether it is a name to be resolved."""
        if text.startswith("unix:/"):
            return text, text, False
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(.*))?", text)
        if match is None:
            raise Refused(
                "UpstreamBadAddress", f'invalid host in "{text}" while parsing' if text else "no host while parsing"
            )
        host, port = match[1], match[2]
        is_name = not _is_ip(host)
        if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
            raise Refused("UpstreamBadAddress", f'invalid port in "{text}" while parsing')
        if service is not None:
            if port is not None:
                raise Refused("UpstreamBadAddress", f'service upstream "{text}" may not have port')
            if not is_name:
                raise Refused("UpstreamBadAddress", f'service upstream "{text}" requires domain name')
            return host, host, True
        if port is None and self.side == "stream":
            raise Refused("UpstreamBadAddress", f'no port in server "{text}"')
        return host, f"{host}:{port or 80}", is_name


def _typed(name: str, value: Any, version: int) -> Any:
    """The value, if its type is the table's: times were numbers before version 3, `drain` was text in version 1."""
    wanted: type = str
    if name in WHOLE or (name in TIMES and version < 3):
        wanted = int
    elif name in {"backup", "down"} or (name == "drain" and version >= 2):
        wanted = bool
    if type(value) is not wanted:
        raise Refused("UpstreamConfFormatError", f'invalid "{name}" value')
    if name == "drain" and version == 1:
        if value not in {"true", "false"}:
            raise Refused("UpstreamConfFormatError", f'invalid "{name}" value')
        return value == "true"
    return value


def _seconds(name: str, value: Any, code: str) -> int:
    if isinstance(value, int) and value >= 0:
        return value
    match = re.fullmatch(r"([0-9]+)([smhd]?)", str(value))
    if match is None:
        raise Refused(code, f'invalid "{name}"')
    return int(match[1]) * UNITS[match[2]]


def _is_ip(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
