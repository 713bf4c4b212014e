"""Locks, elections and sessions: one suite on both protocols."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress

import pytest

import aetcd
from aetcd._trust import boot_clock

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]


class Clock:
    """The machine's, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return boot_clock() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(connect: Connect, prefix: str, clock: Clock) -> aetcd.Client:
    """A client that judges its trust by a clock that the test can put forward."""
    return await connect(namespace=prefix, clock=clock)


async def places(client: aetcd.Client, name: str) -> Sequence[str]:
    """The keys of those who stand in a queue, the first of them in front."""
    return [entry.key for entry in (await client._store().queue(name)).entries]


async def until_queued(client: aetcd.Client, name: str, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await places(client, name)) != count:
            await asyncio.sleep(0.005)


async def cancelled(task: asyncio.Future[object]) -> None:
    """Cancel a task and wait for its end, whatever that is."""
    task.cancel()
    await asyncio.wait([task])


# Lock: mutual exclusion


async def through(lock: aetcd.Lock, inside: list[int], tokens: list[int]) -> None:
    async with lock:
        inside.append(1)
        assert len(inside) == 1
        assert lock.held
        tokens.append(lock.fencing_token)
        await asyncio.sleep(0.002)
        assert lock.held
        inside.pop()


async def test_ten_tasks_through_one_lock(client: aetcd.Client) -> None:
    """Tasks that share one object take turns, each with a larger token than the one before."""
    lock = client.lock("job")
    inside: list[int] = []
    tokens: list[int] = []
    async with asyncio.timeout(30):
        await asyncio.gather(*(through(lock, inside, tokens) for _ in range(10)))
    assert len(tokens) == 10
    assert tokens == sorted(set(tokens))
    assert await places(client, "job") == []


async def test_ten_tasks_through_locks_of_two_clients(client: aetcd.Client, connect: Connect, prefix: str) -> None:
    """Locks of one name are one lock, whoever made them."""
    other = await connect(namespace=prefix)
    inside: list[int] = []
    tokens: list[int] = []
    async with asyncio.timeout(30):
        await asyncio.gather(*(through((client, other)[n % 2].lock("job"), inside, tokens) for n in range(10)))
    assert len(tokens) == 10
    assert tokens == sorted(set(tokens))
    assert await places(client, "job") == []


async def test_locks_of_other_names(client: aetcd.Client) -> None:
    """They are nothing to each other."""
    async with asyncio.timeout(10), client.lock("job") as one, client.lock("job-2") as two, client.lock("jo") as three:
        assert one.held
        assert two.held
        assert three.held


async def test_first_come_first_served(client: aetcd.Client) -> None:
    """Contenders get the lock in the order in which they came."""
    order: list[int] = []

    async def contend(n: int) -> None:
        async with client.lock("job"):
            order.append(n)

    async with asyncio.timeout(20):
        async with client.lock("job"):
            tasks = []
            for n in range(5):
                tasks.append(asyncio.ensure_future(contend(n)))
                await until_queued(client, "job", n + 2)
        await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_one_object_again_and_again(client: aetcd.Client) -> None:
    """A lock that was left can be taken again."""
    lock = client.lock("job")
    tokens = []
    for _ in range(3):
        async with lock as held:
            assert held is lock
            tokens.append(lock.fencing_token)
        assert not lock.held
    assert tokens == sorted(set(tokens))


async def test_held_for_longer_than_its_ttl(client: aetcd.Client) -> None:
    """Locks, leaderships and sessions are renewed for as long as they are wanted."""
    async with (
        client.lock("job", ttl=2) as lock,
        client.election("post", ttl=2) as leadership,
        client.session(ttl=2) as session,
    ):
        await client.set("tied", "x", session=session)
        await asyncio.sleep(session.granted_ttl + 0.7)
        assert lock.held
        assert leadership.held
        assert session.held
        assert not any((lock.lost, leadership.lost, session.lost))
        assert await client.get("tied") == "x"
        assert len(await places(client, "job")) == len(await places(client, "post")) == 1


