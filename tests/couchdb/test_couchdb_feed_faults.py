"""Feeds lose nothing: whatever happens to the wire, every event is told."""

from __future__ import annotations

import asyncio

import pytest
from couchdb_feeding import BEAT, MODES, asked, created, following, take, until
from couchdb_raw import chunk, head, raw_server, whole
from doubles.couchdb import CouchDBDouble, Cut, ErrorInside, HalfChunk, Refuse, Silence, Status

from aetcd.couchdb import (
    NOW,
    CouchDB,
    Database,
    Forbidden,
    Mode,
    NotFound,
    RequestRefused,
    Unauthorized,
)
from aetcd.couchdb._feeds import LONGEST_PAUSE
from aetcd.errors import DecodeError, NoPeerAvailable, RequestTimeout, TransportError
from aetcd.testing import TCPProxy


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("after", [1, 40, 130, 200, 333])
async def test_cut_in_the_middle_of_a_row(double: CouchDBDouble, couch: CouchDB, mode: Mode, after: int) -> None:
    """Wherever the connection is reset, each event comes once."""
    names = [f"n{number}" for number in range(6)]
    for name in names:
        double.create(name)
    await asyncio.sleep(5 * double.delay)
    double.inject(Cut(after=after), path="/_db_updates")
    async with couch.db_updates(feed=mode, heartbeat=BEAT) as updates:
        events = await take(updates, *names)
    assert sorted(created(events)) == names
    assert len(asked(double)) >= 2
    assert updates.last_error is not None


@pytest.mark.parametrize("mode", MODES)
async def test_half_a_chunk(double: CouchDBDouble, couch: CouchDB, mode: Mode) -> None:
    """Half of a row that was announced whole is not taken for one."""
    for name in ("a", "b", "c"):
        double.create(name)
    await asyncio.sleep(3 * double.delay)
    double.inject(HalfChunk(after=100), path="/_db_updates")
    async with couch.db_updates(feed=mode, heartbeat=BEAT) as updates:
        assert sorted(created(await take(updates, "a", "b", "c"))) == ["a", "b", "c"]


@pytest.mark.parametrize("mode", ["continuous", "longpoll"])
async def test_answer_500_inside_a_200(double: CouchDBDouble, couch: CouchDB, mode: Mode) -> None:
    """A second answer in the middle of the first, with the socket left open, ends that one only."""
    for name in ("a", "b", "c"):
        double.create(name)
    await asyncio.sleep(3 * double.delay)
    double.inject(ErrorInside(after=100), path="/_db_updates")
    async with couch.db_updates(feed=mode, heartbeat=BEAT) as updates:
        assert sorted(created(await take(updates, "a", "b", "c"))) == ["a", "b", "c"]
        assert updates.mode == mode


async def test_broken_eventsource_goes_on_as_continuous(double: CouchDBDouble, couch: CouchDB) -> None:
    """The server's own defect: its eventsource dies at the first live event, or at the second heartbeat."""
    async with following(couch, feed="eventsource") as updates:
        waiting = asyncio.ensure_future(take(updates, "a", "b"))
        await until(lambda: double.open_feeds == 1)
        assert updates.mode == "eventsource"
        double.create("a")
        double.create("b")
        assert sorted(created(await waiting)) == ["a", "b"]
        # The first breakdown may come with the head, and is then met by asking again.
        waiting = asyncio.ensure_future(take(updates, "c"))
        await until(lambda: double.open_feeds == 1)
        double.create("c")
        assert created(await waiting) == ["c"]
        assert updates.mode == "continuous"
    assert asked(double)[-1]["feed"] == "continuous"


async def test_idle_eventsource_is_left_before_it_breaks(double: CouchDBDouble, couch: CouchDB) -> None:
    """Its first heartbeat is the last thing that it can say: what is live comes by another mode, without a delay."""
    async with following(couch, feed="eventsource", beat=0.3) as updates:
        waiting = asyncio.ensure_future(take(updates, "a", within=3))
        await until(lambda: [options["feed"] for options in asked(double)] == ["eventsource", "continuous"])
        await until(lambda: double.open_feeds == 1)
        double.create("a")
        assert created(await waiting) == ["a"]
        assert updates.last_error is None


async def test_eventsource_that_hangs_is_seen_by_its_silence() -> None:
    """A live event before the first heartbeat: the server breaks down over it, and the connection stays open."""
    row = b'data: {"seq":"1-x","id":"created:a","changes":[]}\nid: "1-x"\n\n'
    broken = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}"
    first = b'{"db_name":"a","type":"created","seq":"1-x"}\n'
    second = b'{"db_name":"b","type":"created","seq":"2-x"}\n'

    def answer(path: str) -> list[bytes | None]:
        if "feed=eventsource" in path:
            return [head() + chunk(row), broken]
        return [head() + chunk(second if "since=1-x" in path else first + second)]

    async with raw_server(answer) as raw, CouchDB(raw.url) as couch:
        async with couch.db_updates(feed="eventsource", heartbeat=0.3) as updates, asyncio.timeout(5):
            assert [(await anext(updates)).name, (await anext(updates)).name] == ["a", "b"]
            assert updates.mode == "continuous"


