"""An AIStore cluster of our own: gateways and targets, each a real HTTP server on its own port of 127.0.0.1.

    async with AIStoreDouble(dialect="3.3") as ais:         # or "current"; targets=2, gateways=1, auth=False
        ais.url                                             # the first gateway; ais.urls: all of them
        ais.create("b1")                                    # state set by hand, without HTTP
        ais.put("b1", "dir/o1", b"hello")                   # returns the object: .checksum, .version, .size
        ais.bucket("b1").objects["dir/o1"]                  # what is there now; read(...) gives its bytes

It keeps what it is sent and answers as the recorded clusters did: redirects (301 of a get, 307 of all else, in 3.3 with
the decoded name in Location), error bodies, odd statuses, and what goes wrong:

    3.3      the list without a value that kills both targets; `evictobj` of an ais object, cut without an answer; 502
             without a body for every second `listobj` whose JSON is not Go's compact form, where there are two gateways
    current  `appendty=` is a plain put that overwrites; an empty list or template deletes all the bucket holds
    both     a body above 256 KiB, sent to a gateway, meets a reset before the 307 can be read; `Expect: 100-continue`
             is answered by 307 at once. A target takes what is not its own (a misplaced copy)

A request that it does not know is answered 501 and kept in `unknown`; leaving the `async with` block then raises
AssertionError, so that no test passes by accident (`ais.unknown.clear()` where that was the aim).

Large and many, never held whole:

    checksum = ais.generate("b1", "big", size=1 << 30)      # bytes are made as they are read
    generated_blocks(size=1 << 30, seed=0)                  # the same bytes, for the other way
    ais.fill("b1", 100_000, "n{:06}")                       # as many names
    AIStoreDouble(keep_large=False)                         # a put above 4 MiB is hashed and forgotten
    AIStoreDouble(early_redirect=True)                      # who reads after a failed send finds the 307 of a large put

Nodes, `ais.gateways[i]` and `ais.targets[i]` (`ais.node("t1")`; ids are p0.., t1.. and proxy0001.., target0001..):

    node.url, node.id, node.alive
    await node.die()                                        # every connection reset, new ones refused; await restart()
    node.fail(503, times=2, path="/v1/objects")             # these many answers, without a body
    node.fail(0); node.lose(times=1, path="")               # cut before anything is done; done, and no answer
    node.starting = True                                    # 503 without a body to everything
    node.public = proxy.url                                 # what the map and redirects tell in place of `url`
    target.break_get(after=1000)                            # closes within the next get's answer, after so many bytes
    target.break_put(after=1000, times=1)                   # reads so much of the next put, then resets
    target.stall_get(after=1000)                            # says no more, and leaves the connection open
    target.corrupt_get()                                    # the next get's first byte is another, its checksum the old
    gateway.redirect_to("https://elsewhere:1/")             # the next redirect goes to a foreign place
    ais.remove("t2"); ais.join("t2"); ais.rebalance()       # leave or enter the map; objects go where they belong
    ais.map.elect("p1")                                     # no election happens by itself

Where a node is dead: a gateway redirects to a dead target all the same; listings and deletes of many are 500 without
all targets; changes by a gateway whose primary is dead are 502 without a body.

What came is in `ais.requests`: `Asked(node, method, path, query, headers, body, size, action)`, `path` as it stood on
the wire. `ais.asked("DELETE", "/v1/buckets")` filters.

Jobs take their time, have their effect at its end, and can be driven by hand:

    ais.jobs.seconds["rebalance"] = 3600                    # sorts: see aistore_jobs.SECONDS
    ais.jobs.finish(id), ais.jobs.abort(id), ais.jobs.fail(id, "text")
    ais.jobs[id].objects = [5, 3]                           # progress, of both targets; bytes likewise
    ais.jobs.forget(id); ais.jobs.forget_ended = True       # what=status answers 404, the statistics still know it

Clouds: `ais.create("s3b", provider="aws")`, `ais.put("s3b", "o", b"..", provider="aws", present=False)`. Files that
`promote` finds: `ais.files["t1"]["/data/prom/f1"] = b"abc"`. What downloads find: `ais.web["http://host/x"] = b"..."`;
a link that is not there fails. What was configured: `ais.config["periodic.stats_time"]` and
`ais.targets[0].config[..]`.

Authentication: `AIStoreDouble(auth=True)` has `ais.authn.url`, user admin, password admin; see aistore_authn.py.
`ais.token()` is an admin's token, `ais.revoke(token)` ends one, `ais.token(expired=True)` is an old one.

Not from recordings but from the source of the servers, marked so where it stands: prefetch and eviction of cloud
buckets, downloads, today's summary, the properties after "chunks", mountpaths of today by the control network.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import IO, Literal, Self
from zlib import crc32

from doubles.aistore_authn import AuthN
from doubles.aistore_config import Config
from doubles.aistore_content import Content, Generated, Held, digest
from doubles.aistore_download import Downloads
from doubles.aistore_gateway import Gateway
from doubles.aistore_jobs import Jobs
from doubles.aistore_map import Map
from doubles.aistore_node import Asked, Node
from doubles.aistore_state import JSON, Bucket, Buckets, Key, Obj
from doubles.aistore_target import Target

__all__ = ["AIStoreDouble", "Asked", "Dialect", "Gateway", "Node", "Target", "generated_blocks"]

Dialect = Literal["3.3", "current"]


def generated_blocks(*, size: int, seed: int = 0) -> Iterator[bytes]:
    """The bytes of `AIStoreDouble.generate`, in blocks of at most 1 MiB."""
    return Generated(size, seed).read(0, size)


class AIStoreDouble:
    """See the module."""

    def __init__(
        self,
        dialect: Dialect = "3.3",
        *,
        targets: int = 2,
        gateways: int = 1,
        auth: bool = False,
        keep_large: bool = True,
        early_redirect: bool = False,
    ) -> None:
        self.dialect = dialect
        self.auth = auth
        self.keep_large = keep_large
        self.early_redirect = early_redirect
        self.requests: list[Asked] = []
        self.unknown: list[str] = []
        self.crashes: list[Exception] = []
        self.buckets = Buckets(dialect, self.place)
        self.jobs = Jobs(dialect, targets)
        self.config = Config(dialect)
        self.listings: set[str] = set()
        self.list_flags = 0
        self.reproxied = 0
        self.spilled: list[IO[bytes]] = []
        self.files: dict[str, dict[str, bytes]] = {}
        self.web: dict[str, bytes] = {}
        self.downloads = Downloads(self)
        self.gateways = [
            Gateway(self, f"p{index}" if self.old else f"proxy{index + 1:04}", config=Config(dialect))
            for index in range(gateways)
        ]
        self.targets = [
            Target(self, f"t{number}" if self.old else f"target{number:04}", number=number, config=Config(dialect))
            for number in range(1, targets + 1)
        ]
        self.map = Map(self)
        self.authn = AuthN(self, "authn")

    @property
    def old(self) -> bool:
        """Whether this is a cluster of 3.3."""
        return self.dialect == "3.3"

    @property
    def url(self) -> str:
        return self.gateways[0].url

    @property
    def urls(self) -> list[str]:
        return [gateway.url for gateway in self.gateways]

    @property
    def nodes(self) -> list[Node]:
        return [*self.gateways, *self.targets]

    def node(self, id: str) -> Node:
        return next(node for node in self.nodes if node.id == id)

    def target(self, id: str) -> Target:
        return next(target for target in self.targets if target.id == id)

    async def __aenter__(self) -> Self:
        for node in self.nodes:
            await node.start()
        if self.auth:
            await self.authn.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.jobs.close()
        for node in [*self.nodes, self.authn]:
            await node.close()
        for file in self.spilled:
            file.close()
        if error is None and (self.crashes or self.unknown):
            raise AssertionError(f"the double crashed {self.crashes} or was asked the unknown {self.unknown}")

    def asked(self, method: str = "", path: str = "") -> list[Asked]:
        """The requests of this method whose path begins so."""
        return [a for a in self.requests if method in ("", a.method) and a.path.startswith(path)]

    # State by hand.

    def create(self, name: str, props: JSON | None = None, *, provider: str = "ais", space: str = "") -> Bucket:
        return self.buckets.create(Key(provider, "", space, name), props)

    def bucket(self, name: str, *, provider: str = "ais", space: str = "") -> Bucket:
        return self.buckets.by_key[Key(provider, "", space, name)]

    def put(
        self,
        bucket: str,
        name: str,
        data: bytes | Content,
        *,
        provider: str = "ais",
        space: str = "",
        present: bool = True,
    ) -> Obj:
        content = Held(data) if isinstance(data, bytes) else data
        made = self.bucket(bucket, provider=provider, space=space).put(name, content)
        made.present = present
        return made

    def read(self, bucket: str, name: str, *, provider: str = "ais", space: str = "") -> bytes:
        """The bytes of an object. Raises KeyError."""
        content = self.bucket(bucket, provider=provider, space=space).objects[name].content
        return b"".join(content.read(0, content.size))

    def generate(self, bucket: str, name: str, *, size: int, seed: int = 0) -> str:
        """An object whose bytes are made as they are read; returns its checksum."""
        return self.put(bucket, name, Generated(size, seed)).checksum

    def fill(self, bucket: str, count: int, template: str = "o{:06}", data: bytes = b"x") -> None:
        """`count` objects named by the template, numbered from 0, with the same content."""
        into = self.bucket(bucket)
        content = Held(data)
        checksum = digest(into.cksum, content, self.dialect)
        for number in range(count):
            name = template.format(number)
            into.insert(name, Obj(content, into.cksum, checksum, "1", into.at(name)))

    def place(self, bucket: str, name: str) -> int:
        """The index of the target that owns a name among those in the map: the others keep theirs when one leaves."""
        members = [index for index, target in enumerate(self.targets) if target.id in self.map]
        if not members:
            return 0
        return max(members, key=lambda index: crc32(f"{index} {bucket}/{name} {index}".encode()))

    def owner(self, bucket: str, name: str) -> Target:
        """The target that a gateway redirects to for a name."""
        return self.targets[self.place(bucket, name)]

    def rebalance(self) -> None:
        """Every object goes to the target that owns it among those in the map."""
        for bucket in self.buckets.by_key.values():
            for name, found in bucket.objects.items():
                found.target = bucket.at(name)

    def remove(self, id: str) -> None:
        self.map.leave(id)

    def join(self, id: str) -> None:
        self.map.enter(id)

    def token(self, user: str = "admin", *, expired: bool = False) -> str:
        return self.authn.issue(user, expired=expired)

    def revoke(self, token: str) -> None:
        self.authn.revoked.add(token)