# Lock: waiting


@pytest.mark.parametrize("timeout", [0, 0.2])
async def test_a_lock_that_is_not_had_in_time(client: aetcd.Client, timeout: float) -> None:
    """LockTimeout, which is a TimeoutError: the block is not run, and nothing is left in the queue."""
    async with client.lock("job"):
        (holder,) = await places(client, "job")
        ran = False
        with pytest.raises(aetcd.LockTimeout, match="job") as caught:
            async with client.lock("job", timeout=timeout):
                ran = True
        assert not ran
        assert isinstance(caught.value, TimeoutError)
        with pytest.raises(aetcd.LockTimeout):
            await client.lock("job").acquire(timeout=timeout)
        assert await places(client, "job") == [holder]


@pytest.mark.parametrize("timeout", [0, 5])
async def test_a_free_lock_is_had_in_time(client: aetcd.Client, timeout: float) -> None:
    """Whoever would not wait gets it where nobody holds it."""
    async with client.lock("job", timeout=timeout) as lock:
        assert lock.held


async def test_the_next_one_need_not_wait_for_those_who_gave_up(client: aetcd.Client) -> None:
    """A waiter whose predecessor leaves the queue waits for the one ahead of that."""
    async with asyncio.timeout(20):
        async with client.lock("job"):
            second = asyncio.ensure_future(client.lock("job").acquire())
            await until_queued(client, "job", 2)
            third = client.lock("job")
            waiting = asyncio.ensure_future(third.acquire())
            await until_queued(client, "job", 3)
            await cancelled(second)
            await until_queued(client, "job", 2)
            for _ in range(20):
                await asyncio.sleep(0.002)
                assert not waiting.done()
        await waiting
        assert third.held
        await third.release()


@pytest.mark.parametrize("is_free", [True, False], ids=["free", "held"])
async def test_cancelled_acquire_leaves_no_orphan(client: aetcd.Client, is_free: bool) -> None:
    """At whichever step a contender gives up, it does not stand in the queue afterwards."""
    holder = client.lock("job")
    if not is_free:
        await holder.acquire()
    before = await places(client, "job")
    gave_up = took = 0
    for steps in itertools.chain(range(40), range(40, 120, 4), range(120, 600, 40)):
        lock = client.lock("job", ttl=60)
        acquiring = asyncio.ensure_future(lock.acquire())
        for _ in range(steps):
            await asyncio.sleep(0)
        if acquiring.done():
            took += 1
            await lock.release()
        else:
            gave_up += 1
            await cancelled(acquiring)
        assert await places(client, "job") == before, f"after {steps} steps"
    assert gave_up >= 3  # how many steps an acquire takes depends on how much each turn of the loop brings
    if not is_free:
        assert took == 0
        await holder.release()


async def test_cancelled_block_releases(client: aetcd.Client) -> None:
    """A holder that is cancelled leaves the lock to the next one, and ends as cancelled."""
    entered = asyncio.Event()

    async def hold() -> None:
        async with client.lock("job"):
            entered.set()
            await asyncio.Event().wait()

    holding = asyncio.ensure_future(hold())
    await entered.wait()
    await cancelled(holding)
    assert holding.cancelled()
    async with client.lock("job", timeout=0):
        pass


async def test_timeout_around_a_lock(client: aetcd.Client) -> None:
    """`asyncio.timeout` around waiting or around the block works as around anything else."""
    async with client.lock("job"):
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.1):
                await client.lock("job").acquire()
        assert not isinstance(caught.value, aetcd.LockTimeout)
        assert len(await places(client, "job")) == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), client.lock("job"):
            await asyncio.Event().wait()
    assert await places(client, "job") == []


# Lock: loss


