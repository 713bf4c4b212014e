"""Key-value zones as mappings: each write there and back, filling, and keeping a zone in step."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from doubles.nginx import NginxDouble, Seen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aetcd
from aetcd.nginx import BodyTooLarge, KeyvalFormatError, KeyvalKeyExists, KeyvalKeyNotFound, KeyvalNotFound, Nginx

ZONE = "/http/keyvals/one"


@pytest.mark.parametrize("side", ["http", "stream"])
async def test_life_of_a_key(double: NginxDouble, nginx: Nginx, side: str) -> None:
    """Created if absent, modified if present, set in any case, deleted."""
    zone = getattr(nginx, side).keyval("one")
    assert await zone.get("a") is None
    assert await zone.get("a", "default") == "default"
    assert not await zone.contains("a")
    with pytest.raises(KeyvalKeyNotFound):
        await zone.modify("a", "1")
    await zone.create("a", "1")
    with pytest.raises(KeyvalKeyExists):
        await zone.create("a", "2")
    assert await zone.get("a") == "1"
    assert await zone.contains("a")
    await zone.modify("a", "3")
    await zone.set("a", "4")
    await zone.set("b", "5")
    assert await zone.all() == {"a": "4", "b": "5"} == double.pairs(side=side)
    assert sorted([key async for key in zone]) == ["a", "b"]
    assert await getattr(nginx, side).keyvals.list() == {"one": {"a": "4", "b": "5"}, "two": {}}
    assert await getattr(nginx, side).keyvals.names() == ["one", "two"]
    await zone.delete("a")
    with pytest.raises(KeyvalKeyNotFound):
        await zone.delete("a")
    await zone.clear()
    assert await zone.all() == {}


@pytest.mark.parametrize("text", ["", "ü", "a\nb", '"', "\0", "x" * 1000, "null", "a&key=b"])
async def test_any_text(nginx: Nginx, text: str) -> None:
    """As key and as value."""
    zone = nginx.http.keyval("one")
    await zone.create(text, text)
    assert await zone.get(text) == text
    await zone.delete(text)
    assert await zone.all() == {}


async def test_general_errors_catch_too(nginx: Nginx) -> None:
    """Who knows the rest of the package need not learn new names."""
    zone = nginx.http.keyval("one")
    with pytest.raises(aetcd.KeyNotFound):
        await zone.delete("a")
    await zone.create("a", "1")
    with pytest.raises(aetcd.KeyExists):
        await zone.create("a", "1")


async def test_missing_zone(nginx: Nginx) -> None:
    """It is told from a missing key."""
    zone = nginx.http.keyval("nothing")
    for call in (zone.all(), zone.get("a"), zone.create("a", "b"), zone.sync({"a": "b"}), zone.clear()):
        with pytest.raises(KeyvalNotFound):
            await call


async def test_expiry(double: NginxDouble, nginx: Nginx) -> None:
    """In seconds here, in milliseconds on the wire; the zone needs a timeout of its own."""
    zone = nginx.http.keyval("two")
    await zone.create("a", "1", expire=5)
    await zone.create("b", "1")
    await zone.set("c", "1", expire=7200.5)
    assert json.loads(double.seen[-1].body) == {"c": {"value": "1", "expire": 7200500}}
    double.elapse(5.1)
    assert sorted(await zone.all()) == ["b", "c"]
    await zone.modify("c", "2", expire=1)
    double.elapse(3600)
    assert await zone.all() == {}
    with pytest.raises(KeyvalFormatError, match="timeout is not enabled"):
        await nginx.http.keyval("one").create("a", "1", expire=5)


@pytest.mark.parametrize(
    ("call", "named", "error"),
    [
        (lambda z: z.create(5, "v"), "key", TypeError),
        (lambda z: z.create("k", 5), "value", TypeError),
        (lambda z: z.set("k", None), "value", TypeError),
        (lambda z: z.modify("k", "\ud800"), "value", ValueError),
        (lambda z: z.get(None), "key", TypeError),
        (lambda z: z.delete(b"k"), "key", TypeError),
        (lambda z: z.create("k", "v", expire="5"), "expire", TypeError),
        (lambda z: z.create("k", "v", expire=True), "expire", TypeError),
        (lambda z: z.set("k", "v", expire=0), "expire", ValueError),
        (lambda z: z.fill([("a", "b")]), "pairs", TypeError),
        (lambda z: z.fill({"a": 5}), r"pairs\['a'\]", TypeError),
        (lambda z: z.sync({5: "a"}), "wanted", TypeError),
        (lambda z: z.sync({"a": None}), r"wanted\['a'\]", TypeError),
    ],
)
async def test_bad_argument(double: NginxDouble, nginx: Nginx, call: Any, named: str, error: type[Exception]) -> None:
    """It is named before anything is sent."""
    with pytest.raises(error, match=named):
        await call(nginx.http.keyval("one"))
    assert not double.seen


async def test_fill(double: NginxDouble, nginx: Nginx) -> None:
    """An empty zone, by one request; one that is not empty is left as it was."""
    zone = nginx.http.keyval("one")
    await zone.fill({})
    assert not double.writes()
    await zone.fill({"a": "1", "b": "2"})
    assert double.writes() == [f"POST {ZONE}"]
    with pytest.raises(KeyvalFormatError, match="only one key can be added"):
        await zone.fill({"c": "1", "d": "2"})
    assert double.pairs() == {"a": "1", "b": "2"}
    with pytest.raises(BodyTooLarge):
        await nginx.http.keyval("two").fill({"a": "x" * 2**20})


# Keeping in step


async def test_sync_takes_the_fewest_requests(double: NginxDouble, nginx: Nginx) -> None:
    """One to read; one fills an empty zone, one clears, and else one for each pair that differs."""
    zone = nginx.http.keyval("one")
    done = await zone.sync({"a": "1", "b": "2", "c": "3"})
    assert (done.added, done.changed, done.removed, done.unchanged) == (("a", "b", "c"), (), (), 0)
    assert double.writes() == [f"POST {ZONE}"]
    double.seen.clear()
    done = await zone.sync({"a": "1", "b": "5", "d": "4"})
    assert (done.added, done.changed, done.removed, done.unchanged) == (("d",), ("b",), ("c",), 1)
    assert double.pairs() == {"a": "1", "b": "5", "d": "4"}
    assert double.writes() == [f"POST {ZONE}", f"PATCH {ZONE}", f"PATCH {ZONE}"]
    assert len(double.seen) == 4
    double.seen.clear()
    assert not await zone.sync({"a": "1", "b": "5", "d": "4"})
    assert len(double.seen) == 1
    double.seen.clear()
    assert await zone.sync({})
    assert double.writes() == [f"DELETE {ZONE}"]
    assert double.pairs() == {}


async def test_sync_dry_run(double: NginxDouble, nginx: Nginx) -> None:
    """It tells what the real run does."""
    zone = nginx.http.keyval("one")
    await zone.create("a", "1")
    before = len(double.writes())
    planned = await zone.sync({"b": "2"}, dry_run=True)
    assert planned.dry_run
    assert (planned.added, planned.removed) == (("b",), ("a",))
    assert len(double.writes()) == before
    assert double.pairs() == {"a": "1"}


async def test_sync_of_more_than_one_body_takes(double: NginxDouble, nginx: Nginx) -> None:
    """It is then sent pair by pair."""
    wanted = {str(number): "x" * 300_000 for number in range(5)}
    await nginx.http.keyval("one").sync(wanted)
    assert double.pairs() == wanted


RACES: dict[str, tuple[str, Any]] = {
    "another filled the zone": ("POST", lambda pairs: pairs.setdefault("x", ("9", None))),
    "another created the key": ("POST", lambda pairs: pairs.setdefault("c", ("9", None))),
    "another deleted what is to be changed": ("PATCH", lambda pairs: pairs.pop("b", None)),
    "another deleted what is to be removed": ("PATCH", lambda pairs: pairs.pop("a", None)),
}


@pytest.mark.parametrize("race", RACES)
@pytest.mark.parametrize("present", [{}, {"a": "1", "b": "1"}], ids=["empty", "filled"])
async def test_sync_among_others(double: NginxDouble, nginx: Nginx, race: str, present: dict[str, str]) -> None:
    """What they do meanwhile is no error, and what is wanted is there in the end."""
    method, interfere = RACES[race]
    pairs = double.instance.keyvals["http"]["one"].pairs
    pairs |= {key: (value, None) for key, value in present.items()}
    left = [True]

    def once(seen: Seen) -> None:
        if seen.method == method and left and left.pop():
            interfere(double.instance.keyvals["http"]["one"].pairs)

    double.before = once
    wanted = {"b": "2", "c": "3"}
    await nginx.http.keyval("one").sync(wanted)
    found = double.pairs()
    assert {key: found[key] for key in wanted} == wanted
    assert "a" not in found


async def test_set_against_one_who_creates_first(double: NginxDouble, nginx: Nginx) -> None:
    """The later writer wins."""

    def create_first(seen: Seen) -> None:
        if seen.method == "POST":
            double.instance.keyvals["http"]["one"].pairs["a"] = ("other", None)

    double.before = create_first
    await nginx.http.keyval("one").set("a", "mine")
    assert double.pairs() == {"a": "mine"}


async def test_failure_in_a_sync_reaches_the_caller_bare(double: NginxDouble, nginx: Nginx) -> None:
    """One error, not a group of them, and what waited is not sent any more."""
    zone = nginx.http.keyval("one")
    await zone.create("kept", "1")

    def refuse_one(seen: Seen) -> None:
        double.instance.write = len(double.writes()) != 4

    double.before = refuse_one
    with pytest.raises(aetcd.nginx.MethodDisabled):
        await zone.sync({str(number): "x" for number in range(100)})
    assert len(double.writes()) < 40
    assert "kept" in double.pairs()


async def test_cancelled_sync_stops(double: NginxDouble, nginx: Nginx) -> None:
    """A second run ends what it began."""
    zone = nginx.http.keyval("one")
    await zone.create("z", "1")
    wanted = {str(number): "x" for number in range(50)}
    task = asyncio.create_task(zone.sync(wanted))
    double.before = lambda seen: task.cancel() if len(double.writes()) > 10 else None
    with pytest.raises(asyncio.CancelledError):
        await task
    double.before = lambda seen: None
    assert 0 < len(double.pairs()) < 51
    await zone.sync(wanted)
    assert double.pairs() == wanted


PAIRS = st.dictionaries(st.sampled_from("abcde"), st.sampled_from("12"), max_size=5)


@given(present=PAIRS, wanted=PAIRS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sync_leads_to_what_is_wanted(present: dict[str, str], wanted: dict[str, str]) -> None:
    """From anywhere, and says truly what it did."""

    async def check() -> None:
        async with NginxDouble() as double, Nginx(double.url) as nginx:
            zone = nginx.http.keyval("one")
            await zone.fill(present)
            done = await zone.sync(wanted)
            assert double.pairs() == wanted
            assert set(done.added) == wanted.keys() - present.keys()
            assert set(done.removed) == present.keys() - wanted.keys()
            assert set(done.changed) == {k for k in wanted if k in present and present[k] != wanted[k]}
            assert done.unchanged == len(wanted.items() & present.items())

    asyncio.run(check())
