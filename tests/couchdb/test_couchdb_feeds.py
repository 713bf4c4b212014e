"""Feeds: what is told, from where on, and how they end."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from couchdb_feeding import BEAT, LIVE, MODES, asked, created, following, take, until
from doubles.couchdb import CouchDBDouble, Cut, Status

from aetcd.couchdb import (
    NOW,
    BadRequest,
    CouchDB,
    DatabaseEvent,
    DatabaseNotFound,
    Forbidden,
    Mode,
    NotFound,
    RequestRefused,
    Unauthorized,
)
from aetcd.errors import ClientClosed, ConfigError
from aetcd.testing import TCPProxy


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_tells_the_same_history(double: CouchDBDouble, couch: CouchDB, mode: Mode) -> None:
    """What the server remembers comes whole, in any of the four modes."""
    for name in ("a", "b", "c"):
        double.create(name)
    double.destroy("b")
    await asyncio.sleep(3 * double.delay)
    async with couch.db_updates(feed="normal") as updates:
        expected = {(event.name, event.kind.value) async for event in updates}
    assert {("a", "created"), ("b", "deleted"), ("c", "created")} <= expected
    async with couch.db_updates(feed=mode, heartbeat=BEAT) as updates:
        found = set()
        async with asyncio.timeout(5):
            async for event in updates:
                found.add((event.name, event.kind.value))
                if found == expected:
                    break
    assert found == expected


@pytest.mark.parametrize("mode", LIVE)
async def test_live_events(double: CouchDBDouble, couch: CouchDB, mode: Mode) -> None:
    """From NOW on: what is created after the block was entered, and nothing older."""
    double.create("old")
    await asyncio.sleep(3 * double.delay)
    async with following(couch, feed=mode) as updates:
        double.create("one")
        assert created(await take(updates, "one")) == ["one"]
        double.create("two")
        assert created(await take(updates, "two")) == ["two"]


async def test_normal_feed_ends(couch: CouchDB) -> None:
    """It tells what there is, and its cursor and ETag stand at the end of it."""
    async with couch.db_updates(feed="normal") as updates:
        events = [event async for event in updates]
        assert events
        assert updates.seq is not None
        assert updates.etag
    async with couch.db_updates(feed="normal", since=updates.seq) as updates:
        assert [event async for event in updates] == []


async def test_nothing_is_missed_between_entering_and_the_first_look(double: CouchDBDouble, couch: CouchDB) -> None:
    """What happens after the block was entered is told, though nobody asked for events yet."""
    async with following(couch) as updates:
        double.create("early")
        await asyncio.sleep(5 * double.delay)
        assert created(await take(updates, "early")) == ["early"]


async def test_going_on_from_a_stored_cursor(double: CouchDBDouble, couch: CouchDB) -> None:
    """`seq` goes on in another feed, with neither gap nor double."""
    async with following(couch) as updates:
        for name in ("a", "b", "c"):
            double.create(name)
        await until(lambda: len(double.state.databases["_global_changes"].order) >= 3)
        first = []
        async for event in updates:
            first.append(event)
            if len(created(first)) == 2:
                break
        stored = updates.seq
        assert stored == first[-1].seq
    async with couch.db_updates(since=stored, heartbeat=BEAT) as updates:
        rest = await take(updates, *({"a", "b", "c"} - set(created(first))))
    assert sorted(created(first + rest)) == ["a", "b", "c"]


async def test_quiet_feed_is_left_alone(double: CouchDBDouble, couch: CouchDB) -> None:
    """Heartbeats are enough: a feed in which nothing happens is not opened again."""
    async with following(couch, beat=0.1) as updates:
        with pytest.raises(TimeoutError):
            await take(updates, "never", within=1.0)
        assert len(asked(double)) == 1
        assert updates.last_error is None


async def test_long_polls_share_a_connection(double: CouchDBDouble, couch: CouchDB) -> None:
    """An answer that was read to its end leaves its connection to the next one."""
    async with TCPProxy(double.url) as proxy, CouchDB(proxy.url, username="admin", password="secret") as couch:
        async with couch.db_updates(since=NOW, feed="longpoll", heartbeat=5) as updates:
            for name in ("a", "b", "c", "d"):
                double.create(name)
                await take(updates, name)
        assert len(asked(double)) >= 4
        assert proxy.accepted <= 3


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequest), (401, Unauthorized), (403, Forbidden), (404, NotFound)]
)
async def test_refusals_that_do_not_heal_are_raised(
    double: CouchDBDouble, couch: CouchDB, status: int, kind: type[RequestRefused]
) -> None:
    """And stay: the next call raises the same, without asking again."""
    double.inject(Status(status, "no", "of the test"), path="/_db_updates", times=1)
    async with couch.db_updates(heartbeat=BEAT) as updates:
        with pytest.raises(kind, match="of the test"):
            await anext(updates)
        with pytest.raises(kind):
            await anext(updates)
    assert len(asked(double)) == 1


async def test_refusal_when_the_block_is_entered(double: CouchDBDouble, bob: CouchDB) -> None:
    """Of a feed from NOW on a refusal comes before the block is run."""
    with pytest.raises(Unauthorized, match="not a server admin"):
        async with bob.db_updates(since=NOW):
            pytest.fail("the block was run")
    assert len(double.requests) == 1


async def test_missing_global_changes(double: CouchDBDouble, couch: CouchDB) -> None:
    """Without that database there are no updates."""
    double.destroy("_global_changes")
    with pytest.raises(DatabaseNotFound):
        async with couch.db_updates(since=NOW):
            pass
    async with couch.db_updates() as updates:
        with pytest.raises(DatabaseNotFound):
            await anext(updates)


async def test_global_changes_deleted_under_the_feed(double: CouchDBDouble, couch: CouchDB) -> None:
    """The server ends the answer properly then; what the next one says is raised."""
    async with following(couch) as updates:
        waiting = asyncio.ensure_future(anext(updates))
        await until(lambda: double.open_feeds == 1)
        double.destroy("_global_changes")
        with pytest.raises(DatabaseNotFound):
            async with asyncio.timeout(5):
                while True:
                    await waiting
                    waiting = asyncio.ensure_future(anext(updates))


async def test_cursor_of_another_server_is_refused(couch: CouchDB) -> None:
    """What is no cursor is the caller's mistake."""
    async with couch.db_updates(since="79-bad") as updates:
        with pytest.raises(BadRequest, match="Malformed sequence"):
            await anext(updates)


