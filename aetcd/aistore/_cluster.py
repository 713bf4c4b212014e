"""The cluster as a whole: who belongs to it, what it does, and what it is told to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from attrs import field, frozen

from aetcd._wire.decode import decode
from aetcd._wire.message import Effect
from aetcd.aistore._arguments import check_flag, check_text
from aetcd.aistore._codec import action, message, request
from aetcd.aistore._configuration import config_request
from aetcd.aistore._errors import NodeNotFound
from aetcd.aistore._jobs import Job, job_of, query_jobs
from aetcd.aistore._node import Node
from aetcd.aistore._node_models import ClusterStats, NodeStats
from aetcd.aistore._node_shapes import (
    read_all_mountpaths,
    read_cluster_stats,
    read_cluster_system,
    read_health,
)
from aetcd.aistore._registration import node_body

if TYPE_CHECKING:
    from aetcd._wire.message import Response
    from aetcd.aistore._bucket import Bucket
    from aetcd.aistore._link import Link, TimeoutLike
    from aetcd.aistore._node_models import ClusterHealth, ClusterMap, ClusterSystem, JobStats, Mountpaths

__all__ = ["Cluster"]

CLUSTER = "/v1/cluster"


@frozen
class Cluster:
    """The cluster: `ais.cluster`. Any gateway is asked; one that is not the primary passes on what only that may do."""

    _link: Link = field(repr=False)

    # Questions

    async def map(self, *, timeout: TimeoutLike = None) -> ClusterMap:
        """Who belongs to it. Source: reference, "Get cluster map"; `/v1/cluster?what=smap` is 400."""
        return await self._link.read_map(timeout)

    async def health(self, *, timeout: TimeoutLike = None) -> ClusterHealth:
        """What a gateway knows of the cluster. Raises Unavailable while it starts."""
        asked = request("health", "GET", "/v1/health", query=[("cii", "true")])
        return read_health((await self._link.ask(asked, timeout)).body)

    async def stats(self, *, timeout: TimeoutLike = None) -> ClusterStats:
        """Counters of a gateway and of all targets, with the capacity of each mountpath and totals.

        Source: reference, "Get cluster statistics". Today's server has no such question (400): every node is asked by
        itself, the primary as the gateway.
        """
        dialect = await self._link.dialect(timeout)
        if "cluster stats" in dialect.queries:
            return read_cluster_stats(await self._query("cluster stats", timeout))
        budget = self._link.budget(timeout)
        known = await self._link.read_map(budget)
        targets: dict[str, NodeStats] = {}
        for name in known.targets:
            targets[name] = await Node(self._link, name).stats(timeout=budget.left())
        return ClusterStats(gateway=await Node(self._link, known.primary).stats(timeout=budget.left()), targets=targets)

    async def system(self, *, timeout: TimeoutLike = None) -> ClusterSystem:
        """Memory and processor of every node.

        Source: reference, "Get process info for all nodes in cluster". The gateway that answers leaves itself out.
        """
        return read_cluster_system(await self._query("system", timeout))

    async def mountpaths(self, *, timeout: TimeoutLike = None) -> dict[str, Mountpaths]:
        """The mountpaths of every target. Source: reference, "Get list of all targets' filesystems"."""
        return read_all_mountpaths(await self._query("mountpaths", timeout))

    async def target_addresses(self, *, timeout: TimeoutLike = None) -> list[str]:
        """IP addresses of all targets, on each of their networks: an address may stand there more than once.

        Source: reference, "Get IPs of all targets"; the answer is plain text with commas.
        """
        text = (await self._query("target addresses", timeout)).decode("utf-8", "replace").strip()
        return [address.strip() for address in text.split(",") if address.strip()]

    async def remotes(self, *, timeout: TimeoutLike = None) -> dict[str, Any]:
        """Other clusters that are attached, as they stand in JSON. Source: `what=remote`, not in the reference."""
        return decode(await self._query("remotes", timeout), dict[str, Any])

    # Jobs

    async def jobs(
        self,
        *,
        kind: str = "",
        id: str = "",
        bucket: Bucket | None = None,
        active: bool = False,
        timeout: TimeoutLike = None,
    ) -> list[JobStats]:
        """What jobs have done, one entry for each job and target.

        kind: The server's word, such as `rebalance` or `lru`. Raises JobNotFound for an unknown one.
        active: Only those that run.

        Source: reference, "Get xactions' statistics", which has `what=xaction`. 3.3 answers that with 400: it is
        `qryxstats`, and its body `{"id", "kind", "bck", "show_active"}`.
        """
        ref = bucket.ref if bucket is not None else None
        check_text(id, "id")
        return await query_jobs(self._link, id=id, kind=kind, bucket=ref, active=active, timeout=timeout)

    async def start(self, kind: str, *, bucket: Bucket | None = None, timeout: TimeoutLike = None) -> Job:
        """Start a job of the cluster: `rebalance`, `resilver`, `lru`. Raises BadRequest for an unknown kind."""
        dialect = await self._link.dialect(timeout)
        value: dict[str, Any] = {"kind": check_text(kind, "kind", empty=False)}
        if bucket is not None:
            value["bck"] = bucket.ref.json
        answer = await self._put("start", action(dialect.action("start"), value=value), Effect.ONCE, timeout)
        return job_of(self._link, answer, kind, bucket.ref if bucket is not None else None)

    async def stop(self, kind: str, *, timeout: TimeoutLike = None) -> None:
        """Stop the jobs of a kind. None that runs is no error."""
        dialect = await self._link.dialect(timeout)
        value = {"kind": check_text(kind, "kind", empty=False)}
        await self._put("stop", action(dialect.action("stop"), value=value), Effect.REPEATABLE, timeout)

    async def rebalance(self, *, timeout: TimeoutLike = None) -> Job:
        """Move objects to the targets that they belong to.

        Source: reference, "Rebalance cluster".
        """
        return await self.start("rebalance", timeout=timeout)

    async def stop_rebalance(self, *, timeout: TimeoutLike = None) -> None:
        """Abort the rebalance, started by hand or by the cluster itself.

        Source: reference, "Abort global (automated or manually started) rebalance".
        """
        await self.stop("rebalance", timeout=timeout)

    # Configuration

    async def set_config(
        self, name: str | Mapping[str, Any], value: Any = None, *, timeout: TimeoutLike = None
    ) -> None:
        """Set one name of every node's configuration, or many of a mapping. See `Node.set_config`.

        Source: reference, "Set cluster-wide configuration", in JSON for one and in the query for many.
        """
        dialect = await self._link.dialect(timeout)
        method, path, query, body = config_request(dialect, CLUSTER, name, value)
        asked = request("set config", method, path, effect=Effect.REPEATABLE, query=query, body=body)
        await self._link.ask(asked, timeout)

    # Membership

    async def set_primary(self, id: str, *, timeout: TimeoutLike = None) -> None:
        """Make another gateway the primary, by agreement of all. Raises NodeNotFound.

        Source: reference, "Set primary proxy". 3.3 answers an unknown ID with 400 and the whole map in the text.
        """
        check_text(id, "id", empty=False)
        known = await self._link.read_map(timeout)
        if id not in known.gateways:
            raise NodeNotFound(f"the cluster map has no gateway {id!r}", operation="aistore set primary")
        path = f"{CLUSTER}/proxy/{quote(id, safe='')}"
        await self._link.ask(request("set primary", "PUT", path, effect=Effect.ONCE), timeout, missing=NodeNotFound)

    async def force_primary(self, id: str, url: str, *, timeout: TimeoutLike = None) -> None:
        """Make a gateway the primary whatever the cluster thinks of it. Not `set_primary`, which asks all.

        **Warning**: this is for a cluster that fell in two (split brain), and can make one fall in two: the present
        primary is told to follow the other without a vote, and targets may for a while follow either. What is written
        meanwhile may be lost. Make sure that the old primary is the only one that still believes in itself.

        id: The gateway that is to be the primary.
        url: Where it can be reached by the present one, which reads the map from there; 400 where it cannot.

        Source: reference, "Force-Set primary proxy": `frc=true` and `can=`, at the present primary itself.
        """
        check_text(id, "id", empty=False)
        check_text(url, "url", empty=False)
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url must be the gateway's, such as http://10.0.0.2:8080, not {url!r}")
        known = await self._link.read_map(timeout)
        path = f"/v1/daemon/proxy/{quote(id, safe='')}"
        query = [("frc", "true"), ("can", url)]
        asked = request("force primary", "PUT", path, effect=Effect.ONCE, query=query)
        primary = known.gateways.get(known.primary)
        await self._link.ask(asked, timeout, peer=primary.url if primary else None)

    async def register_target(self, id: str, url: str, *, timeout: TimeoutLike = None) -> Job | None:
        """Let a target join that runs at this URL. The rebalance that follows, or None.

        Source: reference, "Register storage target", whose body names the address only once. 3.3 answers that with 400
        `invalid IPv4`: it wants one for each of three networks, which are the same here. Of today's server only the
        refusal of an empty body was recorded.
        """
        return await self._register("target", id, url, timeout)

    async def register_gateway(self, id: str, url: str, *, timeout: TimeoutLike = None) -> None:
        """Let a gateway join that runs at this URL.

        Source: reference, "Register proxy (gateway)"; see `register_target`.
        """
        await self._register("proxy", id, url, timeout)

    async def unregister(self, id: str, *, timeout: TimeoutLike = None) -> None:
        """Let a node leave the cluster map; what is on it stays there. Raises NodeNotFound.

        Today's server takes this on its control network only (403), so that it raises Unsupported there: see
        `start_maintenance` and `decommission`.

        Source: reference, "Unregister storage target".
        """
        check_text(id, "id", empty=False)
        (await self._link.dialect(timeout)).action("unregister")
        path = f"{CLUSTER}/daemon/{quote(id, safe='')}"
        await self._link.ask(request("unregister", "DELETE", path, effect=Effect.ONCE), timeout, missing=NodeNotFound)

    async def start_maintenance(
        self, id: str, *, skip_rebalance: bool = False, timeout: TimeoutLike = None
    ) -> Job | None:
        """Take a node out of service for the while. The rebalance that follows, or None. Raises NodeNotFound.

        Not in the reference; 3.3 has it, and today's server under another name. Of 3.3 an unknown node's 404 was
        recorded, and the rest is of the servers' source.
        """
        return await self._maintain("start maintenance", id, skip_rebalance, timeout)

    async def stop_maintenance(self, id: str, *, timeout: TimeoutLike = None) -> Job | None:
        """Put it back into service. Of the servers' source, and not recorded; see `start_maintenance`."""
        return await self._maintain("stop maintenance", id, False, timeout)

    async def decommission(self, id: str, *, skip_rebalance: bool = False, timeout: TimeoutLike = None) -> Job | None:
        """Take a node out for good. Of the servers' source, and not recorded; see `start_maintenance`."""
        return await self._maintain("decommission", id, skip_rebalance, timeout)

    async def shutdown(self, *, timeout: TimeoutLike = None) -> None:
        """End the programs of all nodes; `ais.node(id).shutdown()` ends one.

        Source: reference, "Shutdown cluster".
        """
        dialect = await self._link.dialect(timeout)
        await self._put("shutdown cluster", action(dialect.action("shutdown cluster")), Effect.ONCE, timeout)

    # What they share

    async def _register(self, kind: str, id: str, url: str, timeout: TimeoutLike) -> Job | None:
        body = message(node_body(kind, id, url))
        dialect = await self._link.dialect(timeout)
        asked = request("register", "POST", dialect.registration, effect=Effect.ONCE, body=body)
        return self._rebalance(await self._link.ask(asked, timeout))

    async def _maintain(self, kind: str, id: str, skip_rebalance: bool, timeout: TimeoutLike) -> Job | None:
        value = {
            "sid": check_text(id, "id", empty=False),
            "skip_rebalance": check_flag(skip_rebalance, "skip_rebalance"),
        }
        dialect = await self._link.dialect(timeout)
        return self._rebalance(await self._put(kind, action(dialect.action(kind), value=value), Effect.ONCE, timeout))

    def _rebalance(self, answer: Response) -> Job | None:
        text = answer.body.strip()
        if text.startswith(b"{"):  # today: {"daemon_id", "rebalance_id"}
            found = decode(text, dict[str, str]).get("rebalance_id", "")
            return Job(self._link, found, "rebalance") if found else None
        return job_of(self._link, answer, "rebalance") if text else None

    async def _put(self, operation: str, body: bytes, effect: Effect, timeout: TimeoutLike) -> Response:
        asked = request(operation, "PUT", CLUSTER, effect=effect, body=body)
        return await self._link.ask(asked, timeout, missing=NodeNotFound)

    async def _query(self, question: str, timeout: TimeoutLike) -> bytes:
        dialect = await self._link.dialect(timeout)
        asked = request(question, "GET", CLUSTER, query=[("what", dialect.query(question))])
        return (await self._link.ask(asked, timeout)).body
