"""The way from other clients: every right-hand side of `docs/migrating.md` runs, and does what stands on its left."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import frozen
from registries import new_token, register

import aetcd
from aetcd.testing import EtcdBinary, EtcdCluster, EtcdServer, ServerTLS, etcd_binaries
from aetcd.testing._ports import HeldPort

PAGE = Path(__file__).parents[2] / "docs" / "migrating.md"
EXCEPTIONS = "Exceptions"
USERS = "Users and roles"

DIRECTORY = "(a directory)"

# A key's value, or that with its TTL.
Stored = str | tuple[str, int]

KEYS: Mapping[str, Stored] = {
    "message": "Hello",
    "config": DIRECTORY,
    "config/db": "pg",
    "config/cache": DIRECTORY,
    "config/cache/size": "64",
    "empty": DIRECTORY,
    "ticket": ("x", 60),
}
"""What every row begins with."""


@frozen
class Row:
    """A row of a table, its line, and the heading that it stands under.

    cells: As they are written; the last one is code only.
    """

    heading: str
    line: int
    cells: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.heading}, line {self.line}"

    @property
    def code(self) -> str:
        return "\n".join(spans(self.cells[-1]))


@frozen
class Block:
    """A fenced piece of Python, its line, and the heading that it stands under."""

    heading: str
    line: int
    code: str


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


def read_page() -> tuple[list[Row], list[Block]]:
    rows: list[Row] = []
    blocks: list[Block] = []
    heading, fence, start, begun = "", None, 0, False
    inside: list[str] = []
    for number, line in enumerate(PAGE.read_text().splitlines(), 1):
        if line.startswith("```"):
            if fence == "python":
                blocks.append(Block(heading, start, "\n".join(inside)))
            fence, start, inside = (line[3:], number + 1, []) if fence is None else (None, 0, [])
        elif fence is not None:
            inside.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
        if fence is None and line.startswith("|"):
            if begun:
                rows.append(Row(heading, number, tuple(cell.strip() for cell in line[1:-1].split("|"))))
            begun = begun or line.startswith("|--")
        else:
            begun = False
    return rows, blocks


ROWS, BLOCKS = read_page()


@frozen(kw_only=True)
class Expected:
    """What a right-hand side does.

    gives: What its last expression is, or a question about it that must be answered by a true value.
    sets: What a name that it assigned is, likewise.
    keys: What it changes in `KEYS`; None for a key that is gone. Names that a server or a client makes up are `*`.
    while_written: It waits, so `message` and `config/db` are written while it runs.
    serves: It makes a client that reads `message`.
    then: What is asked of the client afterwards, and must be answered by a true value.
    """

    gives: object = None
    sets: Mapping[str, object] = {}
    keys: Mapping[str, Stored | None] = {}
    while_written: bool = False
    serves: bool = False
    then: str = "True"


SERVES = Expected(serves=True)
WRITTEN: Mapping[str, Stored] = {"message": "changed", "config/db": "changed"}
CONFIG_GONE: Mapping[str, None] = {key: None for key in KEYS if key.startswith("config")}
SET: Mapping[str, Stored] = {"message": "bye"}
DELETED: Mapping[str, None] = {"message": None}
LEFT: Mapping[str, Stored] = {"jobs": DIRECTORY}
HELD: Mapping[str, Stored] = {"jobs": DIRECTORY, "jobs/*": ("", 60)}


def keys(*expected: str) -> Callable[[list[aetcd.Node]], bool]:
    return lambda nodes: [node.key for node in nodes] == list(expected)


def is_config(tree: aetcd.Node) -> bool:
    cache, db = tree.nodes or ()
    return (db.key, db.value) == ("config/db", "pg") and keys("config/cache/size")(list(cache.nodes or ()))


def positive(number: int) -> bool:
    return number > 0


EXPECTED = {
    # py-etcd
    'aetcd.Client(host="http://localhost", port=2379, protocol="v2")': SERVES,
    'aetcd.Client(peers=[{"host": "http://127.0.0.1", "port": 2379}], protocol="v2")': SERVES,
    'aetcd.Client(discovery=url, protocol="v2")': SERVES,
    'aetcd.Client("http://127.0.0.1:2379", protocol="v2", debug=True)': SERVES,
    'aetcd.Client("http://127.0.0.1:2379", protocol="v2", consistent=True)': SERVES,
    "await client.v2.health()": Expected(gives=bool),
    'await client.get("message")': Expected(gives="Hello"),
    'await client.get("nothing")': Expected(gives=None),
    'await client.set("message", "bye")': Expected(keys=SET),
    '(await client.set("message", "bye", full=True)).as_dict()': Expected(
        gives=lambda shown: shown["action"] == "set" and shown["node"]["key"] == "/message", keys=SET
    ),
    'await client.set("message", "bye", ttl=5)': Expected(keys={"message": ("bye", 5)}),
    'await client.refresh("ticket", ttl=5)': Expected(keys={"ticket": ("x", 5)}),
    'await client.refresh("ticket", ttl=False)': Expected(keys={"ticket": "x"}),
    'await client.delete("message")': Expected(keys=DELETED),
    '(await client.delete("message", full=True)).as_dict()': Expected(
        gives=lambda shown: shown["action"] == "delete" and shown["prevNode"]["value"] == "Hello", keys=DELETED
    ),
    'await client.mkdir("shelf")': Expected(keys={"shelf": DIRECTORY}),
    'await client.mkdir("shelf", ttl=60)': Expected(keys={"shelf": (DIRECTORY, 60)}),
    'await client.ls("config")': Expected(gives=keys("config/cache", "config/db")),
    'await client.tree("config")': Expected(gives=is_config),
    'await client.rmdir("config", recursive=True)': Expected(keys=CONFIG_GONE),
    'async with client.watch("message") as changes: change = await anext(changes)': Expected(
        sets={"change": lambda change: change.value == "changed"}, while_written=True
    ),
    'async with client.watch("config", recursive=True) as changes: change = await anext(changes)': Expected(
        sets={"change": lambda change: (change.key, change.value) == ("config/db", "changed")}, while_written=True
    ),
    'await client.compare_and_swap("message", "bye", previous_value="Hello")': Expected(keys=SET),
    'await client.compare_and_delete("message", previous_value="Hello")': Expected(keys=DELETED),
    'await client.get("message", consistent=True)': Expected(gives="Hello"),
    'async with client.lock("jobs", ttl=60) as lock: token = lock.fencing_token': Expected(
        sets={"token": positive}, keys=LEFT
    ),
    'async with client.election("scheduler", value="host-1") as leadership: token = leadership.fencing_token': Expected(
        sets={"token": positive}, keys={"scheduler": DIRECTORY}
    ),
    # Making a client
    'aetcd.Client(host="127.0.0.1", port=2379, protocol="v2")': SERVES,
    'aetcd.Client(("127.0.0.1", 2379), ("127.0.0.1", 2380), protocol="v2")': SERVES,
    'aetcd.Client("http://127.0.0.1:2379", member_sync=True, protocol="v2")': SERVES,
    'aetcd.Client(discovery_srv="example.com", protocol="v2")': Expected(gives=lambda made: not made.status().peers),
    'aetcd.Client("http://127.0.0.1:2379", username="ann", password="secret", protocol="v2")': SERVES,
    'aetcd.Client("https://127.0.0.1:2379", tls=aetcd.TLS(ca="ca.pem"), protocol="v2")': SERVES,
    'aetcd.Client("https://127.0.0.1:2379", tls=aetcd.TLS(ca="ca.pem", cert="client.pem", key="client.key"), '
    'protocol="v2")': SERVES,
    'aetcd.Client("https://127.0.0.1:2379", tls=False, protocol="v2")': SERVES,
    'aetcd.Client("http://127.0.0.1:2379", timeout=5, protocol="v2")': SERVES,
    "await client.aclose()": Expected(then="client.status().closed"),
    "client.status().peers[0].url": Expected(gives=lambda url: url.startswith("http://127.0.0.1:")),
    # Reading
    'await client.get("message", full=True)': Expected(
        gives=lambda result: (result.node.key, result.node.value) == ("message", "Hello")
    ),
    'await client.get("message", consistent=False)': Expected(gives="Hello"),
    'await client.get("message", timeout=5)': Expected(gives="Hello"),
    'await client.exists("message")': Expected(gives=True),
    '(await client.exists("config", full=True)).node.is_directory': Expected(gives=True),
    "await client.ls()": Expected(gives=keys("config", "empty", "message", "ticket")),
    'await client.ttl("ticket")': Expected(gives=lambda ttl: 58 <= ttl <= 60),
    # Results, of which the section's block writes `new`
    "result.action": Expected(gives="get", keys={"new": "1"}),
    "result.node.key": Expected(gives="ticket", keys={"new": "1"}),
    "result.node.value": Expected(gives="x", keys={"new": "1"}),
    "result.node.ttl": Expected(gives=lambda ttl: 58 <= ttl <= 60, keys={"new": "1"}),
    "result.node.expiration": Expected(gives=lambda at: at.utcoffset().total_seconds() == 0, keys={"new": "1"}),
    "result.node.is_directory": Expected(gives=False, keys={"new": "1"}),
    "result.node.created_revision": Expected(gives=positive, keys={"new": "1"}),
    "result.node.modified_revision": Expected(gives=positive, keys={"new": "1"}),
    "result.revision": Expected(gives=positive, keys={"new": "1"}),
    '(await client.v2.get("ticket")).raft_index': Expected(gives=positive, keys={"new": "1"}),
    "written.previous is None": Expected(gives=True, keys={"new": "1"}),
    "[node.key for node in subtree(tree)]": Expected(
        gives=["config", "config/cache", "config/cache/size", "config/db"], keys={"new": "1"}
    ),
    "[node.value for node in subtree(tree) if not node.nodes]": Expected(gives=["64", "pg"], keys={"new": "1"}),
    # Writing
    'await client.set("message", "bye", ttl=60)': Expected(keys={"message": ("bye", 60)}),
    'await client.set("count", 5)': Expected(keys={"count": "5"}),
    'await client.create("new", "1")': Expected(keys={"new": "1"}),
    'await client.update("message", "bye")': Expected(keys=SET),
    'await client.compare_and_swap("message", "bye", previous_revision=index)': Expected(keys=SET),
    'await client.v2.compare_and_swap("message", "bye", previous_value="Hello", previous_index=index)': Expected(
        gives=lambda answer: answer.action == "compareAndSwap", keys=SET
    ),
    'seen = (await client.get("ticket", full=True)).node\n'
    'await client.compare_and_swap("ticket", "y", previous_revision=seen.modified_revision, ttl=seen.ttl)': Expected(
        keys={"ticket": ("y", 60)}
    ),
    'await client.v2.create_in_order("queue", "job")': Expected(
        gives=lambda answer: re.fullmatch(r"/queue/\d{20}", answer.node.key),
        keys={"queue": DIRECTORY, "queue/*": "job"},
    ),
    '(await client.delete("message", full=True)).previous.value': Expected(gives="Hello", keys=DELETED),
    'await client.compare_and_delete("message", previous_revision=index)': Expected(keys=DELETED),
    'await client.delete("config", recursive=True)': Expected(keys=CONFIG_GONE),
    'await client.rmdir("empty")': Expected(keys={"empty": None}),
    'await client.refresh("ticket", 30)': Expected(keys={"ticket": ("x", 30)}),
    # Watching
    '(await client.wait("message")).value': Expected(gives="changed", while_written=True),
    '(await client.wait("message", full=True)).node.value': Expected(gives="changed", while_written=True),
    '(await client.wait("message", since=index)).value': Expected(gives="Hello"),
    '(await client.v2.wait("message", wait_index=index)).node.value': Expected(gives="Hello"),
    '(await client.wait("config", recursive=True)).key': Expected(gives="config/db", while_written=True),
    '(await client.wait("message", timeout=5)).value': Expected(gives="changed", while_written=True),
    'async with client.watch("message") as changes: value = (await anext(changes)).value': Expected(
        sets={"value": "changed"}, while_written=True
    ),
    'async with client.watch("config", since=index, recursive=True) as changes: key = (await anext(changes)).key': (
        Expected(sets={"key": "config/db"})
    ),
    '(await client.wait("message", since=index)).kind': Expected(gives="put"),
    '(await client.wait("message", since=index)).revision': Expected(gives=positive),
    '(await client.wait("message", since=index)).previous.value': Expected(gives="Hi"),
    # Locks and elections
    "await lock.acquire()": Expected(keys=HELD, then="lock.held"),
    "await lock.acquire(timeout=0)": Expected(keys=HELD, then="lock.held"),
    "await lock.acquire(timeout=5)": Expected(keys=HELD, then="lock.held"),
    "await lock.acquire()\nlock.held": Expected(gives=True, keys=HELD),
    "await lock.acquire()\nlock.fencing_token": Expected(gives=positive, keys=HELD),
    "await lock.acquire()\nawait lock.release()": Expected(keys=LEFT, then="not lock.held"),
    'async with client.lock("jobs") as lock: taken = lock.held': Expected(sets={"taken": True}, keys=LEFT),
    'async with client.election("scheduler", value="host-1") as leadership: led = leadership.held': Expected(
        sets={"led": True}, keys={"scheduler": DIRECTORY}
    ),
    'await client.election("scheduler").leader()': Expected(gives=None),
    # The cluster
    "await client.v2.machines()": Expected(gives=lambda urls: urls[0].startswith("http://127.0.0.1:")),
    "[member.id for member in await client.v2.members.list()]": Expected(
        gives=lambda ids: [int(member, 16) > 0 for member in ids] == [True]
    ),
    "(await client.v2.leader()).id": Expected(gives=lambda leader: int(leader, 16) > 0),
    "(await client.v2.stats.self()).state": Expected(gives="StateLeader"),
    "(await client.v2.stats.leader()).followers": Expected(gives={}),
    "(await client.v2.stats.store()).watchers": Expected(gives=lambda watchers: watchers >= 0),
    "(await client.v2.version()).server": Expected(gives=lambda version: version.startswith("3.")),
    "(await client.v2.version()).cluster": Expected(gives=lambda version: version.startswith("3.")),
    # Users and roles
    "await client.v2.auth.status()": Expected(gives=False),
    "await client.v2.auth.enable()": Expected(then="await client.v2.auth.status()"),
    "[user.name for user in await client.v2.auth.users.list()]": Expected(gives=["ann", "root"]),
    '(await client.v2.auth.users.get("ann")).roles': Expected(gives=("readers",)),
    'await client.v2.auth.users.create("bob", "secret", roles=["readers"])': Expected(
        gives=lambda user: (user.name, user.roles) == ("bob", ("readers",)),
        then='(await client.v2.auth.users.get("bob")).roles == ("readers",)',
    ),
    'await client.v2.auth.users.delete("ann")': Expected(
        then='[user.name for user in await client.v2.auth.users.list()] == ["root"]'
    ),
    'await client.v2.auth.roles.create("writers", read=["/config/*"], write=["/config/*"])': Expected(
        gives=lambda role: role.read == role.write == ("/config/*",),
        then='(await client.v2.auth.roles.get("writers")).write == ("/config/*",)',
    ),
    '(await client.v2.auth.roles.get("readers")).read': Expected(gives=("/config/*",)),
    'await client.v2.auth.roles.revoke("readers", read=["/config/*"])': Expected(
        gives=lambda role: role.read == (), then='(await client.v2.auth.roles.get("readers")).read == ()'
    ),
    'await client.v2.auth.roles.delete("readers")': Expected(
        then='"readers" not in [role.name for role in await client.v2.auth.roles.list()]'
    ),
}


# Running what the page shows


@pytest.fixture(scope="module", params=etcd_binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
    """An etcd of this page's own, since rows write where they say."""
    with EtcdServer(binary=request.param) as server:
        yield server