async def test_silent_feed_is_reopened_at_another_peer(pair: CouchDBDouble) -> None:
    """Three heartbeats without a byte: the other peer is asked, from the last seq, and nothing is lost.

    That is so where the client keeps to one peer otherwise, too.
    """
    couch = CouchDB(*pair.urls, username="admin", password="secret", balance="sticky")
    async with couch, following(couch) as updates:
        pair.inject(Silence(after=0), path="/_db_updates")
        waiting = asyncio.ensure_future(take(updates, "a"))
        await until(lambda: len(asked(pair)) == 1)
        silent = next(seen for seen in pair.requests if "continuous" in seen.query).node
        pair.create("a")
        assert created(await waiting) == ["a"]
        assert updates.peer == pair.urls[1 - silent]


@pytest.mark.parametrize("sick", [0, 1])
async def test_peer_that_answers_500_is_left(pair: CouchDBDouble, sick: int) -> None:
    """A node that is there and cannot serve feeds, and a client that keeps to one peer otherwise."""
    couch = CouchDB(*pair.urls, username="admin", password="secret", balance="sticky")
    async with couch, following(couch) as updates:
        pair.inject(Status(500, "badmatch", "sick"), path="/_db_updates", node=sick, times=1000)
        pair.create("a")
        assert created(await take(updates, "a")) == ["a"]
        assert updates.peer == pair.urls[1 - sick]


async def test_peer_that_sends_no_headers(pair: CouchDBDouble, both: CouchDB) -> None:
    """Not even a head within three heartbeats: the other peer is asked."""
    async with following(both) as updates:
        pair.inject(Silence(after=None), path="/_db_updates")
        pair.create("a")
        assert created(await take(updates, "a")) == ["a"]


async def test_feed_across_a_restart(double: CouchDBDouble, couch: CouchDB) -> None:
    """The server goes away in the middle, and comes back: what happened before and after is told once."""
    async with following(couch) as updates:
        double.create("before")
        assert created(await take(updates, "before")) == ["before"]
        waiting = asyncio.ensure_future(take(updates, "after", within=20))
        await until(lambda: double.open_feeds == 1)
        await double.stop()
        double.create("after")
        await asyncio.sleep(0.3)
        await double.start()
        assert created(await waiting) == ["after"]


async def test_server_that_is_away_is_no_proxy_that_buffers(double: CouchDBDouble, couch: CouchDB) -> None:
    """It died before the head of its answer came, and stays away for longer than three heartbeats: the mode stays."""
    async with couch.db_updates(since=NOW, heartbeat=0.1) as updates:
        double.inject(Silence(after=None), path="/_db_updates", times=1)
        waiting = asyncio.ensure_future(take(updates, "after"))
        await until(lambda: len(asked(double)) == 1)
        await double.stop()
        await until(lambda: isinstance(updates.last_error, RequestTimeout))
        assert updates.mode == "continuous"
        double.create("after")
        await double.start()
        assert created(await waiting) == ["after"]
        assert updates.mode == "continuous"


async def test_feed_moves_when_its_node_dies(pair: CouchDBDouble, both: CouchDB) -> None:
    """Another node of the cluster goes on with the same cursor."""
    async with following(both) as updates:
        pair.create("a")
        assert created(await take(updates, "a")) == ["a"]
        assert updates.peer is not None
        dead = pair.urls.index(updates.peer)
        await pair.stop(dead)
        pair.create("b")
        assert created(await take(updates, "b")) == ["b"]
        assert updates.peer == pair.urls[1 - dead]


async def test_proxy_that_buffers_is_asked_by_long_polls(double: CouchDBDouble, couch: CouchDB) -> None:
    """Where a continuous feed brings not a byte, a long poll does."""
    double.inject(Silence(after=None), path="/_db_updates", times=1)
    async with couch.db_updates(since="0", heartbeat=0.1) as updates:
        double.create("a")
        assert created(await take(updates, "a")) == ["a"]
        assert updates.mode == "longpoll"
        double.create("b")
        assert created(await take(updates, "b")) == ["b"]
    polls = [options for options in asked(double) if options["feed"] == "longpoll"]
    assert polls
    # A heartbeat would not pass such a proxy: a poll ends by itself.
    assert all("heartbeat" not in options and options["timeout"] == "200" for options in polls)