@pytest.mark.parametrize("since", ["", " ", '"now"', 5, True, 1.5])
async def test_cursor_is_checked_first(double: CouchDBDouble, couch: CouchDB, since: object) -> None:
    """What the server would refuse, or misread, is not sent."""
    with pytest.raises((TypeError, ValueError), match="since"):
        couch.db_updates(since=since)  # type: ignore[arg-type]
    assert double.requests == []


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"feed": "live"}, "feed"),
        ({"heartbeat": 0}, "heartbeat"),
        ({"heartbeat": True}, "heartbeat"),
        ({"heartbeat": float("inf")}, "heartbeat"),
        ({"limit": -1}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"patience": 0}, "patience"),
    ],
)
async def test_settings_are_checked_first(couch: CouchDB, settings: dict[str, object], argument: str) -> None:
    """Errors name the argument, before anything is sent."""
    with pytest.raises((TypeError, ValueError, ConfigError), match=argument):
        couch.db_updates(**settings)  # type: ignore[arg-type]


async def test_durations_are_sent_in_milliseconds(double: CouchDBDouble, couch: CouchDB) -> None:
    """Seconds here, milliseconds there (the reference says seconds of its timeout, and is wrong)."""
    double.create("a")
    async with couch.db_updates(heartbeat=1.5) as updates:
        await take(updates, "a")
    assert asked(double)[0]["heartbeat"] == "1500"
    assert asked(double)[0]["feed"] == "continuous"


