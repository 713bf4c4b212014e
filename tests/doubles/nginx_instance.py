"""The state of one NGINX Plus instance, and what traffic, reloads and requests to its API do to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from doubles import nginx_statistics as statistics
from doubles.nginx_errors import Refused, Unforeseen
from doubles.nginx_keyvals import KeyvalZone
from doubles.nginx_terms import HTTP, LATER, MISSING, ROOT, STREAM
from doubles.nginx_upstreams import Server, Upstream

STARTED = datetime(2018, 10, 8, 9, 5, 48, 776000, UTC)

Answer = tuple[int, Any]
NOTHING: Answer = (204, None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@define
class Instance:
    """What one nginx holds. The names are those of the reference's example configuration.

    stream: Whether the configuration has a `stream` block. sync: Whether it has `zone_sync`.
    licensed: Whether it is a server from 1.27.2 on, which knows /license.
    lists_all: Whether lists of endpoints name what only later versions have: the reference does not say.
    workers_listed: Whether /workers/ answers an array, as was seen, in place of the collection of the reference.
    """

    versions: tuple[int, ...]
    clock: Callable[[], float]
    write: bool = True
    stream: bool = True
    sync: bool = True
    licensed: bool = True
    lists_all: bool = False
    workers_listed: bool = False
    info: dict[str, Any] = field(init=False)
    objects: dict[str, dict[str, Any]] = field(init=False)
    collections: dict[str, dict[str, dict[str, Any]]] = field(init=False)
    upstreams: dict[str, dict[str, Upstream]] = field(init=False)
    keyvals: dict[str, dict[str, KeyvalZone]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.info = {
            "version": "1.15.3",
            "build": "nginx-plus-r16",
            "address": "127.0.0.1",
            "generation": 6,
            "load_timestamp": STARTED.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "pid": 32212,
            "ppid": 32210,
            "uuid": "6d2c5a3e",
        }
        self.objects = {
            "processes": {"respawned": 2},
            "connections": {"accepted": 4968119, "dropped": 3, "active": 5, "idle": 117},
            "ssl": statistics.ssl() | {"handshakes": 79572, "handshakes_failed": 21025, "session_reuses": 15762},
            "http/requests": {"total": 10624511, "current": 4},
        }
        self.collections = {
            "slabs": {"http_backend": statistics.slab(), "one": statistics.slab()},
            "resolvers": {"resolver_zone1": statistics.resolver()},
            "http/server_zones": {"server_backend": statistics.server_zone(), "other": statistics.server_zone()},
            "http/location_zones": {"location_backend": statistics.location_zone()},
            "http/caches": {"cache_backend": statistics.cache(536870912), "endless": statistics.cache(None)},
            "http/limit_conns": {"addr": statistics.limit_conn()},
            "http/limit_reqs": {"one": statistics.limit_req()},
            "stream/server_zones": {"server_backend": statistics.stream_zone()},
            "stream/limit_conns": {"addr": statistics.limit_conn()},
            "workers": {str(number): statistics.worker(number) for number in range(2)},
        }
        names = {"app.example.com": ["10.9.0.1", "10.9.0.2"], "empty.example.com": []}
        self.upstreams = {
            "http": {
                "backend": Upstream.of(
                    "backend",
                    ["10.0.0.1:8088", "10.0.0.1:8089"],
                    names=names,
                    queue={"size": 0, "max_size": 100, "overflows": 0},
                ),
                "hashed": Upstream.of("hashed", ["10.0.0.5:80"], backups=False, room=2),
                "fixed": Upstream.of("fixed", ["10.0.0.9:80"], static=True),
            },
            "stream": {
                "backend": Upstream.of("backend", ["10.0.1.1:12345"], side="stream", names=names),
                "hashed": Upstream.of("hashed", ["10.0.1.5:5432"], side="stream", backups=False, room=2),
                "fixed": Upstream.of("fixed", ["10.0.1.9:12345"], side="stream", static=True),
            },
        }
        self.keyvals = {
            side: {"one": KeyvalZone(self.clock), "two": KeyvalZone(self.clock, timeout=3600.0)}
            for side in ("http", "stream")
        }

    # What happens to an instance

    def request(
        self,
        address: str,
        *,
        upstream: str = "backend",
        zone: str = "server_backend",
        status: int = 200,
        received: int = 100,
        sent: int = 1000,
    ) -> None:
        """A client's http request passed through."""
        self.objects["connections"]["accepted"] += 1
        self.objects["http/requests"]["total"] += 1
        server = self.upstreams["http"][upstream].at(address)
        location = self.collections["http/location_zones"]["location_backend"]
        for counters in (self.collections["http/server_zones"][zone], location, server.counters):
            counters["requests"] += 1
            counters["received"] += received
            counters["sent"] += sent
            told = counters["responses"]
            told[f"{status // 100}xx"] += 1
            told["total"] += 1
            told["codes"][str(status)] = told["codes"].get(str(status), 0) + 1
        server.counters |= {"header_time": 20, "response_time": 36, "selected": _now()}

    def session(self, address: str, *, status: int = 200, received: int = 100, sent: int = 1000) -> None:
        """A client's stream session passed through."""
        self.objects["connections"]["accepted"] += 1
        server = self.upstreams["stream"]["backend"].at(address)
        zone = self.collections["stream/server_zones"]["server_backend"]
        for counters in (zone, server.counters):
            counters["connections"] += 1
            counters["received"] += received
            counters["sent"] += sent
        zone["sessions"][f"{status // 100}xx"] += 1
        zone["sessions"]["total"] += 1
        server.counters |= {"connect_time": 2, "first_byte_time": 5, "response_time": 9, "selected": _now()}

    def reload(self) -> None:
        """`nginx -s reload`: new workers; what lives in shared memory zones stays."""
        self.info["generation"] += 1
        self.info["pid"] += 10
        self.info["load_timestamp"] = _now()

    def restart(self) -> None:
        """A new master process: all counters from zero, and servers have new IDs."""
        self.info |= {"generation": 0, "pid": 41001, "ppid": 41000, "load_timestamp": _now()}
        for name, told in self.objects.items():
            statistics.clear(told, statistics.CLEARED[name])
        for name in ("http/server_zones", "http/location_zones", "stream/server_zones"):
            for told in self.collections[name].values():
                statistics.clear(told, statistics.CLEARED[name])
        for side in self.upstreams.values():
            for upstream in side.values():
                servers, upstream.servers, upstream.next_id = list(upstream.servers.values()), {}, 0
                for server in servers:
                    upstream.put(server=server.server, route=server.route, backup=server.backup, down=server.down)

    # Requests to the API

    def answer(self, method: str, path: tuple[str, ...], query: Mapping[str, str], body: bytes, version: int) -> Answer:
        """The status and the JSON of the answer to a request. Raises Refused and Unforeseen."""
        if method != "GET" and not self.write:
            # In the tables of all versions for most endpoints, and for processes, connections and ssl from version 6
            # on only: that they were no exception before is assumed.
            raise Refused("MethodDisabled", "method disabled")
        match path:
            case () | ("http",) | ("nginx",) | ("license",) | ("stream",) if method != "GET":
                raise Unforeseen(f"{method} /{version}/{'/'.join(path)}")
            case ():
                return 200, self._listed(ROOT, "", version)
            case ("http",):
                return 200, self._listed(HTTP, "http/", version)
            case ("nginx",):
                return 200, self._shown({**self.info, "timestamp": _now()}, query, version)
            case ("license",) if self._served("license", version):
                if not self.licensed:
                    raise Refused("PathNotFound", "path not found")
                return 200, statistics.license_told()
            case ("stream", *rest):
                return self._stream(method, tuple(rest), query, body, version)
            case ("http", "upstreams" | "keyvals", *_):
                return self._configured("http", method, path[1:], query, body, version)
            case _:
                return self._statistics(method, path, query, version)

    def _stream(
        self, method: str, path: tuple[str, ...], query: Mapping[str, str], body: bytes, version: int
    ) -> Answer:
        old = max(self.versions) <= 3
        if not self.stream and (path or not old):
            # The stream codes went out of the tables with version 4: such a server says PathNotFound instead.
            raise (
                Refused("StreamNotConfigured", "stream not configured")
                if old
                else Refused("PathNotFound", "path not found")
            )
        match path:
            case ():
                return 200, self._listed(STREAM, "stream/", version) if self.stream else []
            case ("zone_sync",) if method == "GET" and self._served("stream/zone_sync", version):
                if self.sync:
                    return 200, statistics.zone_sync()
                code = "ZoneSyncNotConfigured" if old else "PathNotFound"
                raise Refused(code, "zone sync not configured" if old else "path not found")
            case ("upstreams" | "keyvals", *_):
                return self._configured("stream", method, path, query, body, version)
            case _:
                return self._statistics(method, ("stream", *path), query, version)

    def _statistics(self, method: str, path: tuple[str, ...], query: Mapping[str, str], version: int) -> Answer:
        """Objects and collections that can be read and cleared, and nothing else."""
        name = "/".join(path)
        if name in self.objects:
            if method == "GET":
                fields = {} if name == "processes" and not query else query
                return 200, self._shown(self.objects[name], fields, version, takes_fields=name != "processes")
            if method == "DELETE":
                statistics.clear(self.objects[name], statistics.CLEARED[name])
                return NOTHING
        kind = name if name in self.collections else "/".join(path[:-1])
        if kind not in self.collections or not self._served(kind, version):
            raise Unforeseen(f"{method} /{version}/{name}")
        found = self.collections[kind]
        if name == kind:
            if method == "GET":
                shown = self._many(found, query, version)
                return 200, list(shown.values()) if kind == "workers" and self.workers_listed else shown
            if method == "DELETE" and kind == "workers":
                for worker in found.values():
                    statistics.clear_worker(worker)
                return NOTHING
            raise Unforeseen(f"{method} /{version}/{name}")
        if path[-1] not in found:
            raise Refused(*MISSING[kind])
        if method == "GET":
            return 200, self._shown(found[path[-1]], query, version)
        if method != "DELETE":
            raise Unforeseen(f"{method} /{version}/{name}")
        self._clear(kind, found[path[-1]])
        return NOTHING

    def _clear(self, kind: str, told: dict[str, Any]) -> None:
        match kind:
            case "slabs":
                statistics.clear_slab(told)
            case "workers":
                statistics.clear_worker(told)
            case _:
                statistics.clear(told, statistics.CLEARED[kind])

    def _configured(
        self, side: str, method: str, path: tuple[str, ...], query: Mapping[str, str], body: bytes, version: int
    ) -> Answer:
        match path:
            case ("upstreams",) if method == "GET":
                shown = {name: one.status() for name, one in self.upstreams[side].items() if not one.static}
                return 200, self._many(shown, query, version)
            case ("keyvals",) if method == "GET" and self._served(f"{side}/keyvals", version):
                zones = {name: zone.content() for name, zone in self.keyvals[side].items()}
                if "fields" not in query:
                    return 200, zones
                return 200, self._many(zones, query, version) if query["fields"] == "" else zones
            case ("upstreams", name, *rest):
                return self._upstream(self._find_upstream(side, name), method, tuple(rest), query, body, version)
            case ("keyvals", name) if self._served(f"{side}/keyvals", version):
                if name not in self.keyvals[side]:
                    raise Refused("KeyvalNotFound", "keyval not found")
                return self._keyval(self.keyvals[side][name], method, query, body, version)
        raise Unforeseen(f"{method} /{version}/{side}/{'/'.join(path)}")

    def _find_upstream(self, side: str, name: str) -> Upstream:
        if name not in self.upstreams[side]:
            raise Refused("UpstreamNotFound", "upstream not found")
        upstream = self.upstreams[side][name]
        if upstream.static:
            raise Refused("UpstreamStatic", "upstream is static")
        return upstream

    def _upstream(
        self,
        upstream: Upstream,
        method: str,
        path: tuple[str, ...],
        query: Mapping[str, str],
        body: bytes,
        version: int,
    ) -> Answer:
        def listed() -> list[Any]:
            return [one.configuration(version) for one in upstream.servers.values()]

        match method, path:
            case "GET", ():
                return 200, self._shown(upstream.status(), query, version)
            case "DELETE", ():
                upstream.clear()
                return NOTHING
            case "GET", ("servers",):
                return 200, listed()
            case "POST", ("servers",):
                return 201, upstream.add(_flat(body, "UpstreamConfFormatError"), version).configuration(version)
            case "GET", ("servers", id):
                return 200, upstream.find(id).configuration(version)
            case "PATCH", ("servers", id):
                server: Server = upstream.find(id)
                upstream.modify(server, _flat(body, "UpstreamConfFormatError"), version)
                return 200, server.configuration(version)
            case "DELETE", ("servers", id):
                upstream.remove(upstream.find(id))
                return 200, listed()
        raise Unforeseen(f"{method} {'/'.join(path)} of an upstream")

    def _keyval(self, zone: KeyvalZone, method: str, query: Mapping[str, str], body: bytes, version: int) -> Answer:
        match method:
            case "GET":
                pairs = zone.content()
                if "key" not in query:
                    return 200, pairs
                if query["key"] not in pairs:
                    raise Refused("KeyvalKeyNotFound", "keyval key not found")
                return 200, {query["key"]: pairs[query["key"]]}
            case "POST":
                zone.add(_flat(body, "KeyvalFormatError"), version)
                return 201, None
            case "PATCH":
                zone.change(_flat(body, "KeyvalFormatError"), version)
                return NOTHING
            case "DELETE":
                zone.pairs.clear()
                return NOTHING
        raise Unforeseen(f"{method} of a key-value zone")

    # What is shown

    def _served(self, name: str, version: int) -> bool:
        return version >= LATER.get(name, 1)

    def _listed(self, names: tuple[str, ...], above: str, version: int) -> list[str]:
        hidden = set()
        if max(self.versions) > 3 and not self.stream:
            hidden.add("stream")
        if not self.licensed:
            hidden.add("license")
        if above == "stream/" and not self.sync:
            hidden.add("zone_sync")
        return [
            name for name in names if name not in hidden and (self.lists_all or self._served(above + name, version))
        ]

    def _shown(
        self, told: dict[str, Any], query: Mapping[str, str], version: int, *, takes_fields: bool = True
    ) -> dict[str, Any]:
        if query.keys() - ({"fields"} if takes_fields else set()) or query.get("fields") == "":
            raise Unforeseen(f"one object with ?{query}")
        shown: dict[str, Any] = trim(told, version)
        if "fields" not in query:
            return shown
        return {name: member for name, member in shown.items() if name in query["fields"].split(",")}

    def _many(self, found: Mapping[str, dict[str, Any]], query: Mapping[str, str], version: int) -> Any:
        if query.get("fields") == "":
            return list(found)
        return {name: self._shown(told, query, version) for name, told in found.items()}


trim = statistics.trim


def _flat(body: bytes, code: str) -> dict[str, Any]:
    """The body as an object."""
    try:
        document = json.loads(body)
    except ValueError:
        raise Refused("JsonError", "invalid JSON") from None
    if not isinstance(document, dict):
        raise (
            Refused(code, "nested object or list")
            if isinstance(document, list)
            else Refused("JsonError", "invalid JSON")
        )
    return document