@pytest.mark.parametrize(
    ("status", "error"), [(500, "timeout"), (500, "badmatch"), (503, "service_unavailable"), (429, "too_many_requests")]
)
async def test_refusals_that_heal_are_waited_for(
    double: CouchDBDouble, couch: CouchDB, status: int, error: str
) -> None:
    """A server that cannot at the moment is asked again."""
    double.inject(Status(status, error), path="/_db_updates", times=3)
    async with couch.db_updates(heartbeat=BEAT) as updates:
        double.create("a")
        assert "a" in created(await take(updates, "a"))
    assert len(asked(double)) == 4


async def test_retries_are_paced(double: CouchDBDouble, couch: CouchDB) -> None:
    """A server that ends every answer at once is not asked in a tight loop."""
    double.inject(Cut(after=0), path="/_db_updates", times=1000)
    async with couch.db_updates(heartbeat=BEAT) as updates:
        with pytest.raises(TimeoutError):
            await take(updates, "never", within=1.5)
    assert 2 <= len(asked(double)) <= 60


async def test_patience_ends_the_trying(double: CouchDBDouble, couch: CouchDB) -> None:
    """After so many seconds without an answer its last error is raised."""
    async with couch.db_updates(since=NOW, heartbeat=BEAT, patience=0.5) as updates:
        await double.stop()
        with pytest.raises(TransportError):
            async with asyncio.timeout(20):
                await anext(updates)


async def test_dead_server_is_waited_for(double: CouchDBDouble, couch: CouchDB) -> None:
    """Entering needs an answer where it starts from NOW; after that nothing is raised for a dead peer."""
    await double.stop()
    with pytest.raises(NoPeerAvailable):
        async with couch.db_updates(since=NOW):
            pass
    async with couch.db_updates(heartbeat=BEAT) as updates:
        waiting = asyncio.ensure_future(take(updates, "a", within=20))
        await asyncio.sleep(0.3)
        double.create("a")
        await double.start()
        assert "a" in created(await waiting)


async def test_row_of_three_megabytes(double: CouchDBDouble, couch: CouchDB, db: Database) -> None:
    """A document may be as large as it is."""
    double.write("invoices", {"_id": "large", "v": "x" * 3_000_000})
    async with db.changes(include_docs=True, heartbeat=5) as changes, asyncio.timeout(10):
        change = await anext(changes)
    assert len(change.document["v"]) == 3_000_000


async def test_large_row_cut_in_its_middle(double: CouchDBDouble, couch: CouchDB, db: Database) -> None:
    """It is read again from its beginning."""
    double.write("invoices", {"_id": "a"})
    double.write("invoices", {"_id": "large", "v": "x" * 3_000_000})
    double.inject(Cut(after=1_500_000), path="/invoices/_changes")
    async with db.changes(include_docs=True, heartbeat=5) as changes, asyncio.timeout(10):
        found = [await anext(changes), await anext(changes)]
    assert [change.id for change in found] == ["a", "large"]
    assert len(found[1].document["v"]) == 3_000_000


async def test_session_that_ran_out_is_renewed(double: CouchDBDouble) -> None:
    """A feed that has to be opened again with a cookie that ran out gets another one first."""
    double.config.setdefault("chttpd_auth", {})["timeout"] = "600"
    settings = {"username": "admin", "password": "secret", "auth": "session"}
    async with CouchDB(double.url, **settings) as couch:  # type: ignore[arg-type]
        async with following(couch) as updates:
            double.create("a")
            await take(updates, "a")
            double.advance(700)
            double.create("b")
            await take(updates, "b")
            waiting = asyncio.ensure_future(take(updates, "c"))
            await until(lambda: double.open_feeds == 1)
            await double.restart()
            double.create("c")
            assert created(await waiting) == ["c"]
    assert len([seen for seen in double.requests if seen.method == "POST" and seen.path == "/_session"]) == 2


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (b'{"error":"unauthorized","reason":"gone"}\n', Unauthorized),
        (b'{"error":"forbidden","reason":"gone"}\n', Forbidden),
        (b'{"error":"not_found","reason":"gone"}\n', NotFound),
    ],
)
async def test_error_inside_that_does_not_heal(row: bytes, kind: type[RequestRefused]) -> None:
    """An error that the server writes into an answer that began well is the same error."""
    async with raw_server(lambda _: [head() + chunk(row)]) as raw, CouchDB(raw.url) as couch:
        async with couch.db_updates(heartbeat=BEAT) as updates:
            with pytest.raises(kind, match="gone"):
                await anext(updates)


