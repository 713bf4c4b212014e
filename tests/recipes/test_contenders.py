"""A contender, on a store that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from told import Told, playing, settle, take

import aetcd
from aetcd.errors import ConnectFailed
from aetcd.recipes import _contenders
from aetcd.recipes._contenders import Contender
from aetcd.recipes._queues import line_of


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    async with playing() as store:
        yield store


async def waiting(told: Told) -> tuple[Contender, asyncio.Future[None]]:
    """One who waits behind another."""
    told.put("a")
    contender = Contender(told, "q", b"", 30)
    task = asyncio.ensure_future(contender.win(None))
    await settle()
    assert not task.done()
    return contender, task


async def test_it_looks_for_its_own_entry_before_it_trusts(told: Told) -> None:
    """The watch may be behind: one whose own entry is gone must not believe that its turn has come."""
    contender, winning = await waiting(told)
    told.answers.append(False)
    told.remove(told.entries[0])
    told.tell("delete", "q/a")
    with pytest.raises(aetcd.SessionLost, match="q/own"):
        await asyncio.wait_for(winning, 5)
    assert not contender.held
    assert told.entries == []


async def test_who_enters_a_crowded_queue_is_told_by_the_line(told: Told) -> None:
    """The queue is not listed for it; its turn comes all the same, also where those before have left meanwhile."""
    first, second = told.put("a"), told.put("b")
    take(line_of(told, "q"), first)
    await settle()
    reads = told.reads
    told.remove(first)
    told.remove(second)
    told.answers.append(True)
    contender = Contender(told, "q", b"", 30)
    winning = asyncio.ensure_future(contender.win(None))
    await settle()
    assert not winning.done()
    told.tell("delete", "q/a", revision=3)
    told.tell("delete", "q/b", revision=4)
    told.tell("put", "q/own", created=5, revision=5)
    await asyncio.wait_for(winning, 5)
    assert contender.held
    assert told.reads == reads
    await contender.leave()


async def test_who_would_not_wait_does_not_ask_the_line(told: Told) -> None:
    """The line may be behind: one that tries once is told by the server itself that the place is free."""
    first, second = told.put("a"), told.put("b")
    take(line_of(told, "q"), first)
    await settle()
    told.remove(first)
    told.remove(second)
    contender = Contender(told, "q", b"", 30)
    await asyncio.wait_for(contender.win(0), 5)
    assert contender.held
    await contender.leave()


async def test_it_looks_again_where_no_peer_answers(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither trusts nor gives up while its session lasts."""
    monkeypatch.setattr(_contenders, "pause", lambda failures: asyncio.sleep(0, failures))
    contender, winning = await waiting(told)
    told.answers += [ConnectFailed("cut"), ConnectFailed("cut"), True]
    told.remove(told.entries[0])
    told.tell("delete", "q/a")
    await asyncio.wait_for(winning, 5)
    assert contender.held
    assert told.answers == []
    await contender.leave()


async def test_a_session_that_ends_while_it_waits(told: Told) -> None:
    """It is told at once, and what it had is ended."""
    contender, winning = await waiting(told)
    told.sessions[0].lost.set()
    with pytest.raises(aetcd.SessionLost):
        await asyncio.wait_for(winning, 5)
    assert contender.lost
    assert told.sessions[0].closed


async def test_an_entry_of_open_fate_ends_with_its_session(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no answer told whether it was created, the session is not used again but ended."""

    async def cut(*_: object) -> None:
        raise ConnectFailed("cut")

    monkeypatch.setattr(Told, "join", cut)
    with pytest.raises(ConnectFailed):
        await Contender(told, "q", b"", 30).win(None)
    assert told.sessions[0].closed


async def test_a_lost_session_is_not_used_again(told: Told) -> None:
    """Neither one that was lost in use nor one that was lost while nobody used it."""
    for lose in (True, False):
        contender = Contender(told, "q", b"", 30)
        await contender.win(None)
        session = told.sessions[-1]
        if lose:
            session.lost.set()
            await settle()
            assert contender.lost
            told.entries.clear()
        await contender.leave()
        session.lost.set()
    await Contender(told, "q", b"", 30).win(None)
    assert len(told.sessions) == 3
    assert told.sessions[0].closed


async def test_a_release_that_is_cancelled_ends_the_session(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry may still stand, and renewed it would do so for ever."""
    contender = Contender(told, "q", b"", 30)
    await contender.win(None)

    async def never(*_: object) -> bool:
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(Told, "leave", never)
    leaving = asyncio.ensure_future(contender.leave())
    await settle()
    leaving.cancel()
    await asyncio.wait([leaving])
    await settle()
    assert leaving.cancelled()
    assert told.sessions[0].closed
