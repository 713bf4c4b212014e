"""A queue as its watch tells it, on a store that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from msgspec.structs import replace
from told import Told, playing, settle, take

from aetcd.errors import ConnectFailed, HistoryLost, PermissionDenied
from aetcd.etcd._entries import Entry
from aetcd.recipes import _queues
from aetcd.recipes._contenders import alone
from aetcd.recipes._election import Election
from aetcd.recipes._queues import Place, line_of


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    async with playing() as store:
        yield store


@pytest.mark.parametrize("error", [HistoryLost("compacted"), ConnectFailed("cut")], ids=["history lost", "cut"])
async def test_what_a_broken_watch_did_not_tell_is_read(
    told: Told, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss of history or of the connection, all who wait are told what the next read shows."""
    monkeypatch.setattr(_queues, "pause", lambda failures: asyncio.sleep(0, failures))
    before, own, other = told.put("a"), told.put("b"), told.put("c")
    line = line_of(told, "q")
    place, noticed = take(line, own)
    unlucky, unlucky_noticed = take(line, other)
    await settle()
    assert not noticed.is_set()
    told.remove(before)
    told.remove(other)
    told.news.put_nowait(error)
    async with asyncio.timeout(5):
        await noticed.wait()
        await unlucky_noticed.wait()
    assert (place.admitted, place.gone) == (True, False)
    assert (unlucky.admitted, unlucky.gone) == (False, True)
    assert told.watches == 2


async def test_only_the_next_one_is_woken(told: Told) -> None:
    """One that leaves in the middle, or at the front, is news to nobody but who is then in front."""
    entries = [told.put(name) for name in "abcde"]
    line = line_of(told, "q")
    taken = [take(line, entry) for entry in entries[1:]]
    await settle()
    told.remove(entries[2])
    told.tell("delete", "q/c")
    await settle()
    assert [noticed.is_set() for _, noticed in taken] == [False, True, False, False]  # it was its own end
    assert taken[1][0].gone
    told.remove(entries[0])
    told.tell("delete", "q/a")
    await settle()
    assert [noticed.is_set() for _, noticed in taken] == [True, True, False, False]
    assert taken[0][0].admitted
    assert told.reads == 1


async def test_two_that_end_at_one_revision(told: Told) -> None:
    """As the entries of one session do: the second is seen too."""
    first, second, own = told.put("a"), told.put("b"), told.put("c")
    place, noticed = take(line_of(told, "q"), own)
    await settle()
    told.entries.remove(first)
    told.remove(second)
    told.tell("delete", "q/a")
    told.tell("delete", "q/b")
    async with asyncio.timeout(5):
        await noticed.wait()
    assert place.admitted


async def test_changes_that_the_read_has_shown_are_not_applied_again(told: Told) -> None:
    """A deletion that the watch tells of late must not take a later entry of that name away."""
    old = told.put("a")
    told.remove(old)
    deleted_at = told.revision
    own = told.put("a")
    line = line_of(told, "q")
    place, _ = take(line, own)
    told.tell("delete", "q/a", revision=deleted_at)
    await settle()
    assert (place.admitted, place.gone) == (True, False)
    assert line.first == own
    assert line.revision == own.created_revision


async def test_one_that_is_newer_than_what_is_known(told: Told) -> None:
    """It is not taken for gone: the watch will tell of it yet."""
    told.put("a")
    line = line_of(told, "q")
    take(line, told.entries[0])
    await settle()
    own = told.put("b")
    place, _ = take(line, own)
    assert not place.gone
    told.tell("put", own.key, created=own.created_revision)
    told.remove(told.entries[0])
    told.tell("delete", "q/a")
    await settle()
    assert (place.admitted, place.gone) == (True, False)
    assert told.reads == 1


async def test_an_entry_made_anew_is_another_one(told: Told) -> None:
    """Who writes over an entry makes it another's, at the end of the queue."""
    first, own = told.put("a"), told.put("b")
    line = line_of(told, "q")
    place, _ = take(line, first)
    behind, _ = take(line, own)
    await settle()
    told.revision += 1
    told.tell("put", first.key, created=told.revision)
    await settle()
    assert place.gone
    assert behind.admitted
    assert [entry.key for entry in line._entries.values()] == [own.key, first.key]


