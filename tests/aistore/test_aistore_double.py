"""The double answers as the recorded clusters did: every exchange of the transcripts, sent to it in order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from doubles import aistore_transcripts as transcripts
from doubles.aistore import AIStoreDouble, Dialect
from doubles.aistore_jobs import SECONDS
from doubles.aistore_replay import Got, Replayer, compared, replay
from doubles.aistore_transcripts import Answer

# What the recorder sent and did not write down: seen from the answers.
SENT: dict[int, bytes] = {
    16: b"data0",
    17: b"data1",
    18: b"hello",
    19: b"hello",
    20: b"hello",
    22: b"hello",
    28: b"x",
    39: b"abc",
    41: b"abc",
    45: b"part1-",
    46: b"part2",
    50: b"x",
    52: b"x",
    67: b"{bad json",
}

MD5 = "5d41402abc4b2a76b9719d911017c592"
SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

HEADERS: dict[int, dict[str, str]] = {
    18: {"checksum.type": "sha256", "checksum.value": SHA256},
    19: {"checksum.type": "md5", "checksum.value": MD5},
    20: {"checksum.type": "md5", "checksum.value": "0" * 32},
    29: {"Range": "bytes=1-2"},
    30: {"Range": "bytes=3-"},
    31: {"Range": "bytes=2-10"},
    32: {"Range": "bytes=0-1,3-4"},
    33: {"Range": "bytes=10-20"},
    34: {"Range": "bytes=-2"},
    70: {"Accept": "application/msgpack"},
    153: {"node.id": "t1"},
    154: {"node.id": "nosuch"},
    173: {"node.id": "t1"},
}

OLD_NODES = {"23080": "p0", "23081": "t1", "23082": "t2"}
CURRENT_NODES = {"23380": "proxy0001", "23381": "target0001", "23382": "target0002"}

OLD = transcripts.old()
CURRENT = transcripts.current()

AT_ONCE: dict[str, float] = {"delete": 0, "evict": 0, "create": 0, "summary": 0}
FOR_EVER = 3600.0  # seconds

NOT_REPLAYED: dict[str, str] = {}
"""Exchanges that cannot be sent to the double, and why: there are none."""

PARTLY_RECORDED = {
    "3.3:39": "the recorder's client refused the Location, which is no URL: the redirect is compared, nothing follows",
    "3.3:40": "the same, of a get",
    "current:21": "of the refusal the status and headers were recorded, the body was not",
    "current:23": "the same",
}
"""Exchanges that are sent, and of which there is less to compare."""


@asynccontextmanager
async def replayer(dialect: Dialect, nodes: dict[str, str]) -> AsyncIterator[Replayer]:
    double = AIStoreDouble(dialect)
    async with double as ais, aiohttp.ClientSession(auto_decompress=False) as session:
        # The recorded jobs ended where they did, which is said below, and not by this machine's clock.
        double.jobs.seconds |= dict.fromkeys(SECONDS, FOR_EVER) | AT_ONCE
        yield Replayer(ais, session, nodes)


def unrecorded(run: Replayer) -> dict[int, Callable[[], object]]:
    """What must have happened before some exchanges, and was not recorded."""

    def objects() -> None:
        for number in range(2, 25):
            run.ais.put("pb", f"o{number:02}", f"data{number}".encode())

    def files() -> None:
        run.ais.files["t1"] = {"/data/prom/f1": b"f1\n", "/data/prom/sub/f2": b"f2\n"}

    return {18: objects, 99: lambda: run.ais.jobs.finish(run.ais.jobs.all[-1].id), 175: files}


async def test_every_exchange_with_3_3_is_answered_as_recorded() -> None:
    """Status, shape, error text and headers, over all 195 exchanges in their order. None is left out."""
    found: list[str] = []
    async with replayer("3.3", OLD_NODES) as run:
        before = unrecorded(run)
        for exchange in OLD:
            before.get(exchange.number, lambda: None)()
            sent = SENT.get(exchange.number, run.here(exchange.body).encode())
            found += await replay(exchange, run, sent, HEADERS.get(exchange.number, {}))
    assert not found, "\n".join(found)


async def test_every_exchange_with_todays_is_answered_as_recorded() -> None:
    """As with 3.3. Two answers were recorded without their bodies, and longer ones as far as the recorder kept them."""
    found: list[str] = []
    async with replayer("current", CURRENT_NODES) as run:
        for exchange in CURRENT:
            sent = b"hello\n" if exchange.body == "<hello>" else exchange.body.encode()
            headers = dict(exchange.headers)
            # curl -T says so, which makes the gateway close.
            if exchange.body == "<hello>":
                headers["Expect"] = "100-continue"
            if exchange.number == 71:  # at the target that held it, which need not be ours
                run.known["127.0.0.1:23381"] = run.ais.owner("b1", "app").url.removeprefix("http://")
            found += await replay(exchange, run, sent, headers)
    assert not found, "\n".join(found)


LOGIN = ("authn", "POST", "/v1/users/admin", {"password": "admin"}, "")
CLUSTER = {"id": "c1", "alias": "al1", "urls": ["http://127.0.0.1:23480"]}

# The requests of the third transcript were not recorded, but for method and path in the errors: these give its answers.
ASKED: list[tuple[str, str, str, object, str]] = [
    ("p0", "POST", "/v1/buckets/ab", {"action": "createlb"}, ""),
    ("p0", "GET", "/v1/buckets/*", None, ""),
    ("p0", "HEAD", "/v1/buckets/ab", None, ""),
    ("p0", "PUT", "/v1/objects/ab/o", b"hello\n", ""),
    LOGIN,
    ("authn", "POST", "/v1/users/admin", {"password": "wrong"}, ""),
    ("p0", "POST", "/v1/buckets/ab", {"action": "createlb"}, "admin"),
    ("p0", "GET", "/v1/buckets/*", None, "admin"),
    ("p0", "PUT", "/v1/objects/ab/o", b"hello\n", "admin"),
    ("->", "PUT", "", b"hello\n", ""),
    ("p0", "GET", "/v1/objects/ab/o", None, "admin"),
    ("->", "GET", "", None, ""),
    ("authn", "POST", "/v1/clusters", CLUSTER, "admin"),
    ("authn", "GET", "/v1/clusters", None, "admin"),
    ("authn", "POST", "/v1/users", {"id": "bob", "pass": "secret", "roles": ["Guest"]}, "admin"),
    ("authn", "GET", "/v1/users", None, "admin"),
    ("authn", "GET", "/v1/roles", None, "admin"),
    ("p0", "GET", "/v1/buckets/*", None, "bob"),
    ("p0", "POST", "/v1/buckets/ab2", {"action": "createlb"}, "bob"),
    ("p0", "POST", "/v1/buckets/ab", {"action": "listobj", "value": {}}, "bob"),
    ("authn", "DELETE", "/v1/tokens", {"token": "<admin>"}, "admin"),
    *[("p0", "GET", "/v1/buckets/*", None, "admin")] * 3,
]


def told(body: object, tokens: dict[str, str]) -> bytes:
    if body is None or isinstance(body, bytes):
        return body or b""
    return json.dumps(body).replace("<admin>", tokens.get("admin", "")).encode()


def test_no_exchange_is_left_out() -> None:
    """All that was recorded is replayed; which were recorded in part is known."""
    assert (len(OLD), len(CURRENT), len(transcripts.auth()), NOT_REPLAYED) == (195, 74, 24, {})
    refused = {f"3.3:{e.number}" for e in OLD if e.broke.startswith("InvalidURL")}
    bodiless = {
        f"current:{e.number}"
        for e in CURRENT
        for last in e.answers[-1:]
        if not last.body and e.method != "HEAD" and last.headers.get("Content-Length", "0") != "0"
    }
    assert refused | bodiless == set(PARTLY_RECORDED)


async def test_every_answer_with_authentication_is_as_recorded() -> None:
    """Logins, tokens, users, roles, what a user without rights may not do, and a revoked token."""
    answers, found, got = transcripts.auth(), [], None
    async with AIStoreDouble(auth=True) as ais, aiohttp.ClientSession() as session:
        run = Replayer(ais, session, {})
        tokens = {"admin": ais.token()}
        for recorded, (where, method, path, body, user) in zip(answers, ASKED, strict=True):
            if user == "bob":
                tokens["bob"] = ais.token("bob")
            headers = {"Authorization": f"Bearer {tokens[user]}"} if user else {}
            if where == "p0" and recorded.headers.get("Connection") == "close":
                headers["Expect"] = "100-continue"  # curl -T
            base = ais.authn.url if where == "authn" else ais.url
            url = got.headers["Location"] if where == "->" and got else base + path
            got = await run.ask(method, url, told(body, tokens), headers)
            differ = compared(recorded, got, head=method == "HEAD")
            found += [f"{method} {path} {user}: {d}" for d in differ]
    assert not found, "\n".join(found)


def test_the_comparison_sees_differences() -> None:
    """Each of the things that it compares."""
    recorded = Answer(200, {"Content-Type": "application/json", "Size": "5"}, '{"a":"1","entries":null,"b":{"c":1}}')

    def against(body: str, status: int = 200, **headers: str) -> list[str]:
        return compared(
            recorded,
            Got(status, {"Content-Type": "application/json", "Size": "5"} | headers, body.encode()),
            head=False,
        )

    assert not against('{"a":"2","entries":null,"b":{"c":2}}')
    assert against(recorded.body, status=201)
    assert against(recorded.body, Size="6")
    assert against(recorded.body, More="1")
    assert against('{"a":1,"entries":null,"b":{"c":1}}')
    assert against('{"a":"1","entries":[],"b":{"c":1}}')
    assert against('{"a":"1","entries":null,"b":{}}')
    assert against('{"a":"1","entries":null,"b":{"c":1,"d":1}}')
