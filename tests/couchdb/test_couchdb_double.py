"""The double answers what a real CouchDB 3.5.0 was recorded to answer: 543 exchanges, asked again one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve
from doubles.couchdb_replay import TRANSCRIPTS, Exchange, Heard, Names, ask, differences, load
from doubles.couchdb_scenes import PACE, SCENES

RECORDED = 543

NOT_REPLAYED: dict[str, str] = {}
"""Exchanges that cannot be asked again, and why. There are none."""

NOT_EQUAL = {
    "07b-cluster-3nodes-joined/15: _node/n2/_system via n1": "each node has an order of its own for its queues",
}
"""Exchanges that are asked again, but whose bodies are known to differ, and why."""

CUT_BY_THE_RECORDER = {
    "03-simple-endpoints/28: _utils/",
    "03-simple-endpoints/75: stats",
    "03-simple-endpoints/84: prometheus",
    "07b-cluster-3nodes-joined/15: _node/n2/_system via n1",
    "07b-cluster-3nodes-joined/22: reshard jobs",
    "08-database-level/48: explain",
}
"""Exchanges whose recorded body ends early: its beginning is compared, numbers apart."""


def everything() -> list[Exchange]:
    return [exchange for file in SCENES for exchange in load(file)]


async def replay(file: str) -> dict[str, list[str]]:
    """Asks all of one transcript again, in its order; what differed, by exchange."""
    scene = SCENES[file]()
    found = {}
    async with scene.couch:
        await scene.begin()
        for exchange in load(file):
            if exchange.id in NOT_REPLAYED:
                continue
            await scene.before(exchange)
            heard = await ask(exchange, scene.url(exchange), scene.names, pace=PACE, actions=scene.actions(exchange))
            if differing := differences(exchange, heard, scene.names, pace=PACE):
                found[exchange.id] = differing
            await scene.after(exchange)
    return found


@pytest.mark.parametrize("file", SCENES)
async def test_recorded_exchanges_are_answered_as_recorded(file: str) -> None:
    """Status, phrase, headers that matter, and the body: order of keys, types, texts, rows, the ends of feeds."""
    found = await replay(file)
    expected = {name for name in NOT_EQUAL if name.startswith(f"{file}/")}
    assert set(found) == expected, "\n".join(f"{name}\n    " + "\n    ".join(found[name]) for name in found)


def test_nothing_recorded_is_left_out() -> None:
    """Each file has its scene, each exchange is one of the 543, and each exception names one of them."""
    exchanges = everything()
    names = {exchange.id for exchange in exchanges}
    assert {path.stem for path in TRANSCRIPTS.glob("*.jsonl")} == set(SCENES)
    assert len(exchanges) == len(names) == RECORDED
    assert set(NOT_REPLAYED) | set(NOT_EQUAL) <= names
    assert {exchange.id for exchange in exchanges if exchange.record.get("truncated")} == CUT_BY_THE_RECORDER


def recorded(file: str, name: str) -> Exchange:
    return next(exchange for exchange in load(file) if exchange.name == name)


def heard_as_recorded(exchange: Exchange) -> Heard:
    record = exchange.record
    body = record.get("answer", "").encode()
    if "reads" in record:
        body = b"".join(text.encode("latin1") for _, text in record["reads"])
    return Heard(status=record["status"], phrase=record["phrase"], headers=record["answer_headers"], body=body)


DATABASE = "08-database-level"
CHANGED: dict[str, tuple[str, str, Callable[[Heard], Heard]]] = {
    "status": (DATABASE, "PUT doc conflict", lambda heard: evolve(heard, status=412)),
    "phrase": (DATABASE, "GET deleted", lambda heard: evolve(heard, phrase="Not Found")),
    "missing header": (DATABASE, "PUT doc", lambda heard: evolve(heard, headers={**heard.headers, "ETag": '"1-x"'})),
    "header that should not be": (
        DATABASE,
        "GET doc missing",
        lambda heard: evolve(heard, headers={**heard.headers, "ETag": '"A"'}),
    ),
    "text of an error": (DATABASE, "GET deleted", lambda heard: evolve(heard, body=heard.body.replace(b"d", b"D", 1))),
    "reason": (DATABASE, "GET deleted", lambda heard: evolve(heard, body=heard.body.replace(b"deleted", b"missing"))),
    "order of keys": (
        DATABASE,
        "POST doc batch=ok",
        lambda heard: evolve(heard, body=b'{"id":"77f3c288dc697ace41aa40e6ad001154","ok":true}'),
    ),
    "type": (DATABASE, "revs_limit", lambda heard: evolve(heard, body=b'"1000"')),
    "number": (DATABASE, "revs_limit", lambda heard: evolve(heard, body=b"1001")),
    "revision": (DATABASE, "HEAD doc", lambda heard: evolve(heard, headers={**heard.headers, "ETag": '"3-c5"'})),
    "rows": (DATABASE, "changes limit", lambda heard: evolve(heard, body=b'{"results":[],"last_seq":"0","pending":6}')),
    "silence": ("02-db_updates", "CONTINUOUS since=now timeout=1500", lambda heard: Heard()),
    "heartbeats": (
        "02-db_updates",
        "EVENTSOURCE since=0 timeout=2000",
        lambda heard: evolve(heard, body=b"event: heartbeat\ndata: \n\n" + heard.body),
    ),
    "crash of a feed": (
        "02-db_updates",
        "EVENTSOURCE since=0 timeout=2000",
        lambda heard: evolve(heard, body=heard.body + b"HTTP/1.1 500 Internal Server Error\r\n"),
    ),
    "beginning of a body": (
        DATABASE,
        "explain",
        lambda heard: evolve(heard, body=heard.body.replace(b'"partitioned"', b'"parted"')),
    ),
}


@pytest.mark.parametrize("what", CHANGED)
def test_the_comparison_sees_a_difference(what: str) -> None:
    """An answer equal to the recorded one passes, and the same answer with one thing changed does not."""
    file, name, change = CHANGED[what]
    exchange = recorded(file, name)
    heard = heard_as_recorded(exchange)
    if "reads" not in exchange.record:
        assert differences(exchange, heard, Names(), pace=PACE) == []
    assert differences(exchange, change(heard), Names(), pace=PACE)