async def test_a_deleted_entry_ends_the_block(client: aetcd.Client) -> None:
    """The block is cancelled, its clean-up runs, and LockLost is raised at its end."""
    cleaned = False

    async def hold() -> None:
        nonlocal cleaned
        async with asyncio.timeout(10), client.lock("job"):
            (own,) = await places(client, "job")
            try:
                await client.delete(own)
                await asyncio.Event().wait()
            finally:
                cleaned = True

    with pytest.raises(aetcd.LockLost, match="job"):
        await hold()
    assert cleaned
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    assert await places(client, "job") == []


async def test_a_lost_session_ends_the_block(
    client: aetcd.Client, timed: aetcd.Client, clock: Clock, protocol: str
) -> None:
    """Where the session cannot be trusted any more, the lock cannot: by the clock, or by the server's word."""

    async def hold_for_too_long() -> None:
        async with asyncio.timeout(10), timed.lock("job", ttl=30) as lock:
            assert lock.held
            clock.ahead += 31
            assert not lock.held
            await asyncio.Event().wait()

    async def lose_the_lease() -> None:
        async with asyncio.timeout(10), client.lock("job", ttl=5):
            (own,) = await places(client, "job")
            found = await client.get(own, full=True)
            assert found is not None
            assert found.node.lease is not None
            await client.v3.lease.revoke(found.node.lease)
            await asyncio.Event().wait()

    with pytest.raises(aetcd.LockLost):
        await hold_for_too_long()
    assert await places(client, "job") == []
    if protocol == "v3":
        with pytest.raises(aetcd.LockLost):
            await lose_the_lease()


async def test_a_block_that_ended_by_itself_too_late(timed: aetcd.Client, clock: Clock) -> None:
    """LockLost, though the block noticed nothing."""
    done = False

    async def hold() -> None:
        nonlocal done
        async with timed.lock("job", ttl=30):
            clock.ahead += 31
            done = True

    with pytest.raises(aetcd.LockLost):
        await hold()
    assert done
    assert await places(timed, "job") == []


async def test_an_exception_of_the_block(client: aetcd.Client) -> None:
    """It reaches the caller as it is, and the lock is left."""
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with client.lock("job"):
            raise error
    assert caught.value is error
    assert await places(client, "job") == []


async def test_an_exception_of_a_block_that_lost_its_lock(timed: aetcd.Client, clock: Clock) -> None:
    """It is the cause of the LockLost."""
    error = LookupError("mine")

    async def fail_too_late() -> None:
        async with timed.lock("job", ttl=30):
            clock.ahead += 31
            raise error

    async def fail_when_cancelled() -> None:
        async with asyncio.timeout(10), timed.lock("job", ttl=30):
            (own,) = await places(timed, "job")
            try:
                await timed.delete(own)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise error from None

    for block in (fail_too_late, fail_when_cancelled):
        with pytest.raises(aetcd.LockLost) as caught:
            await block()
        assert caught.value.__cause__ is error


async def test_flag_only(client: aetcd.Client) -> None:
    """With `on_lost="flag"` the block goes on to its end, and only `lost` is set."""
    async with asyncio.timeout(10), client.lock("job", on_lost="flag") as lock:
        assert not lock.lost
        (own,) = await places(client, "job")
        await client.delete(own)
        await lock.lost.wait()
        assert lock.lost.is_set()
        assert not lock.held
        await asyncio.sleep(0.01)
    assert await places(client, "job") == []


async def test_cancellation_from_outside_wins(client: aetcd.Client, timed: aetcd.Client, clock: Clock) -> None:
    """A task that is cancelled ends as cancelled, also where its lock is lost at the same moment."""
    for lose in ("before", "after"):
        entered = asyncio.Event()

        async def hold(entered: asyncio.Event) -> None:
            async with timed.lock("job", ttl=30) as lock:
                lost = lock.lost
                entered.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                await lost.wait()
                raise asyncio.CancelledError

        holding = asyncio.ensure_future(hold(entered))
        await entered.wait()
        if lose == "before":
            clock.ahead += 31
        holding.cancel()
        clock.ahead += 31
        await asyncio.wait([holding], timeout=10)
        assert holding.cancelled(), lose
        assert await places(client, "job") == []


