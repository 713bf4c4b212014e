"""The cluster behind the double: its state, its clock, its configuration, who holds which shard. No servers yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence

from aiohttp import web
from attrs import define, field
from doubles.couchdb_auth import Gate
from doubles.couchdb_store import Database, State, halves, split_ranges
from doubles.couchdb_terms import Json, digest, etag


@define(kw_only=True, eq=False)
class Node:
    """One server of the cluster: an address that outlives restarts, and the Erlang name of its node."""

    index: int
    name: str
    port: int = 0
    runner: web.ServerRunner | None = None
    handlers: list[str] = field(factory=lambda: ["cookie", "default"])
    started: float = 0.0

    @property
    def is_up(self) -> bool:
        return self.runner is not None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class World:
    """What all nodes share. The knobs are explained in `doubles.couchdb`."""

    def __init__(
        self,
        *,
        nodes: int,
        admin: tuple[str, str],
        system: bool,
        names: Sequence[str] | None,
        pace: float,
        delay: float,
    ) -> None:
        self.pace, self.delay = pace, delay
        self.shift, self.clock = 0.0, time.time
        self.state = State(self.now)
        self.state.on_event = self.on_event
        erlang = names or [f"n{index}@127.0.0.1" for index in range(nodes)]
        self.nodes = [Node(index=index, name=name) for index, name in enumerate(erlang)]
        self.members = list(erlang)
        self.lost_nodes: set[str] = set()
        self.open_feeds = 0
        self.config: dict[str, dict[str, str]] = default_config(admin, nodes)
        self.secret = digest("secret", self.state.uuid)
        self.passwords: dict[str, str] = {}
        self.gate = Gate()
        self.status, self.version, self.lacks = "ok", "3.5.0", set[str]()
        self.set_up = "single_node_enabled" if nodes == 1 else "cluster_finished"
        self.replication_fails: str | None = None
        self.reshard_fails: str | None = None
        self.tasks: list[Json] = []
        self.icon: bytes | None = None
        self.reachable_ports: set[int] = set()
        self.finished = self.search = False
        self.unsettled = 0
        self.node_documents = Database(name="_nodes", created=int(self.now()))
        self.jobs: set[asyncio.Task[None]] = set()
        self.hold = asyncio.Event()
        self.hold.set()
        if system:
            for name in ("_users", "_replicator", "_global_changes"):
                self.state.create(name, n=len(self.nodes))
            self.state.record("_users", "updated")

    def spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """A job of the server's own, ended with the double at the latest."""
        job = asyncio.create_task(work, name=name)
        self.jobs.add(job)
        job.add_done_callback(self.jobs.discard)
        return job

    # Time

    def now(self) -> float:
        """Unix seconds by the server's clock."""
        return self.clock() + self.shift

    def advance(self, seconds: float) -> None:
        self.shift += seconds

    async def step(self) -> None:
        """One step of the server's own work takes this long, and `hold` stops it."""
        await asyncio.sleep(self.delay)
        await self.hold.wait()

    # The state, by hand

    def create(self, name: str, *, q: int = 2, partitioned: bool = False) -> Database:
        """Makes a database, for admins only, as the server's default is: `security` of what it gives may be set."""
        return self.state.create(name, q=q, n=len(self.members), partitioned=partitioned)

    def destroy(self, name: str) -> None:
        self.state.destroy(name)

    def write(self, database: str, doc: Mapping[str, Json]) -> str:
        """Writes a document as it is, with no regard to `_rev`, and gives its new revision."""
        found = self.state.databases[database]
        body = {name: value for name, value in doc.items() if not name.startswith("_")}
        old = found.documents.get(doc["_id"])
        rev = old.winner.rev if old is not None else None
        return found.write(doc["_id"], body, rev=rev, deleted=bool(doc.get("_deleted")))

    def read(self, database: str, doc_id: str) -> Json:
        """The winning revision, or None."""
        doc = self.state.databases[database].documents.get(doc_id)
        if doc is None or doc.winner.deleted:
            return None
        return {"_id": doc.id, "_rev": doc.winner.rev, **doc.winner.body}

    def add_user(self, name: str, password: str, roles: Sequence[str] = ()) -> None:
        """A user of `_users`, who is no admin unless a role says so."""
        key = digest(name, password)
        self.passwords[key] = password
        body = {"name": name, "roles": list(roles), "type": "user", "derived_key": key}
        self.state.databases["_users"].write(f"org.couchdb.user:{name}", body)

    def new_uuid(self) -> str:
        return self.state.next_uuid(self.config.get("uuids", {}).get("algorithm", "sequential"))

    def databases_tag(self) -> str:
        return etag("databases", *((name, one.uuid) for name, one in sorted(self.state.databases.items())))

    # The cluster

    def placement(self, database: Database) -> dict[str, list[str]]:
        """Which nodes hold which hash range. A node that split its copy holds the halves."""
        placed: dict[str, list[str]] = {}
        for index, span in enumerate(split_ranges(database.q)):
            for node in self.copies(database, index):
                for part in parts(database, node, span):
                    placed.setdefault(part, []).append(node)
        return dict(sorted(placed.items()))

    def copies(self, database: Database, index: int) -> list[str]:
        count = len(self.members)
        left_out = count - min(database.n, count)
        return [name for at, name in enumerate(self.members) if (at - index) % count >= left_out][::-1]

    def alive(self, nodes: Sequence[str]) -> list[str]:
        stopped = {node.name for node in self.nodes if not node.is_up}
        return [name for name in nodes if name not in self.lost_nodes | stopped]

    def has_quorum(self, database: Database) -> bool:
        """Whether most copies of every shard are within reach."""
        return all(len(self.alive(nodes)) > len(nodes) // 2 for nodes in self.placement(database).values())

    def is_readable(self, database: Database) -> bool:
        return all(self.alive(nodes) for nodes in self.placement(database).values())

    def on_event(self, name: str, kind: str) -> None:
        # Before the servers run, nobody listens.
        if self.delay <= 0 or not any(node.is_up for node in self.nodes):
            return self.state.record(name, kind)
        self.unsettled += 1
        asyncio.get_running_loop().call_later(self.delay, self.settle, name, kind)
        return None

    def settle(self, name: str, kind: str) -> None:
        self.unsettled -= 1
        self.state.record(name, kind)

    async def settled(self) -> None:
        """Waits until all that happened to databases so far shows in `_db_updates`."""
        while self.unsettled:
            await asyncio.sleep(self.delay / 4)


def parts(database: Database, node: str, span: str) -> list[str]:
    if (node, span) not in database.splits:
        return [span]
    return [part for half in halves(span) for part in parts(database, node, half)]


def default_config(admin: tuple[str, str], nodes: int) -> dict[str, dict[str, str]]:
    return {
        "admins": {admin[0]: admin[1]},
        "chttpd": {"bind_address": "127.0.0.1", "port": "5984"},
        "chttpd_auth_lockout": {},
        "chttpd_auth": {},
        "cluster": {"n": str(min(nodes, 3)), "q": "2"},
        "couchdb": {},
        "jwt_keys": {},
        "uuids": {},
    }
