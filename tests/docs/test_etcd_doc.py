"""The guide to client.v3: its code runs from top to bottom, and its tables name all that there is, and nothing else."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import frozen
from doubles.nginx_front import Front
from pages import run

import aetcd
from aetcd._transport.channel import Channel
from aetcd.etcd import v3 as room
from aetcd.etcd.v3 import V3, LeaderKey, Put
from aetcd.etcd.v3._codec import Route
from aetcd.etcd.v3._errors import MEANINGS
from aetcd.testing import EtcdServer

PAGE = Path(__file__).parents[2] / "docs" / "etcd.md"
TEXT = PAGE.read_text()

WATCHES = 20


@frozen
class Block:
    """A piece of code, the line before it, and its language."""

    language: str
    line: int
    code: str


def read_blocks(*languages: str) -> list[Block]:
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    blocks = [Block(match[1], TEXT.count("\n", 0, match.start(2)), match[2]) for match in found]
    return [block for block in blocks if block.language in languages]


def section(heading: str) -> str:
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.fixture
def server(etcd35: EtcdServer) -> Iterator[EtcdServer]:
    """One of the page's own, of the version that it was tried on: it compacts, and names its keys itself."""
    with EtcdServer(binary=etcd35.binary, protocols=("v3",)) as server:
        yield server


@pytest.fixture
async def client(server: EtcdServer) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(server.url) as client:
        yield client


# The code


