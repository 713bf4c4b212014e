"""What nodes tell of themselves: `?what=` in both dialects."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, cast

from aiohttp import web
from attrs import frozen
from doubles.aistore_node import Ask, Node, Refusal, text
from doubles.aistore_state import JSON, now

if TYPE_CHECKING:
    from doubles.aistore import AIStoreDouble
    from doubles.aistore_gateway import Gateway
    from doubles.aistore_target import Target

MEMORY = 25276502016
USED, AVAILABLE = 189935697920, 80617476096
"""Bytes of a mountpath."""

PROXY = (
    "get.n put.n append.n del.n lst.n ren.n pst.n get.ns lst.ns kalive.ns kalive.ns.min kalive.ns.max up.ns.time err.n "
    "err.get.n err.put.n err.head.n err.post.n err.delete.n err.list.n err.range.n err.dl.n"
)

TARGET = (
    "put.ns append.ns dl.ns dl.size get.bps get.redir.ns put.redir.ns get.cold.n get.cold.size lru.evict.n "
    "lru.evict.size reb.tx.n reb.tx.size reb.rx.n reb.rx.size vchange.n vchange.size err.cksum.n err.cksum.size "
    "err.io.n err.md.n restart.n dsort.creation.req.n dsort.creation.req.ns dsort.creation.resp.n "
    "dsort.creation.resp.ns"
)

MEM = ("Total", "Used", "Free", "BuffCache", "ActualFree", "ActualUsed", "SwapTotal", "SwapFree", "SwapUsed")

COUNTED = {"GET": "get.n", "PUT": "put.n", "DELETE": "del.n", "POST": "pst.n"}


@frozen
class Teller:
    """The answers of one node."""

    node: Node

    @property
    def ais(self) -> AIStoreDouble:
        return self.node.ais

    def daemon(self, ask: Ask) -> web.StreamResponse:
        what = ask.query.get("what", "")
        tells = self._old() if self.ais.old else self._current()
        tell = tells.get(what)
        if tell is None:
            if self.ais.old:
                raise Refusal(400, f"Invalid GET /daemon request: unrecognized what={what}")
            raise Refusal(400, f"invalid '/v1/daemon' request: unrecognized 'what={what}' query")
        return self.node.json(tell)

    def _common(self) -> JSON:
        config = cast("Gateway | Target", self.node).config
        members = self.ais.map
        return {
            "smap": members.json(),
            "snode": members.snode(self.node) | {"flags": self.node.flags},
            "config": config.json(self.node),
            "sysinfo": self.sysinfo(self.node),
            "bmd": self.ais.buckets.json(),
        }

    def _old(self) -> JSON:
        common = self._common()
        told = common | {"status": self._status(), "stats": self._stats(self.node), "smapvote": self._vote(common)}
        if self.node.kind == "target":
            told["mountpaths"] = self._target().paths.json()
            told["disk"] = {"vda": {"RBps": 4696747, "WBps": 40960, "Util": 1}}
            told["remote"] = {}
        return told

    def _vote(self, common: JSON) -> JSON:
        """Recorded as far as the buckets."""
        return {"smap": common["smap"], "bucketmd": common["bmd"], "vote_in_progress": False}

    def _current(self) -> JSON:
        told = self._common()
        told["smapvote"] = self._vote(told)
        snode = told["snode"]
        tracker = self._counts(self.node) | {"state.flags": 2097158, "auth.iss": 0, "auth.jwks": 0}
        paths = None if self.node.kind == "proxy" else self._capacity(self.node, current=True)
        capacity: JSON = {"mountpaths": paths, "cs_err": ""}
        if paths:
            count = len(paths)
            capacity |= {"total_used": str(USED * count), "total_avail": str(AVAILABLE * count)}
        capacity |= {"pct_max": 70, "pct_avg": 70, "pct_min": 70}
        told["node_stats"] = {"snode": snode, "tracker": tracker, "capacity": capacity}
        status: JSON = {"status": "", "deployment": "dev", "ais_version": "5.0.", "build_time": "", "k8s_pod_name": ""}
        status |= {"snode": snode, "tracker": tracker, "capacity": capacity, "sys_info": told["sysinfo"]}
        status["smap_version"] = str(self.ais.map.version)
        if self.node.kind == "target":
            rebalances = self.ais.jobs.matching("", "rebalance", None)
            target = self._target()
            if rebalances:
                snap = self.ais.jobs.stats(rebalances[-1], target.index, str(target))
                status = {"rebalance_snap": snap} | status
            told["mountpaths"] = target.paths.json()
            # From the source of the server, not recorded.
            told["disk"] = {"vda": {"RBps": 4696747, "Ravg": 4096, "WBps": 40960, "Wavg": 4096, "Util": 1}}
        told["node_status"] = status
        return told

    def _target(self) -> Target:
        return cast("Target", self.node)

    def _status(self) -> JSON:
        """3.3's status of a node."""
        snode = self.ais.map.snode(self.node) | {"flags": self.node.flags}
        told: JSON = {"snode": snode, "daemon_stats": self._counts(self.node)}
        target = self.node.kind == "target"
        told["capacity"] = self._capacity(self.node) if target else None
        told["sys_info"] = memory()
        told["smap_version"] = str(self.ais.map.version)
        rebalances = self.ais.jobs.matching("", "rebalance", None)
        if target:
            stats = self.ais.jobs.stats(rebalances[-1], self._target().index, "") if rebalances else None
            told["target_status"] = {"rebalance_stats": stats}
        return told | {"status": ""}

    def _stats(self, node: Node) -> JSON:
        """3.3's: a target has its capacity beside the counts."""
        if node.kind == "proxy":
            return self._counts(node)
        return {"core": self._counts(node), "capacity": self._capacity(node)}

    def _counts(self, node: Node) -> JSON:
        names = (PROXY if node.kind == "proxy" else f"{PROXY} {TARGET}").split()
        counts: JSON = dict.fromkeys(names, 0)
        counts["up.ns.time"] = now() - self.ais.map.created
        seen = Counter(
            asked.method
            for asked in self.ais.requests
            if asked.node == node.id and asked.path.startswith("/v1/objects/") and asked.method in COUNTED
        )
        return counts | {COUNTED[method]: number for method, number in seen.items()}

    def _capacity(self, node: Node, *, current: bool = False) -> JSON:
        """By mountpath. Today's fields are from the source of the server, not recorded."""
        paths = cast("Target", node).paths.available
        one: JSON = {"used": str(USED), "avail": str(AVAILABLE), "pct_used": 70}
        if current:
            one |= {"disks": ["vda"], "fs": "/dev/vda(ext4)", "label": ""}
        return {path: dict(one) for path in paths}

    def sysinfo(self, node: Node) -> JSON:
        told = memory()
        if not self.ais.old:
            told |= {
                "load_avg": {"One": 1.76, "Five": 2.43, "Fifteen": 2.16},
                "cpu_util": 33,
                "mem": dict.fromkeys(MEM, 0) | {"Total": MEMORY, "Free": MEMORY // 2, "Used": MEMORY // 2},
                "proc": {
                    "CPU": {"User": 70, "System": 90, "Total": 160, "LastTime": 0, "Percent": 0.13},
                    "Mem": {"Size": 1913188352, "Resident": 27750400, "Share": 19509248},
                },
            }
        if node.kind == "target":
            count = len(cast("Target", node).paths.available)
            total = {"fs_used": str(USED * count), "fs_capacity": str((USED + AVAILABLE) * count)}
            told |= total | {"pct_fs_used": 70}
        return told

    # What a gateway tells of all.

    def cluster(self, what: str) -> web.Response | None:
        """None: it is not asked for here."""
        targets = [target for target in self.ais.targets if target.id in self.ais.map]
        others = [g for g in self.ais.gateways if g is not self.node and g.id in self.ais.map]
        match what:
            case "stats" if self.ais.old:
                counts = {target.id: self._stats(target) for target in targets}
                return self.node.json({"proxy": self._counts(self.node), "target": counts})
            case "sysinfo":
                proxies = {gateway.id: self.sysinfo(gateway) for gateway in others}
                return self.node.json({"proxy": proxies, "target": {t.id: self.sysinfo(t) for t in targets}})
            case "mountpaths":
                return self.node.json({"targets": {target.id: target.paths.json() for target in targets}})
            case "target_ips":
                return text(",".join(["127.0.0.1"] * 3 * len(targets)))
            case "remote":
                return self.node.json({} if self.ais.old else {"a": None, "ver": 0})
        return None

    def indented(self, value: JSON) -> str:
        return json.dumps(value, indent=1)


def memory() -> JSON:
    return {"mem_used": 21307392, "mem_avail": MEMORY, "pct_mem_used": 0.084, "pct_cpu_used": 0}