@pytest.mark.parametrize("mode", MODES)
async def test_limit(double: CouchDBDouble, couch: CouchDB, mode: Mode) -> None:
    """So many events, and then the end."""
    for name in ("a", "b", "c"):
        double.create(name)
    await asyncio.sleep(3 * double.delay)
    async with couch.db_updates(feed=mode, heartbeat=BEAT, limit=2) as updates, asyncio.timeout(5):
        assert len([event async for event in updates]) == 2


async def test_limit_counts_over_a_break(double: CouchDBDouble, couch: CouchDB) -> None:
    """What came before the connection broke is counted."""
    for name in ("a", "b", "c", "d"):
        double.create(name)
    await asyncio.sleep(3 * double.delay)
    double.inject(Cut(after=200), path="/_db_updates")
    async with couch.db_updates(heartbeat=BEAT, limit=3) as updates, asyncio.timeout(5):
        assert len({event.seq async for event in updates}) == 3


async def test_cancelled_wait_loses_nothing(double: CouchDBDouble, couch: CouchDB) -> None:
    """A time-out around each wait, at any moment, and still each event once."""
    rng = random.Random(7)
    names = [f"n{number:02}" for number in range(20)]
    found: list[DatabaseEvent] = []

    async def create() -> None:
        for name in names:
            double.create(name)
            await asyncio.sleep(0.01)

    async with following(couch) as updates:
        creating = asyncio.ensure_future(create())
        async with asyncio.timeout(20):
            while len(created(found)) < len(names):
                with suppress(TimeoutError):
                    async with asyncio.timeout(rng.uniform(0.0005, 0.03)):
                        found.append(await anext(updates))
        await creating
    assert sorted(created(found)) == names


async def test_closing_the_client_ends_the_feed(double: CouchDBDouble) -> None:
    """Whoever waits gets ClientClosed."""
    couch = CouchDB(double.url, username="admin", password="secret")
    async with couch.db_updates(since=NOW, heartbeat=BEAT) as updates:
        waiting = asyncio.ensure_future(anext(updates))
        await until(lambda: double.open_feeds == 1)
        await couch.aclose()
        with pytest.raises(ClientClosed):
            await waiting


async def test_leaving_the_block_ends_the_connection(double: CouchDBDouble, couch: CouchDB) -> None:
    """The server sees it go, and the feed is over."""
    async with following(couch) as updates:
        double.create("a")
        await take(updates, "a")
        await until(lambda: double.open_feeds == 1)
    await until(lambda: double.open_feeds == 0)
    with pytest.raises(StopAsyncIteration):
        await anext(updates)
    assert updates.seq is not None


async def test_one_task_at_a_time(double: CouchDBDouble, couch: CouchDB) -> None:
    """A second reader would take events away from the first one."""
    updates = couch.db_updates(since=NOW, heartbeat=BEAT)
    with pytest.raises(RuntimeError, match="async with"):
        await anext(updates)
    async with updates:
        waiting = asyncio.ensure_future(take(updates, "a"))
        await until(lambda: double.open_feeds == 1)
        with pytest.raises(RuntimeError, match="one task"):
            await anext(updates)
        double.create("a")
        assert created(await waiting) == ["a"]


async def test_slow_reader_slows_the_server(double: CouchDBDouble) -> None:
    """Nothing is read ahead but what the connection holds: the rest waits at the server."""
    double.create("large")
    for number in range(40):
        double.write("large", {"_id": f"d{number:02}", "v": "x" * 1_000_000})
    async with TCPProxy(double.url) as proxy, CouchDB(proxy.url, username="admin", password="secret") as couch:
        async with couch.database("large").changes(include_docs=True, heartbeat=5) as changes:
            first = await anext(changes)
            held = -1
            while proxy.bytes_down != held:
                held = proxy.bytes_down
                await asyncio.sleep(0.2)
            assert held < 20_000_000
            rest = [await anext(changes) for _ in range(39)]
    assert len({change.id for change in [first, *rest]}) == 40
