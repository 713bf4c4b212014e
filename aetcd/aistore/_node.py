"""One gateway or target, by its ID."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from aetcd._wire.decode import decode
from aetcd._wire.message import Effect
from aetcd.aistore._arguments import check_flag, check_text
from aetcd.aistore._bucket_shapes import read_bucket_table
from aetcd.aistore._codec import action, request
from aetcd.aistore._configuration import config_request
from aetcd.aistore._errors import NodeNotFound, NotFound, Unavailable
from aetcd.aistore._link import spent
from aetcd.aistore._mountpaths import MountpathsOf
from aetcd.aistore._node_models import NodeConfig
from aetcd.aistore._node_shapes import (
    read_disks,
    read_map,
    read_node,
    read_node_stats,
    read_node_status,
    read_system,
)
from aetcd.errors import ConnectFailed, Outcome

if TYPE_CHECKING:
    from aetcd._wire.message import Response
    from aetcd.aistore._link import Link, TimeoutLike
    from aetcd.aistore._models import BucketInfo, BucketProps
    from aetcd.aistore._node_models import ClusterMap, Disk, NodeInfo, NodeStats, NodeStatus, SystemInfo

__all__ = ["Node"]

DAEMON = "/v1/daemon"


@frozen
class Node:
    """A gateway or a target: `ais.node("t1")`. Making one sends nothing.

    It is asked at the address that the cluster map has for it, and nobody else in its place. Where no connection to it
    can be made, within 2 s where `timeout` does not say how soon, a gateway passes the request on (`/v1/reverse`), for
    targets often stand where clients do not get to.
    """

    link: Link = field(repr=False)
    id: str

    def __attrs_post_init__(self) -> None:
        check_text(self.id, "id", empty=False)
        if not self.id.isascii() or not self.id.isprintable() or " " in self.id:
            raise ValueError(f"id must be printable ASCII without spaces, not {self.id!r}")

    def __str__(self) -> str:
        return self.id

    # Questions

    async def info(self, *, timeout: TimeoutLike = None) -> NodeInfo:
        """What the cluster map has of it. Raises NodeNotFound."""
        known = (await self.link.read_map(timeout)).node(self.id)
        if known is None:
            raise NodeNotFound(f"the cluster map has no node {self.id!r}", operation="aistore node")
        return known

    async def map(self, *, timeout: TimeoutLike = None) -> ClusterMap:
        """The cluster map as this node knows it; it may be older than others'.

        Source: reference, "Get cluster map".
        """
        return read_map(await self.query("map", timeout=timeout))

    async def config(self, *, timeout: TimeoutLike = None) -> NodeConfig:
        """Its configuration.

        Source: reference, "Get proxy/target configuration".
        """
        return NodeConfig(decode(await self.query("config", timeout=timeout), dict[str, Any]))

    async def snode(self, *, timeout: TimeoutLike = None) -> NodeInfo:
        """What it says of itself.

        Source: reference, "Get proxy/target snode".
        """
        return read_node(await self.query("node", timeout=timeout))

    async def status(self, *, timeout: TimeoutLike = None) -> NodeStatus:
        """Its counters, capacity, memory and last rebalance.

        Source: reference, "Get proxy/target status"; today `node_status`, where `status` is 400.
        """
        return read_node_status(await self.query("status", timeout=timeout))

    async def stats(self, *, timeout: TimeoutLike = None) -> NodeStats:
        """Its counters and, for a target, the capacity of its mountpaths.

        Source: reference, "Get target statistics"; today `node_stats`, where `stats` is 400.
        """
        return read_node_stats(await self.query("stats", timeout=timeout))

    async def system(self, *, timeout: TimeoutLike = None) -> SystemInfo:
        """Its memory, processor and, for a target, file systems.

        Source: reference, "Get proxy/target system info".
        """
        return read_system(await self.query("system", timeout=timeout))

    async def disks(self, *, timeout: TimeoutLike = None) -> dict[str, Disk]:
        """A target's disks, on 3.3. Source: `what=disk`, which is not in the reference; gateways answer 400."""
        return read_disks(await self.query("disks", timeout=timeout))

    async def buckets(self, *, timeout: TimeoutLike = None) -> dict[BucketInfo, BucketProps]:
        """Every bucket it knows, with its properties.

        Source: reference, "Get bucket list from a given target", which has `what=bucketmd`. 3.3 answers that with 400:
        it is `bmd`, and gateways have it too.
        """
        return read_bucket_table(await self.query("buckets", timeout=timeout))

    async def vote(self, *, timeout: TimeoutLike = None) -> dict[str, Any]:
        """What it needs for an election, in JSON, on 3.3. Source: `what=smapvote`, which is not in the reference."""
        return decode(await self.query("vote", timeout=timeout), dict[str, Any])

    async def health(self, *, timeout: TimeoutLike = None) -> bool:
        """Whether it serves; False while it starts. Raises ConnectFailed where it cannot be reached."""
        try:
            await self.send("health", "GET", "/v1/health", directly=True, timeout=timeout)
        except Unavailable:
            return False
        return True

    @property
    def mountpaths(self) -> MountpathsOf:
        """A target's mountpaths."""
        return MountpathsOf(self)

    # Changes

    async def set_config(
        self, name: str | Mapping[str, Any], value: Any = None, *, timeout: TimeoutLike = None
    ) -> None:
        """Set one name of its configuration, `set_config("periodic.stats_time", "5s")`, or many of a mapping.

        One travels as JSON, many in the query. Raises BadRequest for names that it does not know.

        Source: reference, "Set AIS node configuration". Its names `stats_time` and `log.loglevel` are 400 on 3.3:
        they are dotted, `periodic.stats_time` and `log.level`. A value that is no text is 400, so that it is made one.
        """
        dialect = await self.link.dialect(timeout)
        method, path, query, body = config_request(dialect, DAEMON, name, value)
        await self.send("set config", method, path, query=query, body=body, effect=Effect.REPEATABLE, timeout=timeout)

    async def shutdown(self, *, force: bool = False, timeout: TimeoutLike = None) -> None:
        """End this node's program, and no other's; `ais.cluster.shutdown()` ends all.

        force: Needed for the primary gateway, which refuses with 400 else.

        Source: reference, "Shutdown target/proxy". Today it is asked of the cluster, by the node's ID (of its source).
        """
        check_flag(force, "force")
        dialect = await self.link.dialect(timeout)
        if dialect.control_by_gateway:
            body = action(dialect.action("shutdown node"), value={"sid": self.id})
            asked = request("shutdown node", "PUT", "/v1/cluster", effect=Effect.ONCE, body=body)
            await self.link.ask(asked, timeout, missing=NodeNotFound)
            return
        body = action(dialect.action("shutdown node"))
        query = [("frc", "true")] if force else []
        await self.send("shutdown node", "PUT", DAEMON, query=query, body=body, effect=Effect.ONCE, timeout=timeout)

    # How it is reached

    async def query(self, question: str, *, timeout: TimeoutLike = None) -> bytes:
        """The answer to one `what=`, as it came."""
        dialect = await self.link.dialect(timeout)
        query = [("what", dialect.query(question))]
        return (await self.send(question, "GET", DAEMON, query=query, timeout=timeout)).body

    async def send(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        effect: Effect = Effect.READ,
        by_gateway: bool = False,
        directly: bool = False,
        timeout: TimeoutLike = None,
    ) -> Response:
        """Send to this node and nobody else: at its own address, or else by a gateway.

        by_gateway: A gateway passes it on in any case.
        directly: No gateway passes it on.
        """
        budget = self.link.budget(timeout)
        dialect = await self.link.dialect(budget)
        known = self.link.known_map and self.link.known_map.node(self.id)
        if not known:
            known = (await self.link.read_map(budget)).node(self.id)
        if known is None:
            raise NodeNotFound(f"the cluster map has no node {self.id!r}", operation=f"aistore {operation}")
        if not by_gateway:
            limits = budget.left()
            if not directly:
                # A firewall answers nothing: time must be left for the gateway.
                limits = evolve(limits, connect=limits.connect or limits.attempt)
            try:
                asked = request(operation, method, path, effect=effect, query=query, body=body)
                return await self.link.ask(asked, limits, missing=NotFound, peer=known.url)
            except ConnectFailed as e:
                if e.outcome is not Outcome.NOT_SENT or directly or spent(budget):
                    raise
        reverse = path.replace("/v1/", "/v1/reverse/", 1)
        headers = {dialect.node_header: self.id}
        asked = request(operation, method, reverse, effect=effect, query=query, body=body, headers=headers)
        return await self.link.ask(asked, budget, missing=NotFound)