async def test_a_change_that_tells_too_little_is_read(told: Told) -> None:
    """An update of what was never seen, or the end of the directory, has the queue read again."""
    own = told.put("a")
    place, noticed = take(line_of(told, "q"), own)
    await settle()
    told.entries.append(Entry(key="q/z", raw=b"", created_revision=1, modified_revision=9))
    told.revision = 9
    told.tell("put", "q/z", created=1)
    await settle()
    assert told.reads == 2
    told.entries.clear()
    told.revision = 12
    told.tell("delete", "q", revision=11)
    async with asyncio.timeout(5):
        while not place.gone:
            await noticed.wait()
            await settle()
    assert told.reads == 3


async def test_entries_of_a_queue_below_are_not_its_own(told: Told) -> None:
    """`q/deep` is a queue of its own, under a name that begins with `q/`."""
    own = told.put("a")
    line = line_of(told, "q")
    take(line, own)
    await settle()
    told.tell("put", "q/deep/x", created=9, revision=9)
    told.tell("delete", "q/deep/x", revision=10)
    await settle()
    assert list(line._entries) == [own.key]
    assert told.reads == 1


async def test_what_ends_the_watch_for_good_is_told_to_all(told: Told) -> None:
    """Nobody waits for a turn that will not be told. Who comes later has a new watch."""
    told.put("a")
    own = told.put("b")
    line = line_of(told, "q")
    place, noticed = take(line, own)
    changed = asyncio.Event()
    line.look_on(changed)
    await settle()
    changed.clear()
    error = PermissionDenied("no longer")
    told.news.put_nowait(error)
    async with asyncio.timeout(5):
        await noticed.wait()
        await changed.wait()
    assert place.error is error
    assert line.error is error
    again = line_of(told, "q")
    assert again is not line
    take(again, own)
    await settle()
    assert told.watches == 2


async def test_it_lingers_for_who_comes_back(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends when nobody has used it for a while, and only then."""
    monkeypatch.setattr(_queues, "LINGER", 0.3)
    own = told.put("a")
    line = line_of(told, "q")
    clock = asyncio.get_running_loop().time
    held, _ = take(line, own)
    await asyncio.sleep(0.7)
    assert line_of(told, "q") is line, "somebody uses it"
    line.leave(held)
    until = clock() + 0.8
    while clock() < until:
        place, _ = take(line, own)
        line.leave(place)
        await asyncio.sleep(0.01)
        assert line_of(told, "q") is line
    async with asyncio.timeout(5):
        while line_of(told, "q") is line:
            await asyncio.sleep(0.01)
        await asyncio.wait([told.jobs[0]])
    assert told.watches == 1


async def test_the_heir_is_who_is_next_for_certain(told: Told) -> None:
    """Only of the one in front is it known who follows; not of one whose predecessor may still stand."""
    first, second, third = (told.put(name) for name in "abc")
    line = line_of(told, "q")
    one, two, three = (take(line, entry)[0] for entry in (first, second, third))
    assert line.heir(one) is None, "nothing is known yet"
    await settle()
    assert line.heir(one) is two
    assert line.heir(two) is None
    line.leave(one)
    line.removed(one, two)
    assert (two.confirmed, two.admitted) == (True, True)
    assert line.heir(two) is three
    line.leave(three)
    assert line.heir(two) is None, "it has left: its entry is on its way out"
    assert line.heir(Place(replace(second, created_revision=99), alone, lambda: None)) is None


async def test_an_observer_never_goes_back(told: Told) -> None:
    """What the watch tells of the time before the observer's first answer, that answer has shown the outcome of."""
    old = told.put("a")
    line = line_of(told, "q")
    take(line, old)
    await settle()
    told.remove(old)
    new = told.put("b")
    seen: list[str | None] = []

    async def observe() -> None:
        async with aclosing(Election(told, "q", encode=lambda value: b"").observe()) as leaders:
            async for leader in leaders:
                seen.append(leader.name if leader else None)

    observing = asyncio.ensure_future(observe())
    await settle()
    told.tell("delete", "q/a", revision=2)
    await settle()
    told.tell("put", "q/b", created=3, revision=3)
    await settle()
    told.remove(new)
    told.tell("delete", "q/b")
    await settle()
    assert seen == ["q/b", None]
    observing.cancel()
    await asyncio.wait([observing])
