"""The state that each transcript assumes, and what its recorder did between and during the exchanges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from doubles.couchdb import CouchDBDouble
from doubles.couchdb_copying import Job
from doubles.couchdb_replay import Action, Exchange, Names
from doubles.couchdb_tasks import compaction, indexing, view_compaction

ADMIN = ("adm", "pass")
PACE = 0.05
RECORDED_ON = 1795314300
"""When the tokens of the recording were valid."""

JWT_KEY = "and0c2VjcmV0and0c2VjcmV0and0c2VjcmV0MTIzNDU="
SOON = 0.02


def handlers(*names: str) -> str:
    return ", ".join(f"{{chttpd_auth, {name}_authentication_handler}}" for name in names)


class Scene:
    """One transcript. Subclasses say what is there at first, and what happens at which exchange."""

    nodes: Sequence[str] = ("n0@127.0.0.1",)
    port = 22984
    system = True
    delay = 0.0
    configured: Mapping[str, Mapping[str, str]] = MappingProxyType({})

    def __init__(self) -> None:
        self.couch = CouchDBDouble(
            nodes=len(self.nodes), names=self.nodes, admin=ADMIN, pace=PACE, delay=self.delay, system=self.system
        )
        self.names = Names()
        for section, values in self.configured.items():
            self.couch.config.setdefault(section, {}).update(values)

    async def begin(self) -> None:
        self.couch.config["chttpd"]["port"] = str(self.port)
        self.names.known[f"127.0.0.1:{self.port}"] = f"127.0.0.1:{self.couch.nodes[0].port}"
        self.prepare()

    def prepare(self) -> None:
        """What is there before the first exchange."""

    async def before(self, exchange: Exchange) -> None:
        """What happens right before an exchange."""

    async def after(self, exchange: Exchange) -> None:
        """What happens right after it."""

    def actions(self, exchange: Exchange) -> list[Action]:
        """What happens while a feed is open."""
        return []

    def url(self, exchange: Exchange) -> str:
        return self.couch.url

    def at(self, seconds: float, act: Callable[..., object], *arguments: object) -> Action:
        async def do() -> None:
            act(*arguments)

        return seconds, do

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                await asyncio.sleep(0.002)

    def create(self, *names: str) -> None:
        for name in names:
            self.couch.create(name)

    def write(self, database: str, *ids: str) -> None:
        for name in ids:
            self.couch.write(database, {"_id": name})


class Unconfigured(Scene):
    system = False


class Updates(Scene):
    def actions(self, exchange: Exchange) -> list[Action]:
        couch, doc = self.couch, {"_id": "a"}
        _, _, done = exchange.name.partition(";")
        match done.strip():
            case "db u3 created at +1.5s":
                return [self.at(1.5, couch.create, "u3")]
            case "+1.2s create u2, +2.4 doc, +3.6 doc, +4.8 delete":
                writes = [self.at(2.4, couch.write, "u2", doc), self.at(3.6, couch.write, "u2", doc)]
                return [self.at(1.2, couch.create, "u2"), *writes, self.at(4.8, couch.destroy, "u2")]
            case "+1.2 create u2, +2.4 delete u2":
                return [self.at(1.2, couch.create, "u2"), self.at(2.4, couch.destroy, "u2")]
            case "+2.5 create u2, +5 delete u2":
                return [self.at(2.5, couch.create, "u2"), self.at(5.0, couch.destroy, "u2")]
        return []


class Restart(Scene):
    def prepare(self) -> None:
        self.create("u1", "dltmp")
        self.write("u1", "a")

    def actions(self, exchange: Exchange) -> list[Action]:
        match exchange.index:
            case 0:
                return [self.at(0.1, self.couch.destroy, "dltmp"), (2.0, self.couch.restart)]
            case 3:
                return [self.at(1.5, self.couch.destroy, "_global_changes")]
        return []

    async def before(self, exchange: Exchange) -> None:
        if exchange.index == 4:
            self.create("_global_changes", "afterre")


class Since(Scene):
    def prepare(self) -> None:
        self.couch.destroy("_global_changes")
        self.create("_global_changes", "afterre")
        self.couch.destroy("afterre")

    def actions(self, exchange: Exchange) -> list[Action]:
        if exchange.name.startswith("CONTINUOUS burst"):
            return [self.at(0.5, self.churn)]
        return []

    def churn(self) -> None:
        names = [f"churn{index}" for index in range(40)]
        self.create(*names)
        for name in names:
            self.couch.destroy(name)


class Simple(Scene):
    def prepare(self) -> None:
        self.create("a/b+c", "animals", "plants", "u1", "u3", "zeta")


class Replicate(Scene):
    delay = SOON

    def prepare(self) -> None:
        self.names.revs_differ = True  # documents of replications name the server's address
        self.create("src", "tgt", "other/_replicator")
        for index in range(5):
            self.couch.write("src", {"_id": f"d{index}", "i": index})

    async def before(self, exchange: Exchange) -> None:
        match exchange.name:
            case "replicate third, history grows":
                self.couch.write("src", {"_id": "d6", "i": 6})
            case "continuous" | "repl doc one-shot":
                self.couch.hold.clear()
            case "docs right after":
                await self.until(lambda: {"running", "failed"} == self.states())
            case "docs after 8s":
                self.couch.hold.set()
                await self.until(lambda: {"running", "failed", "completed", "crashing"} == self.states())
                self.couch.hold.clear()

    async def after(self, exchange: Exchange) -> None:
        if exchange.name == "active_tasks with replication":
            self.couch.hold.set()

    def states(self) -> set[str]:
        return {job.state for job in self.couch.replicator.documents.values()}


class Reshard(Scene):
    delay = SOON

    def prepare(self) -> None:
        self.couch.create("rs", q=1)
        self.write("rs", "d1")

    async def before(self, exchange: Exchange) -> None:
        jobs = self.couch.resharder.jobs.values()
        match exchange.index:
            case 24:
                self.couch.hold.clear()
            case 25:
                await self.until(lambda: all(job.step == "initial_copy" for job in jobs))
            case 26:
                self.couch.hold.set()
                await self.until(lambda: all(job.state == "completed" for job in jobs))


class Auth(Scene):
    delay = SOON
    configured = MappingProxyType(
        {
            "chttpd_auth_lockout": {"mode": "off"},
            "chttpd_auth": {"secret": "7491d0cc30420bc50f58880f95568369"},
        }
    )

    def prepare(self) -> None:
        self.create("a/b+c", "animals", "plants", "rs", "src", "tgt", "tgt2", "tgt3", "u1", "u3", "zeta")
        self.couch.add_user("bob", "bobpw", ["r1"])
        self.couch.clock = lambda: RECORDED_ON  # stands still: a busy machine must not end a cookie

    async def before(self, exchange: Exchange) -> None:
        for start, seconds in (("+2s", 2.0), ("+3.6s", 1.6), ("+6s expired, _session", 2.4)):
            if exchange.name.startswith(start):
                self.couch.advance(seconds)


class Tokens(Auth):
    configured = MappingProxyType(
        {
            "chttpd": {"authentication_handlers": handlers("jwt", "proxy", "cookie", "default")},
            "chttpd_auth": {"secret": "thesecret"},
            "jwt_keys": {"hmac:_default": JWT_KEY},
        }
    )


class Proxies(Auth):
    configured = MappingProxyType(
        {
            "chttpd": {"authentication_handlers": handlers("proxy", "cookie", "default")},
            "chttpd_auth": {"secret": "thesecret", "proxy_use_secret": "true"},
        }
    )


class Fresh(Scene):
    """Three servers that do not know each other yet; the third is a double of its own."""

    nodes = ("n1@127.0.0.1",)
    port = 22985
    system = False

    def __init__(self) -> None:
        super().__init__()
        self.couch.set_up = "cluster_disabled"

    async def before(self, exchange: Exchange) -> None:
        if exchange.name == "membership n3":
            self.couch.members[:] = ["n3@127.0.0.1"]


class Joined(Scene):
    nodes = ("n1@127.0.0.1", "n2@127.0.0.1", "n3@127.0.0.1")
    port = 22985
    system = False

    def __init__(self) -> None:
        super().__init__()
        self.couch.set_up = "cluster_disabled"
        del self.couch.members[1:]

    def url(self, exchange: Exchange) -> str:
        other = {"all_dbs via n3": 2, "db_updates n2": 1}
        return self.couch.urls[other.get(exchange.name, 0)]

    async def before(self, exchange: Exchange) -> None:
        match exchange.name:
            case "reshard jobs":
                jobs = self.couch.resharder.jobs.values()
                await self.until(lambda: all(job.state == "completed" for job in jobs))
            case "membership with n3 down":
                await self.couch.stop(2)
            case "n2+n3 down: membership":
                await self.couch.stop(1)

    async def after(self, exchange: Exchange) -> None:
        if exchange.name == "create _global_changes":
            self.couch.state.record("_users", "updated")  # its design document, which the server writes late


class Database(Scene):
    def prepare(self) -> None:
        self.couch.state.prefix = "77f3c288dc697ace41aa40e6ad"  # ids sort as the recorded ones

    def actions(self, exchange: Exchange) -> list[Action]:
        write = self.couch.write
        match exchange.name:
            case "LONGPOLL now + doc at 1.3s":
                return [self.at(1.3, write, "dl", {"_id": "z1"})]
            case "CONTINUOUS now heartbeat=1000 + docs at 1.3, 2.6":
                return [self.at(1.3, write, "dl", {"_id": "z2"}), self.at(2.6, write, "dl", {"_id": "z3"})]
            case "EVENTSOURCE now heartbeat=1000":
                return [self.at(1.3, write, "dl", {"_id": "z4"}), self.at(2.6, write, "dl", {"_id": "z5"})]
            case "CONTINUOUS, db deleted at +1.5" | "LONGPOLL, db deleted at +1.5":
                return [self.at(1.5, self.couch.destroy, "dltmp")]
        return []

    async def before(self, exchange: Exchange) -> None:
        if "dltmp" in exchange.record["path"]:
            self.create("dltmp")


class Down(Scene):
    """A server that restarts stays away for a while."""

    delay = SOON

    async def after(self, exchange: Exchange) -> None:
        if exchange.name == "POST restart":
            await self.until(lambda: not self.couch.nodes[0].is_up)


class Tasks(Scene):
    delay = SOON

    def prepare(self) -> None:
        self.create("big", "big2")
        self.write("big", "a", "b")

    async def before(self, exchange: Exchange) -> None:
        low, high = "00000000-7fffffff", "80000000-ffffffff"
        couch = self.couch
        match exchange.name.split(" types=")[0]:
            case "active tasks +0.1s":
                running = {"process_status": "running"}
                couch.tasks += [compaction("big", span=high), compaction("big", span=low, total=30001) | running]
                couch.tasks += [indexing("big", "d", span=low, done=202), indexing("big", "d", span=high, done=303)]
            case "active tasks +0.7s":
                await self.replicate()
                couch.tasks[:2] = [compaction("big", span=high), compaction("big", span=low, total=30001)]
                couch.tasks[2:] = [indexing("big", "d", span=low, done=3131), indexing("big", "d", done=3333)]
            case "active tasks +10.3s":
                await self.go_on()
                running = {"process_status": "running"}
                couch.tasks[:2] = [compaction("big", span=span, done=3703) | running for span in (high, low)]
                couch.tasks[2:] = [indexing("big", "d", span=low, done=18281), indexing("big", "d", done=18887)]
                couch.tasks.append(view_compaction("big", "d"))

    async def replicate(self) -> None:
        """A continuous replication that has begun and read nothing yet."""
        ends = {"source": f"{self.login}/big", "target": f"{self.login}/big2"}
        body = {**ends, "continuous": True, "create_target": True}
        replicator = self.couch.replicator
        replicator.start(Job(id=replicator.identify(body), body=body, node="n0@127.0.0.1", user="adm"))
        [job] = replicator.jobs.values()
        await self.until(lambda: job.copied is not None)
        self.couch.hold.clear()

    async def go_on(self) -> None:
        self.couch.hold.set()
        [job] = self.couch.replicator.jobs.values()
        await self.until(lambda: bool(job.copied["docs_read"]))
        self.write("big", "c")
        await self.until(lambda: job.through is not None)

    @property
    def login(self) -> str:
        return self.couch.url.replace("http://", "http://adm:pass@")


SCENES: dict[str, type[Scene]] = {
    "01-unconfigured-and-cluster-setup": Unconfigured,
    "02-db_updates": Updates,
    "02b-db_updates-server-restart": Restart,
    "02c-db_updates-since-edge": Since,
    "03-simple-endpoints": Simple,
    "04-replicate-scheduler": Replicate,
    "05-reshard": Reshard,
    "06-auth": Auth,
    "06b-auth-proxy-jwt": Tokens,
    "06c-auth-proxy-use-secret": Proxies,
    "07-cluster-3nodes": Fresh,
    "07b-cluster-3nodes-joined": Joined,
    "08-database-level": Database,
    "09-restart": Down,
    "11-active-tasks": Tasks,
}