async def test_error_inside_that_heals() -> None:
    """Any other is tried again, at the last whole row."""
    first = chunk(b'{"db_name":"a","type":"created","seq":"1-x"}\n') + chunk(b'{"error":"timeout","reason":"late"}\n')
    second = chunk(b'{"db_name":"b","type":"created","seq":"2-x"}\n')

    def answer(path: str) -> list[bytes | None]:
        return [head() + (second if "since=1-x" in path else first)]

    async with raw_server(answer) as raw, CouchDB(raw.url) as couch:
        async with couch.db_updates(heartbeat=BEAT) as updates:
            assert [(await anext(updates)).name, (await anext(updates)).name] == ["a", "b"]
            assert "timeout: late" in str(updates.last_error)


async def test_garbage_in_the_body_is_no_row() -> None:
    """What does not read is asked for again, never left out."""
    pieces = iter(
        [b'{"db_name":"a","type":"created","seq":"1-x"}\n<html>\n', b'{"db_name":"b","type":"x","seq":"2-x"}\n']
    )
    async with raw_server(lambda _: [head() + chunk(next(pieces))]) as raw, CouchDB(raw.url) as couch:
        async with couch.db_updates(heartbeat=BEAT) as updates:
            events = [await anext(updates), await anext(updates)]
    assert [event.name for event in events] == ["a", "b"]
    assert "since=1-x" in raw.paths[1]
    # A kind that is not known is kept.
    assert events[1].kind.value == "x"


async def test_idle_feed_moves_its_cursor() -> None:
    """Where nothing fits, the server's own last_seq is the cursor, so that a restart does not look at all again."""

    def answer(path: str) -> list[bytes | None]:
        if "since=9-x" in path:
            return [head()]
        return [whole(b'{"results":[\n\n],\n"last_seq":"9-x","pending":3}\n')]

    async with raw_server(answer) as raw, CouchDB(raw.url) as couch:
        async with couch.db_updates(feed="longpoll", heartbeat=5) as updates:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await anext(updates)
            assert updates.seq == "9-x"
            assert updates.pending == 3


async def test_end_without_the_last_chunk_is_an_end() -> None:
    """What comes behind `last_seq` matters to nobody."""

    def answer(path: str) -> list[bytes | None]:
        if "since=9-x" in path:
            return [head()]
        return [head() + chunk(b'{"db_name":"a","type":"created","seq":"1-x"}\n{"last_seq":"9-x"}\n'), None]

    async with raw_server(answer) as raw, CouchDB(raw.url) as couch:
        async with couch.db_updates(heartbeat=5) as updates:
            assert (await anext(updates)).name == "a"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await anext(updates)
            assert updates.seq == "9-x"
            assert updates.last_error is None


async def test_start_that_is_not_told() -> None:
    """A server that does not say where NOW is: the feed does not begin at the beginning instead."""
    async with raw_server(lambda _: [whole(b'{"results":[]}')]) as raw, CouchDB(raw.url) as couch:
        with pytest.raises(DecodeError, match="last_seq"):
            async with couch.db_updates(since=NOW):
                pass


async def test_longest_pause_is_five_seconds() -> None:
    """What the documents say."""
    assert LONGEST_PAUSE == 5.0


async def test_server_that_refuses_connections_is_not_lost(pair: CouchDBDouble, both: CouchDB) -> None:
    """A node that closes without an answer is left for the other one."""
    async with following(both) as updates:
        pair.inject(Refuse(), path="/_db_updates", times=3)
        pair.create("a")
        assert created(await take(updates, "a")) == ["a"]


@pytest.mark.parametrize("received", [300, 700, 1100])
async def test_network_that_cuts(double: CouchDBDouble, received: int) -> None:
    """Between the server and the client, at any byte."""
    names = [f"n{number:02}" for number in range(12)]
    for name in names:
        double.create(name)
    await asyncio.sleep(5 * double.delay)
    async with TCPProxy(double.url) as proxy, CouchDB(proxy.url, username="admin", password="secret") as couch:
        proxy.cut_after(received=received, match=b"feed=continuous")
        async with couch.db_updates(heartbeat=BEAT) as updates:
            assert sorted(created(await take(updates, *names))) == names
        assert proxy.accepted >= 2


async def test_network_that_falls_silent(pair: CouchDBDouble) -> None:
    """Neither an end nor a byte, of the feed as of all else: the other node goes on."""
    async with (
        TCPProxy(pair.urls[0]) as proxy,
        CouchDB(proxy.url, pair.urls[1], username="admin", password="secret", timeout=2) as couch,
    ):
        async with following(couch) as updates:
            waiting = asyncio.ensure_future(take(updates, "a", within=20))
            await until(lambda: pair.open_feeds == 1)
            if updates.peer == pair.urls[1]:
                await pair.restart(1)
                await until(lambda: updates.peer == proxy.url and pair.open_feeds == 1)
            proxy.stall()
            pair.create("a")
            assert created(await waiting) == ["a"]
            assert updates.peer == pair.urls[1]
            proxy.resume()