async def test_closing_the_client_ends_the_trust(connect: Connect, prefix: str, client: aetcd.Client) -> None:
    """A lock that nobody renews or watches any more is lost, and its block cancelled."""
    closing = await connect(namespace=prefix)

    async def hold() -> None:
        async with asyncio.timeout(10), closing.lock("job", ttl=5):
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    holding = asyncio.ensure_future(hold())
    await entered.wait()
    await closing.aclose()
    with pytest.raises(aetcd.LockLost):
        await holding


# Lock: without a block


async def test_acquire_and_release(client: aetcd.Client) -> None:
    """A lock can be held without a block."""
    lock = client.lock("job")
    await lock.acquire()
    assert lock.held
    assert lock.fencing_token > 0
    assert not lock.lost
    assert len(await places(client, "job")) == 1
    await lock.release()
    assert not lock.held
    assert await places(client, "job") == []


async def test_release_of_what_is_lost(client: aetcd.Client) -> None:
    """After a bare `acquire()` loss sets `lost`, and `release()` raises, once."""
    lock = client.lock("job")
    await lock.acquire()
    (own,) = await places(client, "job")
    await client.delete(own)
    async with asyncio.timeout(10):
        await lock.lost.wait()
    assert not lock.held
    with pytest.raises(aetcd.LockLost):
        await lock.release()
    with pytest.raises(aetcd.NotOwner):
        await lock.release()


async def test_what_is_not_held(client: aetcd.Client) -> None:
    """It cannot be released, and has no token."""
    lock = client.lock("job")
    assert lock.held is False
    with pytest.raises(aetcd.NotOwner, match="job"):
        await lock.release()
    with pytest.raises(aetcd.NotOwner, match="job"):
        lock.fencing_token
    with pytest.raises(aetcd.NotOwner, match="job"):
        lock.lost
    async with lock:
        pass
    with pytest.raises(aetcd.NotOwner):
        await lock.release()


async def test_it_is_not_re_entrant(client: aetcd.Client) -> None:
    """The holder that asks again is told so at once, and stays the holder."""
    lock = client.lock("job")
    async with lock:
        token = lock.fencing_token
        with pytest.raises(aetcd.CoordinationError, match="job"):
            await lock.acquire()
        with pytest.raises(aetcd.CoordinationError, match="job"):
            async with lock:
                pass
        assert lock.held
        assert lock.fencing_token == token
        assert len(await places(client, "job")) == 1


async def test_what_is_shown_of_a_lock(client: aetcd.Client) -> None:
    """Its name, and whether it is held."""
    lock = client.lock("job", ttl=20)
    assert repr(lock) == "<Lock 'job' not held ttl=20>"
    async with lock:
        assert repr(lock) == "<Lock 'job' held ttl=20>"


# Election


async def test_a_leader_is_seen_by_all(client: aetcd.Client, connect: Connect, prefix: str) -> None:
    """`leader()` tells name, value and token of who leads, and None where nobody does."""
    other = await connect(namespace=prefix)
    election = client.election("post", value="host-1")
    assert await other.election("post").leader() is None
    async with election as leadership:
        assert leadership.held
        leader = await other.election("post").leader()
        assert leader is not None
        assert (leader.value, leader.revision) == ("host-1", leadership.fencing_token)
        assert [leader.name] == list(await places(client, "post"))
        await leadership.proclaim("host-1, busy")
        again = await election.leader()
        assert again == aetcd.Leader(name=leader.name, value="host-1, busy", revision=leader.revision)
        await leadership.proclaim({"load": 1})
        again = await election.leader()
        assert again is not None
        assert again.value == '{"load":1}'
    assert await election.leader() is None


