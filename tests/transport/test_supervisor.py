"""Background work: apart from callers, apart from each other, and gone when the client is."""

from __future__ import annotations

import asyncio
import logging

import anyio
import pytest

from aetcd._transport.supervisor import Job, Supervisor


async def forever() -> None:
    await asyncio.Event().wait()


async def test_job_runs_and_ends() -> None:
    """It can be waited for, by several."""
    supervisor = Supervisor()
    ran = asyncio.Event()

    async def work() -> None:
        ran.set()

    job = supervisor.spawn(work, name="work")
    before = job.done
    assert repr(job) == "<Job 'work' running>"
    await asyncio.gather(job.wait(), job.wait())
    assert ran.is_set()
    assert (before, job.done, job.error) == (False, True, None)
    assert repr(job) == "<Job 'work' done>"
    await supervisor.aclose()


async def test_nothing_runs_before_there_is_work() -> None:
    """A client that needs no background work has no task that could be forgotten."""
    before = asyncio.all_tasks()
    supervisor = Supervisor()
    assert asyncio.all_tasks() == before
    await supervisor.aclose()
    await supervisor.aclose()


async def test_cancelled_job_cleans_up(caplog: pytest.LogCaptureFixture) -> None:
    """And is no failure; the others go on."""
    supervisor = Supervisor()
    cleaned = asyncio.Event()

    async def careful() -> None:
        try:
            await forever()
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(0.01)
            cleaned.set()

    other = supervisor.spawn(forever, name="other")
    job = supervisor.spawn(careful, name="careful")
    await asyncio.sleep(0)
    job.cancel()
    await job.wait()
    assert cleaned.is_set()
    assert job.error is None
    assert not other.done
    assert not caplog.records
    await supervisor.aclose()
    assert other.done


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_job_cancelled_at_any_moment_is_done(turns: int) -> None:
    """Also before it began: who waits for it does not wait for ever."""
    supervisor = Supervisor()
    job = supervisor.spawn(forever, name="work")
    for _ in range(turns):
        await asyncio.sleep(0)
    job.cancel()
    async with asyncio.timeout(1):
        await job.wait()
    await supervisor.aclose()


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_closing_at_any_moment_ends_all_jobs(turns: int) -> None:
    """Those that did not begin yet too."""
    supervisor = Supervisor()
    jobs = [supervisor.spawn(forever, name=str(number)) for number in range(3)]
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await supervisor.aclose()
    assert all(job.done for job in jobs)


async def test_failing_job_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the other jobs nor the task that opened the client; its error is kept and logged."""
    supervisor = Supervisor()

    async def fail() -> None:
        raise ZeroDivisionError("mine")

    other = supervisor.spawn(forever, name="other")
    job = supervisor.spawn(fail, name="failing")
    await job.wait()
    await asyncio.sleep(0.01)
    assert isinstance(job.error, ZeroDivisionError)
    assert not other.done
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert [(record.name, record.levelno) for record in caplog.records] == [("aetcd", logging.ERROR)]
    assert "'failing'" in caplog.text
    await supervisor.aclose()


async def test_job_starts_job() -> None:
    """Work begets work, in the same group."""
    supervisor = Supervisor()
    inner: list[Job] = []

    async def outer() -> None:
        inner.append(supervisor.spawn(forever, name="inner"))

    await supervisor.spawn(outer, name="outer").wait()
    assert not inner[0].done
    await supervisor.aclose()
    assert inner[0].done


async def test_supervisor_that_was_cancelled_from_outside_begins_again() -> None:
    """Some programs cancel every task that they find, and go on using the client."""
    supervisor = Supervisor()
    job = supervisor.spawn(forever, name="work")
    await asyncio.sleep(0.01)
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "aetcd supervisor"]
    task.cancel()
    await asyncio.wait([task])
    assert job.done
    ran = asyncio.Event()

    async def work() -> None:
        ran.set()

    await supervisor.spawn(work, name="again").wait()
    assert ran.is_set()
    await supervisor.aclose()


async def test_job_does_not_live_in_the_scope_of_who_started_it() -> None:
    """It goes on when that one's limits end."""
    supervisor = Supervisor()
    jobs: list[Job] = []
    with anyio.move_on_after(0.02):
        jobs.append(supervisor.spawn(forever, name="first"))
        await forever()

    async def within_a_limit() -> None:
        async with asyncio.timeout(0.02):
            jobs.append(supervisor.spawn(forever, name="second"))
            await forever()

    with pytest.raises(TimeoutError):
        await within_a_limit()
    await asyncio.sleep(0.02)
    assert [job.done for job in jobs] == [False, False]
    await supervisor.aclose()