@pytest.fixture(scope="module")
def nobody() -> Iterator[int]:
    """A port at which nobody listens."""
    port = HeldPort()
    yield port.number
    port.release()


@pytest.fixture
async def client(server: EtcdServer) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(server.url, protocol="v2") as client:
        await clear(client)
        yield client


Names = dict[str, Any]


@pytest.fixture
async def names(client: aetcd.Client) -> Names:
    """The keys that every row begins with, and the names that it may use."""
    return {"aetcd": aetcd, "client": client, "index": await fill(client)}


async def clear(client: aetcd.Client) -> None:
    for key in [node.key for node in await client.ls()] + ["_etcd"]:
        with suppress(aetcd.KeyNotFound):
            await client.v2.delete(key, recursive=True)


async def fill(client: aetcd.Client) -> int:
    """Write `KEYS`; the revision at which `message` was last written."""
    await client.set("message", "Hi")
    written = await client.update("message", "Hello", full=True)
    await client.set("config/db", "pg")
    await client.set("config/cache/size", "64")
    await client.mkdir("empty")
    await client.set("ticket", "x", ttl=60)
    return written.node.modified_revision


async def run(code: str, names: Names, *, line: int, port: int, nobody: int) -> Any:
    """Run code of the page, with the ports of this run, and answer its last expression."""
    code = code.replace("2379", str(port)).replace("2380", str(nobody))
    tree = ast.parse("\n" * (line - 1) + code, PAGE)
    last = tree.body[-1]
    names.pop("_", None)
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.copy_location(ast.Assign([ast.Name("_", ast.Store())], last.value), last)
    running = eval(compile(ast.fix_missing_locations(tree), PAGE, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.isawaitable(running):
        await running
    return names.get("_")


async def stored(client: aetcd.Client) -> dict[str, tuple[str, int | None]]:
    """All keys with their values and TTLs; names that were made up are `*`."""
    found: dict[str, tuple[str, int | None]] = {}

    def walk(node: aetcd.Node) -> None:
        for child in node.nodes or ():
            key = re.sub(r"/([0-9]{20}|[0-9a-f]{32})$", "/*", child.key)
            found[key] = (DIRECTORY if child.is_directory else child.value, child.ttl)
            walk(child)

    walk(await client.tree())
    return found


def assert_stored(found: Mapping[str, tuple[str, int | None]], changes: Mapping[str, Stored | None]) -> None:
    expected = {key: value for key, value in {**KEYS, **changes}.items() if value is not None}
    assert found.keys() == expected.keys()
    for key, entry in expected.items():
        value, ttl = entry if isinstance(entry, tuple) else (entry, None)
        there, left = found[key]
        assert there == value, key
        assert left == ttl or (ttl is not None and left is not None and ttl - 5 <= left <= ttl), key


def assert_answer(found: object, expected: object) -> None:
    if callable(expected):
        assert expected(found), found
    else:
        assert found == expected


@asynccontextmanager
async def writing(client: aetcd.Client, *, wanted: bool) -> AsyncIterator[None]:
    """`message` and `config/db` are written again and again, so that whoever waits sees it."""

    async def write() -> None:
        while True:
            for key, value in WRITTEN.items():
                await client.set(key, value)
            await asyncio.sleep(0.02)

    if not wanted:
        yield
        return
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(write())
        try:
            yield
        finally:
            writer.cancel()


@asynccontextmanager
async def over_tls(folder: Path, binary: EtcdBinary, *, client_cert_auth: bool) -> AsyncIterator[EtcdServer]:
    """A server that speaks https, and the files that the page names."""
    authority = trustme.CA()
    theirs, ours = authority.issue_cert("127.0.0.1"), authority.issue_cert("ann@example.org")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    theirs.cert_chain_pems[0].write_to_path(folder / "server.pem")
    theirs.private_key_pem.write_to_path(folder / "server.key")
    ours.cert_chain_pems[0].write_to_path(folder / "client.pem")
    ours.private_key_pem.write_to_path(folder / "client.key")
    tls = ServerTLS(
        cert=folder / "server.pem",
        key=folder / "server.key",
        ca=folder / "ca.pem" if client_cert_auth else None,
        client_cert_auth=client_cert_auth,
    )
    check = aetcd.TLS(ca=folder / "ca.pem", cert=folder / "client.pem", key=folder / "client.key")
    async with EtcdServer(binary=binary, tls=tls) as server:
        async with aetcd.Client(server.url, protocol="v2", tls=check) as client:
            await client.set("message", "Hello")
        yield server


@asynccontextmanager
async def users(client: aetcd.Client, url: str) -> AsyncIterator[None]:
    """`ann`, who has the role `readers`, and `root`; authentication is off, and everybody is gone afterwards."""
    auth = client.v2.auth
    await auth.users.create("root", "secret")
    await auth.roles.create("readers", read=["/config/*"])
    await auth.users.create("ann", "secret", roles=["readers"])
    try:
        yield
    finally:
        async with aetcd.Client(url, protocol="v2", username="root", password="secret") as root:
            with suppress(aetcd.AuthFailed):  # where it is off
                await root.v2.auth.disable()
        for user in await auth.users.list():
            await auth.users.delete(user.name)
        for role in await auth.roles.list():
            if role.name != "root":
                await auth.roles.delete(role.name)


# The page


def test_every_row_is_in_one_of_the_tests() -> None:
    """None is left out for its form's sake, none lacks an expectation, and no expectation outlives its row."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    tables = sum(line.startswith("|--") for line in lines)
    assert len(ROWS) == len(lines) - 2 * tables > 100
    assert {row.code for row in ROWS if row.heading != EXCEPTIONS} == EXPECTED.keys()
    assert len(BLOCKS) == PAGE.read_text().count("```python")


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_right_hand_side_is_code_and_nothing_else(row: Row) -> None:
    """What stands beside the code in such a cell would be a claim that nobody runs."""
    assert re.fullmatch(r"`[^`]+`(<br>`[^`]+`)*", row.cells[-1])


@pytest.mark.parametrize("row", [row for row in ROWS if row.heading != EXCEPTIONS], ids=str)
async def test_row(
    row: Row,
    client: aetcd.Client,
    server: EtcdServer,
    names: Names,
    nobody: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It gives what is expected of it, and changes those keys that it should and no others."""
    monkeypatch.chdir(tmp_path)
    expected = EXPECTED[row.code]
    port = int(server.url.rpartition(":")[2])

    async def check(port: int) -> None:
        for block in BLOCKS:
            if block.heading == row.heading:
                await run(block.code, names, line=block.line, port=port, nobody=nobody)
        async with writing(client, wanted=expected.while_written):
            found = await run(row.code, names, line=row.line, port=port, nobody=nobody)
        if expected.serves:
            async with found as made:
                assert await made.get("message") == "Hello"
                assert made.status().protocol == "v2"
        else:
            assert_answer(found, expected.gives)
        for name, value in expected.sets.items():
            assert_answer(names[name], value)
        assert await run(expected.then, names, line=row.line, port=port, nobody=nobody)

    if "https:" in row.code:
        async with over_tls(tmp_path, server.binary, client_cert_auth="client.pem" in row.code) as secure:
            await check(int(secure.url.rpartition(":")[2]))
    elif row.heading == USERS:
        async with users(client, server.url):
            await check(port)
    elif "discovery=url" in row.code:
        names["url"] = new_token(server.url, 1)
        register(names["url"], f"m0={server.member.peer_url}")
        await check(port)
    else:
        await check(port)
    async with aetcd.Client(server.url, protocol="v2") as other:
        assert_stored(await stored(other), {**(WRITTEN if expected.while_written else {}), **expected.keys})


@pytest.mark.parametrize("row", [row for row in ROWS if row.heading == EXCEPTIONS], ids=str)
async def test_exception(row: Row, client: aetcd.Client, server: EtcdServer, names: Names, nobody: int) -> None:
    """The right column raises the error of the middle one."""
    port = int(server.url.rpartition(":")[2])
    (error,) = spans(row.cells[1])
    async with circumstances(row.code, client, server, names):
        with pytest.raises(eval(error, names)):
            await run(row.code, names, line=row.line, port=port, nobody=nobody)


@asynccontextmanager
async def circumstances(code: str, client: aetcd.Client, server: EtcdServer, names: Names) -> AsyncIterator[None]:
    """What must be so for the code to fail as it should."""
    if "stranger" in code:
        async with users(client, server.url), aetcd.Client(server.url, protocol="v2") as names["stranger"]:
            await client.v2.auth.enable()
            async with aetcd.Client(server.url, protocol="v2", username="root", password="secret") as root:
                await root.v2.auth.roles.revoke("guest", read=["/*"], write=["/*"])
            yield
    elif "cut_off" in code:
        async with cut_off() as names["cut_off"]:
            yield
    elif "leaderless" in code:
        async with leaderless(server.binary) as names["leaderless"]:
            yield
    elif '"taken"' in code:
        async with client.lock("taken"):
            yield
    elif "since=1)" in code:
        for _ in range(11):  # a server keeps the last 1000 changes
            async with asyncio.TaskGroup() as group:
                for _ in range(100):
                    group.create_task(client.set("config/db", "again"))
        yield
    else:
        yield


@asynccontextmanager
async def cut_off() -> AsyncIterator[aetcd.Client]:
    """A client whose connections end when something was sent."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, aetcd.Client(("127.0.0.1", port), protocol="v2") as client:
        yield client


@asynccontextmanager
async def leaderless(binary: EtcdBinary) -> AsyncIterator[aetcd.Client]:
    """A client of one member whose two others are gone, and which knows that."""
    async with EtcdCluster(3, binary=binary) as cluster:
        survivor, *others = cluster.members
        for member in others:
            await member.kill()
        async with aetcd.Client(survivor.url, protocol="v2") as client:
            with suppress(aetcd.NoLeader):
                async with asyncio.timeout(20):
                    while True:
                        await client.v2.leader()
                        await asyncio.sleep(0.05)
            yield client


async def test_blocks_run(client: aetcd.Client, server: EtcdServer, names: Names, nobody: int) -> None:
    """All of them, one after the other as a reader would: in the end the keys are on v3 too."""
    port = int(server.url.rpartition(":")[2])
    for block in BLOCKS:
        await run(block.code, names, line=block.line, port=port, nobody=nobody)
    async with aetcd.Client(server.url) as v3:
        assert await v3.get("message") == "Hello"
        assert await v3.get("config/cache/size") == "64"
        assert 50 <= (await v3.ttl("ticket") or 0) <= 60
        assert not await v3.exists("empty")