async def test_the_next_in_line_takes_over(client: aetcd.Client) -> None:
    """When a leader resigns, or its block ends, the next leads, with a larger token."""
    terms: list[tuple[str, int]] = []

    async def stand(name: str) -> None:
        async with client.election("post", value=name) as leadership:
            terms.append((name, leadership.fencing_token))
            leader = await client.election("post").leader()
            assert leader is not None
            assert leader.value == name

    async with asyncio.timeout(20):
        first = await client.election("post", value="first").campaign()
        tasks = []
        for n, name in enumerate(("second", "third"), start=2):
            tasks.append(asyncio.ensure_future(stand(name)))
            await until_queued(client, "post", n)
        assert terms == []
        await first.resign()
        await asyncio.gather(*tasks)
    assert [name for name, _ in terms] == ["second", "third"]
    assert first.fencing_token < terms[0][1] < terms[1][1]


async def test_resigning(client: aetcd.Client) -> None:
    """It ends the term, within its block too, which then ends as it likes; a second time changes nothing."""
    async with client.election("post") as leadership:
        await leadership.resign()
        assert not leadership.held
        assert await client.election("post").leader() is None
        with pytest.raises(aetcd.LeadershipLost):
            await leadership.proclaim("still me")
        await leadership.resign()
        await asyncio.sleep(0.01)
    assert await places(client, "post") == []


async def test_observe(client: aetcd.Client) -> None:
    """Who leads now, then each one who does; None in between."""
    seen: list[str | None] = []

    async def observe() -> None:
        async with aclosing(client.election("post").observe()) as leaders:
            async for leader in leaders:
                seen.append(leader.value if leader else None)
                changed.set()
                if leader and leader.value == "end":
                    return

    async def shown(value: str | None) -> None:
        while not seen or seen[-1] != value:
            changed.clear()
            await changed.wait()

    changed = asyncio.Event()
    async with asyncio.timeout(20):
        observing = asyncio.ensure_future(observe())
        await shown(None)
        async with client.election("post", value="one") as leadership:
            await shown("one")
            await leadership.proclaim("two")
            await shown("two")
            with pytest.raises(aetcd.LockTimeout):
                await client.election("post", value="waits").campaign(timeout=0.1)
            await leadership.proclaim("three")
            await shown("three")
        await shown(None)
        async with client.election("post", value="end"):
            await observing
    assert seen == [None, "one", "two", "three", None, "end"]


@pytest.mark.parametrize("on_lost", ["cancel", "flag"])
async def test_a_lost_leadership(client: aetcd.Client, on_lost: str) -> None:
    """Its block is cancelled and LeadershipLost raised, or only `lost` set."""
    went_on = False

    async def lead() -> None:
        nonlocal went_on
        async with asyncio.timeout(10), client.election("post", on_lost=on_lost) as leadership:
            (own,) = await places(client, "post")
            await client.delete(own)
            await leadership.lost.wait()
            await asyncio.sleep(0)
            assert not leadership.held
            went_on = True

    if on_lost == "flag":
        await lead()
    else:
        with pytest.raises(aetcd.LeadershipLost, match="post"):
            await lead()
    assert went_on is (on_lost == "flag")
    assert await places(client, "post") == []


async def test_a_leadership_lost_by_the_clock(timed: aetcd.Client, clock: Clock) -> None:
    """It is lost the moment its trust ends, also where the block noticed nothing; nothing more is proclaimed."""

    async def lead_for_too_long() -> None:
        async with timed.election("post", ttl=30) as leadership:
            clock.ahead += 31
            assert not leadership.held

    with pytest.raises(aetcd.LeadershipLost):
        await lead_for_too_long()
    async with timed.election("post", ttl=30, on_lost="flag") as leadership:
        clock.ahead += 31
        with pytest.raises(aetcd.LeadershipLost):
            await leadership.proclaim("still me")


