"""`/v1/cluster` of a gateway, `/v1/daemon` and `/v1/health` of any node."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from aiohttp import web
from attrs import frozen
from doubles.aistore_map import DECOMMISSION, MAINTENANCE
from doubles.aistore_node import Ask, Node, Refusal, compact, empty, text
from doubles.aistore_state import JSON, Key
from doubles.aistore_tells import Teller
from doubles.aistore_words import meaning, unexpected

if TYPE_CHECKING:
    from doubles.aistore import AIStoreDouble
    from doubles.aistore_config import Config
    from doubles.aistore_gateway import Gateway
    from doubles.aistore_target import Target

ADMIN = 262144

KINDS = {
    "rebalance": "rebalance",
    "resilver": "resilver",
    "lru": "lru",
    "prefetch": "prefetch",
    "prefetch-listrange": "prefetch",
    "loadlomcache": "load",
    "load-lom-cache": "load",
    "makencopies": "mirror",
    "make-n-copies": "mirror",
    "ecencode": "ec",
    "ec-encode": "ec",
    "put-copies": "mirror",
    "cleanup-store": "lru",
}
"""Kinds that can be started, and the sort of job that each is."""

OTHER_KINDS = {
    "delete",
    "delete-listrange",
    "evictobj",
    "evict-listrange",
    "copybck",
    "copy-bck",
    "renamelb",
    "move-bck",
    "download",
    "summarybck",
    "summary-bck",
    "list",
    "listobj",
    "promote",
    "dsort",
    "ecget",
    "ecput",
    "ecresp",
    "putcopies",
    "election",
    "archive",
}

REMOVALS = {"start_maintenance": MAINTENANCE, "decommission": DECOMMISSION, "shutdown_node": MAINTENANCE}


@frozen
class ClusterDesk:
    """What one node answers about itself and, where it is a gateway, about all."""

    node: Node

    @property
    def ais(self) -> AIStoreDouble:
        return self.node.ais

    def permit(self, ask: Ask) -> None:
        if self.node.kind == "proxy":
            cast("Gateway", self.node).permit(ask, ADMIN)

    def health(self, ask: Ask) -> web.StreamResponse:
        if ask.method != "GET":
            raise self.node.invalid(ask)
        smap_of = self.ais.map
        if ask.query.get("cii") == "true":
            primary = self.ais.node(smap_of.primary)
            urls = {"pub_url": primary.public, "control_url": primary.control, "id": primary.id}
            smap = {"version": str(smap_of.version), "uuid": smap_of.uuid, "Primary": urls, "vote_in_progress": False}
            bmd = {"version": str(self.ais.buckets.version), "uuid": smap_of.uuid}
            return self.node.json({"bmd": bmd, "smap": smap})
        if self.ais.old:
            return empty()
        uptime = str(time.time_ns() - smap_of.created + 1)
        return empty({"Ais-Cluster-Uptime": uptime, "Ais-Node-Uptime": uptime})

    # /v1/daemon

    async def daemon(self, ask: Ask) -> web.StreamResponse:
        config = cast("Gateway | Target", self.node).config
        match ask.method, ask.items[1:]:
            case "GET", []:
                return Teller(self.node).daemon(ask)
            case "PUT", ["setconfig" | "set-config"]:
                self.permit(ask)
                config.set(ask.query)
                return empty()
            case "PUT", ["proxy", id] if self.node.kind == "proxy":
                self.permit(ask)
                return self._force(ask, id)
            case "PUT", []:
                self.permit(ask)
                message = await ask.message()
                match meaning(message.get("action"), old=self.ais.old):
                    case "set_config":
                        self._set(config, message)
                        return empty()
                    case "shutdown":
                        return self._shutdown(ask)
                raise self._refused(message)
        raise self.node.invalid(ask)

    def _refused(self, message: JSON) -> Refusal:
        if self.ais.old:
            return unexpected(message)
        return Refusal(400, f'invalid action "{message.get("action")}"')

    def _set(self, config: Config, message: JSON) -> None:
        name, value = str(message.get("name", "")), message.get("value")
        if isinstance(value, dict) and not self.ais.old:
            for group, changes in value.items():
                config.set({f"{group}.{key}": _told(changed) for key, changed in changes.items()})
            return
        if not isinstance(value, str):
            given = "float64" if isinstance(value, int | float) else "<nil>" if value is None else "map"
            raise Refusal(400, f"setconfig: invalid value format ({value}, {given})")
        config.set({name: value})

    def _shutdown(self, ask: Ask) -> web.Response:
        if self.node.id == self.ais.map.primary and ask.query.get("frc") != "true":
            raise Refusal(400, "cannot shutdown primary proxy without frc=true query parameter")
        self.node.exit_soon()
        return empty()

    def _force(self, ask: Ask, id: str) -> web.Response:
        """Take another primary's map by force, wherever it is; here only a gateway of ours answers there."""
        url = ask.query.get("can", "")
        if ask.query.get("frc") != "true":
            raise Refusal(400, "cannot set primary without frc=true query parameter")
        there = next((g for g in self.ais.gateways if g.public == url.rstrip("/") and g.alive), None)
        if there is None:
            place = url.removeprefix("http://")
            wrong = f'Get "{url}/v1/daemon?what=smap": dial tcp {place}: connect: connection refused'
            raise Refusal(400, f"failed to get Smap from {url}: {wrong}")
        if id not in self.ais.map:
            raise Refusal(400, f"{id} is not in the Smap of {url}")
        self.ais.map.elect(id)
        return empty()

    # /v1/cluster

    async def cluster(self, ask: Ask) -> web.StreamResponse:
        if ask.method == "GET":
            return await self._query(ask)
        if ask.method == "DELETE" and not self.ais.old and not self.node.on_control(ask.request):
            raise Refusal(403, "not expecting DELETE /v1/cluster via pub-net")
        self.permit(ask)
        cast("Gateway", self.node).to_primary()
        match ask.method, ask.items[1:]:
            case "DELETE", ["daemon", id]:
                return self._unregister(id)
            case "DELETE", _:
                raise Refusal(400, f"expected 3 items, but got: {len(ask.items) + 1}(proxy.go, #3097)")
            case "POST", ["register"] if self.ais.old:
                return self._register(await ask.message("*cluster.Snode"))
            case "POST", ["join-by-admin"] if not self.ais.old:
                return self._register(await ask.message("*meta.Snode"))
            case "PUT", ["setconfig" | "set-config"]:
                self._configure(ask.query)
                return empty()
            case "PUT", ["proxy", id]:
                return self._elect(id)
            case "PUT", []:
                return self._act(ask, await ask.message())
        raise self.node.invalid(ask)

    def _configure(self, values: dict[str, str]) -> None:
        self.ais.config.set(values)
        for node in [*self.ais.gateways, *self.ais.targets]:
            node.config.set(values)

    def _act(self, ask: Ask, message: JSON) -> web.StreamResponse:
        action = meaning(message.get("action"), old=self.ais.old)
        value = message.get("value")
        match action:
            case "set_config":
                self._set(self.ais.config, message)
                for node in [*self.ais.gateways, *self.ais.targets]:
                    self._set(node.config, message)
                return empty()
            case "shutdown":
                for node in self.ais.nodes:
                    node.exit_soon()
                return empty()
            case "start" | "stop":
                if not isinstance(value, dict):
                    raise Refusal(400, f"{self.node}: failed to unmarshal xaction message: {value!r}")
                return self._start(value) if action == "start" else self._stop(value)
            case "start_maintenance" | "stop_maintenance" | "decommission" | "shutdown_node":
                return self._maintain(action, value if isinstance(value, dict) else {})
        raise self._refused(message)

    def _start(self, value: JSON) -> web.Response:
        wanted = str(value.get("kind", ""))
        if wanted not in KINDS:
            told = f'unknown "{wanted}" xaction kind (from {self.node})'
            raise Refusal(400, told, path="/v1/xactions")
        effect = self.ais.rebalance if wanted == "rebalance" else lambda: None
        return text(self.ais.jobs.start(KINDS[wanted], wanted, _key(value.get("bck")), effect).id)

    def _stop(self, value: JSON) -> web.Response:
        wanted_id, wanted = str(value.get("id") or ""), str(value.get("kind") or "")
        if not wanted_id and wanted not in KINDS and wanted not in OTHER_KINDS:
            raise Refusal(400, f'unknown "{wanted}" xaction kind (from {self.node})', path="/v1/xactions")
        for job in self.ais.jobs.matching(wanted_id, wanted, _key(value.get("bck")), active=True):
            job.end(aborted=True)
        return empty()

    def _maintain(self, action: str, value: JSON) -> web.Response:
        sid = str(value.get("sid", ""))
        node = self.ais.map.node(sid)
        if sid == self.ais.map.primary:
            raise Refusal(400, f"{self.node} is primary, cannot perform {action!r}")
        if action == "stop_maintenance":
            node.flags = 0
        else:
            node.flags |= REMOVALS[action]
        self.ais.map.version += 1
        if action in ("decommission", "shutdown_node"):
            if action == "decommission":
                self.ais.map.leave(sid)
            node.exit_soon()
        if node.kind == "proxy" or value.get("skip_rebalance"):
            return empty()
        return self._rebalance()

    def _rebalance(self) -> web.Response:
        return text(self.ais.jobs.start("rebalance", "rebalance", None, self.ais.rebalance).id)

    def _unregister(self, id: str) -> web.Response:
        if id not in self.ais.map:
            where = f"(not present in the Smap v{self.ais.map.version})"
            raise Refusal(404, f"{self.node}: cannot remove node {id} {where}")
        self.ais.map.leave(id)
        return empty()

    def _register(self, told: JSON) -> web.Response:
        told_id = told.get("daemon_id") or told.get("id") or ""
        sort = str(told.get("daemon_type", "target"))
        public = told.get("public_net") or {}
        if not self.ais.old and not public.get("direct_url"):
            wrong = 'Get "/v1/daemon?what=snode": unsupported protocol scheme ""'
            raise Refusal(400, f"{self.node}: failed to obtain node info from {sort[:1]}[{told_id}]: {wrong}")
        if not public.get("node_ip_addr"):
            raise Refusal(400, f"{self.node}: failed to user-register {sort[:1]}[{told_id}] - invalid IPv4 ")
        known = next((node for node in self.ais.nodes if node.public == public.get("direct_url")), None)
        if known is None or not known.alive:
            raise Refusal(400, f"{self.node}: failed to user-register {sort[:1]}[{told_id}]: it does not answer")
        self.ais.map.enter(known.id)
        if known.kind == "proxy":
            return empty() if self.ais.old else self.node.json({"daemon_id": known.id, "rebalance_id": ""})
        job = self.ais.jobs.start("rebalance", "rebalance", None, self.ais.rebalance)
        if self.ais.old:
            return text(job.id)
        return self.node.json({"daemon_id": known.id, "rebalance_id": job.id})

    def _elect(self, id: str) -> web.Response:
        if id not in self.ais.map or self.ais.node(id).kind != "proxy":
            smap = Teller(self.node).indented(self.ais.map.json())
            raise Refusal(400, f"new primary proxy {id} not present in the {smap}")
        self.ais.map.elect(id)
        return empty()

    # What is asked of the cluster.

    async def _query(self, ask: Ask) -> web.StreamResponse:
        what = ask.query.get("what", "")
        found = Teller(self.node).cluster(what)
        if found is not None:
            return found
        jobs = {"status", "qryxstats"} | (set() if self.ais.old else {"status_all", "running_all"})
        if what not in jobs:
            raise Refusal(400, f"unexpected query [what={what}]")
        asked = await ask.message("*xaction.XactReqMsg" if self.ais.old else "*xact.QueryMsg")
        return self._status(what, asked) if what != "qryxstats" else self._stats(asked)

    def _status(self, what: str, asked: JSON) -> web.Response:
        wanted_id, wanted = str(asked.get("id") or ""), str(asked.get("kind") or "")
        jobs = self.ais.jobs
        found = [j for j in jobs.matching(wanted_id, wanted, _key(asked.get("bck"))) if jobs.known(j)]
        if what == "running_all":
            running = [f"{job.kind}[{job.id}]" for job in found if not job.ended]
            return self.node.json(running)
        if not found:
            raise Refusal(404, f'"{wanted_id or wanted}" not found ({self.node.id}(*))', tcode="ErrXactNotFound")
        if what == "status_all":
            return _plain([jobs.status(job) for job in reversed(found)])
        # By its kind alone it is any that matches: here the first that still runs.
        chosen = next((job for job in found if not job.ended), found[-1])
        return _plain(jobs.status(chosen))

    def _stats(self, asked: JSON) -> web.Response:
        wanted_id, wanted = str(asked.get("id") or ""), str(asked.get("kind") or "")
        if wanted and wanted not in KINDS and wanted not in OTHER_KINDS:
            raise self._no_xaction(wanted)
        active = bool(asked.get("show_active"))
        jobs = self.ais.jobs
        found = jobs.matching(wanted_id, wanted, _key(asked.get("bck")), active=active)
        if wanted_id and not jobs.get(wanted_id):
            raise self._no_xaction(wanted_id)
        told = {
            target.id: [jobs.stats(job, target.index, str(target)) for job in found]
            for target in self.ais.targets
            if target.id in self.ais.map
        }
        return self.node.json(told)

    def _no_xaction(self, name: str) -> Refusal:
        if self.ais.old:
            return Refusal(400, f"xaction '{name}' not found", nested=404, path="/v1/xactions")
        return Refusal(404, f"xaction '{name}' not found", tcode="ErrXactNotFound")


def _plain(value: object) -> web.Response:
    """JSON under the type of text, as the servers send it."""
    return text(compact(value))


def _told(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key(bucket: JSON | None) -> Key | None:
    """The bucket in a message about jobs; none where it has no name."""
    if not bucket or not bucket.get("name"):
        return None
    space = bucket.get("namespace") or {}
    return Key(bucket.get("provider") or "ais", space.get("uuid", ""), space.get("name", ""), bucket["name"])
