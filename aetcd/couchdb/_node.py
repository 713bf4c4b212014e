"""One node's own matters: name, statistics, configuration, restart."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from aetcd._wire.message import Effect, Request, Response
from aetcd.couchdb._arguments import check_text, name_path
from aetcd.couchdb._codec import decode, make, read
from aetcd.couchdb._link import Limit, Link
from aetcd.couchdb._models import ServerVersions
from aetcd.couchdb._stats import Statistic, Statistics, SystemStats, read_stats
from aetcd.errors import DecodeError, TransportError

__all__ = ["Node"]


@define(eq=False)
class Node:
    """One node: `/_node/{name}` (reference, 1.2.11 to 1.2.14). `couch.node(name)` makes it.

    name: Its Erlang name as in `membership()`, or `_local` for the one that is asked.
    peer: URL of the peer that it is asked at, which passes the question on to the node that is named. Where none was
        chosen it is the one that answered first, and None before; when that does not answer, the call fails, and the
        next one goes to any peer.

    Calls raise Unauthorized where the user is no administrator (for statistics a role `_metrics` does, since 3.x),
    NodeNotFound for a name that the cluster does not know, and NodeDown (412) for one that is down.
    """

    _link: Link = field(alias="link")
    name: str
    peer: str | None
    _chosen: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chosen = self.peer is not None

    async def erlang_name(self, *, timeout: Limit = None) -> str:
        """The Erlang name of the node: `GET /_node/{name}`.

        Of a node by its name the server tells its version instead, and no name (measured on 3.5.0): then it is the one
        that was asked by.
        """
        found = await self._ask("node name", timeout=timeout)
        told = found.get("name") if isinstance(found, dict) else None
        return told if isinstance(told, str) else self.name

    async def stats(self, *section: str, timeout: Limit = None) -> Statistic | Statistics | None:
        """Statistics: `GET /_node/{name}/_stats` (reference, 1.2.12).

        section: Names that lead to one, as in `stats("couchdb", "request_time")`, or to a group. None for all of them.

        One is a Counter, a Gauge or a Histogram; a group is a mapping of such by name. None where there is nothing of
        that name: the server answers null then, and not 404 (measured on 3.5.0).
        """
        for part in section:
            check_text(part, "section")
        return read_stats(await self._ask("node stats", "_stats", *section, timeout=timeout))

    async def system(self, *, timeout: Limit = None) -> SystemStats:
        """The Erlang machine's statistics: `GET /_node/{name}/_system` (reference, 1.2.13)."""
        found = await self._ask("node system", "_system", timeout=timeout)
        return read(SystemStats, _mapping(found))

    async def prometheus(self, *, timeout: Limit = None) -> str:
        """Statistics in Prometheus' text format: `GET /_node/{name}/_prometheus`. Since 3.2, not in the reference."""
        request = make("node prometheus", "GET", name_path("_node", self.name, "_prometheus"))
        answer = await self._send(request, timeout, "3.2")
        return answer.body.decode("utf-8", "replace")

    async def versions(self, *, timeout: Limit = None) -> ServerVersions:
        """What the node is built from: `GET /_node/{name}/_versions`. Since 3.3, not in the reference."""
        found = await self._ask("node versions", "_versions", timeout=timeout, needs="3.3")
        return read(ServerVersions, _mapping(found))

    async def restart(self, *, timeout: Limit = None) -> None:
        """Restart the node: `POST /_node/{name}/_restart` (reference, 1.2.14). For tests, not for production.

        It is back after 3.5 s or so (measured on 3.5.0); until then it refuses connections.
        """
        await self._ask("node restart", "_restart", method="POST", document={}, timeout=timeout, needs="3.0")

    async def config(self, section: str | None = None, *, timeout: Limit = None) -> dict[str, Any]:
        """The node's settings: `GET /_node/{name}/_config`, which is not in the server's reference.

        Of one section as `{name: text}`, or of all sections by name.
        """
        path = () if section is None else (check_text(section, "section"),)
        return _mapping(await self._ask("node config", "_config", *path, timeout=timeout))

    async def setting(self, section: str, key: str, *, timeout: Limit = None) -> str:
        """One setting: `GET /_node/{name}/_config/{section}/{key}`.

        Raises NotFound (`unknown_config_value`) where it is not set.
        """
        path = check_text(section, "section"), check_text(key, "key")
        return str(await self._ask("node setting", "_config", *path, timeout=timeout))

    async def set_setting(self, section: str, key: str, value: str, *, timeout: Limit = None) -> str:
        """Write one setting, by PUT; gives what it was, empty where it was not set."""
        if not isinstance(value, str):
            raise TypeError(f"value must be text, as all settings are, not {value!r}")
        path = check_text(section, "section"), check_text(key, "key")
        operation = "node set setting"
        return str(await self._ask(operation, "_config", *path, method="PUT", document=value, timeout=timeout))

    async def delete_setting(self, section: str, key: str, *, timeout: Limit = None) -> str:
        """Take one setting away, by DELETE; gives what it was. Raises NotFound where it is not set."""
        path = check_text(section, "section"), check_text(key, "key")
        return str(await self._ask("node delete setting", "_config", *path, method="DELETE", timeout=timeout))

    async def _ask(
        self,
        operation: str,
        *path: str,
        method: str = "GET",
        document: object = None,
        timeout: Limit = None,
        needs: str = "2.0",
    ) -> Any:
        # A setting written twice is the same as once, but the answer tells what it was before.
        effect = {"GET": Effect.READ}.get(method, Effect.ONCE)
        where = name_path("_node", self.name, *path)
        # Settings hold passwords.
        secret = "_config" in path
        request = make(operation, method, where, document=document, effect=effect, secret=secret)
        return decode(request, await self._send(request, timeout, needs))

    async def _send(self, request: Request, timeout: Limit, needs: str) -> Response:
        try:
            answer = await self._link.ask(request, timeout=timeout, peer=self.peer, needs=needs)
        except TransportError:
            if not self._chosen:
                self.peer = None
            raise
        self.peer = answer.peer
        return answer


def _mapping(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise DecodeError(f"an object was expected of the node, not {found!r:.80}")
    return found