async def test_a_candidate_that_gives_up(client: aetcd.Client) -> None:
    """After a time-out or a cancellation it no longer stands in the queue."""
    async with client.election("post"):
        (leader,) = await places(client, "post")
        for timeout in (0, 0.1):
            with pytest.raises(aetcd.LockTimeout):
                async with client.election("post", timeout=timeout):
                    pytest.fail("two leaders")
        for steps in range(0, 200, 10):
            campaign = asyncio.ensure_future(client.election("post").campaign())
            for _ in range(steps):
                await asyncio.sleep(0)
            await cancelled(campaign)
            assert await places(client, "post") == [leader]


async def test_one_candidate_stands_once(client: aetcd.Client) -> None:
    """An election object has one block at a time, and may have another after it."""
    election = client.election("post")
    async with election:
        with pytest.raises(aetcd.CoordinationError, match="post"):
            async with election:
                pass
        assert "leading" in repr(election)
    async with election as leadership:
        assert f"token {leadership.fencing_token}" in repr(leadership)


# Session


async def test_keys_of_a_session(client: aetcd.Client) -> None:
    """They are there as long as its block, and gone when it is left."""
    await client.set("mine", "x")
    async with client.session(ttl=20) as session:
        assert session.granted_ttl >= 20
        assert 0 < session.expires_in <= session.granted_ttl
        assert session.held
        assert not session.lost
        await client.set("set", "x", session=session)
        await client.create("created", "x", session=session)
        await client.set("mine", "y", session=session)
        for key in ("set", "created", "mine"):
            assert 0 < (await client.ttl(key) or 0) <= session.granted_ttl
        with pytest.raises(aetcd.KeyExists):
            await client.create("created", "x", session=session)
        await client.set("given-up", "x", session=session)
        await client.set("given-up", "x")
    for key in ("set", "created", "mine"):
        assert await client.get(key) is None
    assert await client.get("given-up") == "x"
    assert not session.held
    assert session.expires_in == 0


async def test_a_session_that_is_not_open(client: aetcd.Client) -> None:
    """Nothing can be tied to it, before and after; nothing is written then."""
    session = client.session(ttl=20)
    with pytest.raises(aetcd.SessionLost):
        await client.set("key", "x", session=session)
    async with session:
        pass
    with pytest.raises(aetcd.SessionLost):
        await client.create("key", "x", session=session)
    assert await client.exists("key") is False


async def test_a_session_is_lost_by_the_clock(timed: aetcd.Client, clock: Clock) -> None:
    """It is trusted for its TTL from the sending of the last renewal, and not a moment longer."""
    async with asyncio.timeout(10), timed.session(ttl=60) as session:
        clock.ahead += session.expires_in - 5
        assert session.held
        assert 4 < session.expires_in <= 5
        clock.ahead += 5
        assert not session.held
        assert session.expires_in == 0
        with pytest.raises(aetcd.SessionLost):
            await timed.set("key", "x", session=session)
        await session.lost.wait()
        clock.ahead -= 30
        assert not session.held
        assert "lost" in repr(session)


async def test_a_session_is_lost_by_the_servers_word(client: aetcd.Client, protocol: str) -> None:
    """A lease that was revoked is noticed at the next renewal (v3)."""
    async with asyncio.timeout(10), client.session(ttl=3) as session:
        await client.set("key", "x", session=session)
        found = await client.get("key", full=True)
        assert found is not None
        if protocol == "v2":
            assert found.node.lease is None  # v2 has no leases: each key has the session's TTL
            return
        assert found.node.lease is not None
        await client.v3.lease.revoke(found.node.lease)
        await session.lost.wait()
        assert session.expires_in == 0
        with pytest.raises(aetcd.SessionLost):
            await client.set("key", "x", session=session)
    assert await client.get("key") is None


async def test_one_session_per_client_or_more(client: aetcd.Client) -> None:
    """Sessions are apart: the end of one leaves the keys of another."""
    async with client.session(ttl=20) as one:
        await client.set("one", "x", session=one)
        async with client.session(ttl=20) as two:
            await client.set("two", "x", session=two)
        assert await client.get("two") is None
        assert await client.get("one") == "x"