async def test_blocks_run(
    client: aetcd.Client, server: EtcdServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, as a reader would; and what was saved and restored is what stood there."""
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    names: dict[str, Any] = {"__name__": "guide", "aetcd": aetcd, "client": client, "server": server}
    names["print"] = lambda *words: told.append(" ".join(map(str, words)))
    for block in read_blocks("python"):
        await run(block.code, names, page=PAGE, line=block.line)
    said = "\n".join(told)
    assert "required revision has been compacted" in said
    assert "has ended" in said
    assert said.count("permission denied") == 3
    assert [line.endswith("True") for line in told if line.startswith(server.version)].count(True) == 1
    assert 'peer must name the member that is meant, or be "any"' in said
    assert "with SHA-256" in said
    assert "needs etcd 3.5.10 or later (HTTP 404, 'Not Found')" in said
    (restore,) = read_blocks("sh")
    tool = server.binary.etcdutl
    assert tool is not None
    command = [str(tool) if word == "etcdutl" else word for word in restore.code.split()]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=60)
    async with EtcdServer(binary=server.binary, protocols=("v3",), data_dir=tmp_path / "restored") as restored:
        async with aetcd.Client(restored.url) as other:
            assert await other.get("account/b") == "10"
            assert not await other.exists("last")


def test_every_block_is_run() -> None:
    """None is left out for its fence's sake."""
    assert len(read_blocks("python")) > 15
    assert TEXT.count("```") == 2 * len(read_blocks("python", "nginx", "sh"))


# What stands beside it


async def test_function_is_tried_again_and_a_block_is_not(client: aetcd.Client) -> None:
    """One who is overtaken in his first try."""
    tries = 0

    async def overtaken(txn: Any) -> None:
        nonlocal tries
        tries += 1
        await txn.get("stm")
        if tries == 1:
            await client.v3.put("stm", "other")
        txn.put("stm", "mine")

    await client.v3.stm().run(overtaken)
    assert tries == 2
    tries = 0
    with pytest.raises(aetcd.CompareFailed):
        async with client.v3.stm() as txn:
            await overtaken(txn)
    assert tries == 1


@pytest.mark.parametrize("keys", [128, 129])
async def test_most_keys_of_an_stm(client: aetcd.Client, keys: int) -> None:
    """Read, written, or both."""

    async def use(txn: Any) -> None:
        for number in range(keys // 2 + 10):
            await txn.get(f"many/{number}")
        for number in range(keys // 2 - 10, keys):
            txn.put(f"many/{number}", "x")

    if keys == 128:
        await client.v3.stm().run(use)
    else:
        with pytest.raises(aetcd.RequestTooLarge):
            await client.v3.stm().run(use)


def directives() -> str:
    """What the page's configuration says for a location, but for what the test's own says already."""
    (block,) = read_blocks("nginx")
    inside = block.code.partition("location / {\n")[2].partition("}")[0]
    lines = [line.partition("#")[0].strip() for line in inside.splitlines()]
    known = {"proxy_pass http://etcd;", "proxy_http_version 1.1;", 'proxy_set_header Connection "";'}
    assert known < set(lines)
    return " ".join(line for line in lines if line not in known)


@pytest.mark.parametrize("configured", [True, False], ids=["as the page has it", "as it comes"])
async def test_watches_behind_nginx(server: EtcdServer, tmp_path: Path, configured: bool) -> None:
    """They share a stream where it lets one through, and have a request each where not; each tells all the same."""
    sent: list[str] = []
    trace = aetcd.Trace(on_request=lambda event: sent.append(event.operation))
    front = Front(tmp_path, server.url, location="/", inside=directives() if configured else "")
    async with front, aetcd.Client(front.origin, trace=trace) as client, AsyncExitStack() as block:
        watches = [await block.enter_async_context(client.v3.watch(f"n/{number}")) for number in range(WATCHES)]
        assert sent.count("v3 watch") == (1 if configured else 1 + WATCHES)
        await client.v3.txn().then(*(Put(f"n/{number}", "x") for number in range(WATCHES)))
        async with asyncio.timeout(10):
            assert [(await anext(events)).kv.value for events in watches] == [b"x"] * WATCHES
    if not configured:
        answers = [status for _, _, target, status in front.log() if target == "/v3/watch"]
        assert answers.count("413") == 1


@pytest.fixture
async def alone() -> AsyncIterator[tuple[aetcd.Client, list[int]]]:
    """A client of one member without the others, whose own copy is at the revision that stands in the list."""
    at = [10]

    async def answer(request: web.Request) -> web.Response:
        if b'"serializable":true' not in await request.read():
            return web.json_response({"message": "etcdserver: request timed out", "code": 14}, status=503)
        header = {"cluster_id": "7", "member_id": "1", "revision": str(at[0]), "raft_term": "2"}
        return web.json_response({"header": header, "count": "0"})

    app = web.Application()
    app.router.add_post("/v3/kv/range", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aetcd.Client(("127.0.0.1", runner.addresses[0][1]), protocol="v3") as client:
            client.v3.gateway.prefix = "/v3"
            yield client, at
    finally:
        await runner.cleanup()


async def test_read_without_a_quorum_may_go_back(alone: tuple[aetcd.Client, list[int]]) -> None:
    """What nobody can confirm is given within some 2 s."""
    client, at = alone
    assert (await client.v3.range("a", serializable=True)).header.revision == 10
    at[0] = 9
    async with asyncio.timeout(4):
        assert (await client.v3.range("a", serializable=True)).header.revision == 9


def test_names_of_errors() -> None:
    """The table has every error that an answer of etcd can be, and no other than there are."""
    named = set(re.findall(r"`([A-Z]\w+)`", "".join(re.findall(r"^\|([^|]*)\|", section("Errors"), re.MULTILINE))))
    assert {kind.__name__ for kind, _ in MEANINGS.values()} <= named
    assert named - {"ValueError", "TypeError"} <= set(aetcd.errors.__all__)


def test_names_in_the_prose() -> None:
    """Whatever is named in code, in more than one word, is a call, a field or an argument of ours."""
    classes = [value for name in room.__all__ if inspect.isclass(value := getattr(room, name))]
    known: set[str] = set()
    for owner in (*classes, aetcd.Client):
        known |= set(dir(owner))
        for _, function in inspect.getmembers(owner, inspect.isfunction):
            known |= set(inspect.signature(function).parameters)
    prose = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", " ".join(re.findall(r"`[^`]+`", prose))))
    assert len(named) > 20
    assert named - known == {"proxy_read_timeout"}


def test_links() -> None:
    """Each section and file that is linked is there."""
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for path, anchor in re.findall(r"\]\(([\w./]*)#?([\w-]*)\)", TEXT):
        assert not path or (PAGE.parent / path).exists()
        assert path or anchor in anchors


# The gateway's paths


class Sent(aetcd.AetcdError):
    """Stands for a request that would have been sent."""


def read_calls() -> dict[str, str]:
    """The call of each path."""
    calls: dict[str, str] = {}
    for below, cell in re.findall(r"^\| `(/[\w/]*)` +\| (.*) \|$", section("Paths and calls"), re.MULTILINE):
        for path, call in re.findall(r"`([\w-]+)`: `([^`]+)`", cell):
            assert below + path not in calls
            calls[below + path] = call
    return calls


CALLS = read_calls()


def routes() -> dict[str, Route]:
    """All that the code knows, by their paths."""
    names = [module.name for module in pkgutil.iter_modules(room.__path__)]
    modules = [importlib.import_module(f"{room.__name__}.{name}") for name in names]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Route)]
    return {route.path: route for route in found}


ROUTES = routes()


@pytest.fixture
async def unsent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[V3]:
    """An API whose requests go no further than to be raised."""

    def refuse(self: Channel, request: Any, *rest: Any, **options: Any) -> Any:
        raise Sent(request.path)

    for name in ("send", "stream", "duplex"):
        monkeypatch.setattr(Channel, name, refuse)
    async with aetcd.Client("http://127.0.0.1:1", watch_sharing=False) as client:
        client.v3.gateway.prefix = "/v3"
        yield client.v3


async def entered(block: Any) -> None:
    async with block:
        pytest.fail("nothing was to be sent")


def test_every_path_is_in_the_table() -> None:
    assert CALLS.keys() == ROUTES.keys()


@pytest.mark.parametrize("path", CALLS)
async def test_call_is_of_its_path(unsent: V3, path: str, tmp_path: Path) -> None:
    names = {
        **dict.fromkeys(("key", "value", "name", "password", "role"), "a"),
        **dict.fromkeys(("id", "ttl", "revision"), 1),
        "entry": b"a/1",
        "leader": LeaderKey(name=b"a", key=b"a/1", rev=1, lease=1),
        "urls": ["http://a:1"],
        "path": tmp_path / "snapshot.db",
    }
    made = eval(f"v3.{CALLS[path]}", {"v3": unsent, **names})
    with pytest.raises(Sent, match=f"^/v3{path}$"):
        await (made if inspect.isawaitable(made) else entered(made))


def test_versions_are_told() -> None:
    """Those that not every server has, each with the first that has it."""
    told = section("Paths and calls").partition("\nNewer than v3 itself are ")[2]
    said: dict[str, str] = {}
    for listed, version in re.findall(r"([^()]+)\((3\.[\d.]+)\)", told):
        said |= dict.fromkeys(re.findall(r"`([^`]+)`", listed), version)
        if "locks and elections" in listed:
            said |= {path: version for path in ROUTES if path.startswith(("/lock/", "/election/"))}
    assert said == {path: route.needs for path, route in ROUTES.items() if route.needs}
