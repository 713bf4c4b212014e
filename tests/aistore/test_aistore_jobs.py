"""Extended actions: waited for, watched, aborted, and known when their ID is forgotten."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from attrs import evolve
from doubles.aistore import AIStoreDouble

from aetcd._wire.message import Response
from aetcd.aistore import AIStore, BadRequest, Bucket, JobAborted, JobFailed, JobNotFound, JobStats
from aetcd.aistore._jobs import job_of
from aetcd.errors import DecodeError, RequestTimeout


async def test_job_is_waited_for(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """Until it ended on all targets."""
    job = await bucket.copy("copied")
    assert not (await job.status()).finished
    status = await job.finished(timeout=5)
    assert status.ended is not None
    assert status.kind == ("copybck" if double.old else "copy-bck")
    assert job.id in str(job)
    assert (await ais.job(job.id).status()).finished


async def test_job_that_still_runs(bucket: Bucket, double: AIStoreDouble) -> None:
    """Giving up leaves it running."""
    double.jobs.seconds["copy"] = 3600
    job = await bucket.copy("copied")
    with pytest.raises(RequestTimeout, match=r"still runs after 0\.3 s"):
        await job.finished(timeout=0.3)
    with pytest.raises(TimeoutError):
        await job.finished(timeout=0.1)
    assert not (await job.status()).finished


async def test_job_is_aborted(bucket: Bucket, double: AIStoreDouble) -> None:
    """By its own ID; who waits for it is told."""
    double.jobs.seconds["copy"] = 3600
    job = await bucket.copy("copied")
    await job.abort()
    with pytest.raises(JobAborted, match="aborted"):
        await job.finished(timeout=5)
    assert (await job.status()).aborted


async def test_job_that_fails(bucket: Bucket, double: AIStoreDouble) -> None:
    """With the server's text."""
    double.jobs.seconds["copy"] = 3600
    job = await bucket.copy("copied")
    double.jobs.fail(job.id, "disk full")
    with pytest.raises(JobFailed, match="disk full"):
        await job.finished(timeout=5)


async def test_progress(bucket: Bucket, double: AIStoreDouble) -> None:
    """To its end, which is the last one."""
    double.fill("b", 10)
    job = await bucket.copy("copied")
    seen = [step async for step in job.progress(interval=0.05)]
    assert [step.finished for step in seen] == [False] * (len(seen) - 1) + [True]
    assert len(seen) > 1
    assert seen[-1].objects == 10
    assert seen[-1].running == 0


async def test_forgotten_job_is_known_by_its_statistics(bucket: Bucket, double: AIStoreDouble) -> None:
    """The status of an ID is 404 after a while, and after a change of the primary."""
    double.jobs.seconds["copy"] = 0.3
    job = await bucket.copy("copied")
    double.jobs.forget(job.id)
    assert not (await job.status()).finished
    assert (await job.finished(timeout=5)).finished


async def test_unknown_job(ais: AIStore) -> None:
    """Neither by status nor by statistics."""
    with pytest.raises(JobNotFound, match="nosuch"):
        await ais.job("nosuch").status()
    with pytest.raises(JobNotFound):
        await ais.job("nosuch").finished(timeout=5)
    assert await ais.job("nosuch").stats() == []
    with pytest.raises(ValueError, match="id"):
        ais.job("")


async def test_statistics_of_jobs(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """By kind, bucket, and only those that run."""
    double.fill("b", 4)
    job = await bucket.delete_objects(template="o{000000..000001}")
    await job.finished(timeout=5)
    kind = "delete" if double.old else "delete-listrange"
    found = await ais.cluster.jobs(kind=kind)
    assert {one.target for one in found} == {target.id for target in double.targets}
    assert sum(one.objects for one in found) == 2
    assert all(one.finished and one.kind == kind and one.started for one in found)
    assert found[0].bucket is not None
    assert found[0].bucket.name == "b"
    assert await ais.cluster.jobs(kind=kind, active=True) == []
    assert len(await ais.cluster.jobs(bucket=bucket)) == 2
    double.create("other")
    assert await ais.cluster.jobs(bucket=ais.bucket("other")) == []
    assert len(await ais.cluster.jobs(id=job.id)) == 2
    with pytest.raises(JobNotFound, match="nosuchkind"):
        await ais.cluster.jobs(kind="nosuchkind")


async def test_rebalance(ais: AIStore, double: AIStoreDouble) -> None:
    """Started, and stopped."""
    job = await ais.cluster.rebalance()
    assert job.id.startswith("g")
    await job.finished(timeout=5)
    double.jobs.seconds["rebalance"] = 3600
    job = await ais.cluster.rebalance()
    await ais.cluster.stop_rebalance()
    with pytest.raises(JobAborted):
        await job.finished(timeout=5)


async def test_other_kinds(ais: AIStore) -> None:
    """One that is startable, and one that is not."""
    assert (await (await ais.cluster.start("lru")).finished(timeout=5)).finished
    with pytest.raises(BadRequest, match="bogus"):
        await ais.cluster.start("bogus")


async def test_waiting_is_cancelled(bucket: Bucket, double: AIStoreDouble) -> None:
    """And the job goes on."""
    double.jobs.seconds["copy"] = 3600
    job = await bucket.copy("copied")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await job.finished()
    assert not (await job.status()).finished


async def test_job_has_ended_when_it_has_on_every_target(ais: AIStore) -> None:
    """By its statistics: one target that still works at it is enough for it to run."""
    now = datetime.now(UTC)
    ended = JobStats(id="x", kind="copybck", target="t1", ended=now)
    running = JobStats(id="x", kind="copybck", target="t2")
    job = ais.job("x")
    assert not job._of([ended, running]).finished
    assert job._of([ended, evolve(running, ended=now)]).ended == now
    assert job._of([running, evolve(ended, aborted=True)]).aborted


@pytest.mark.parametrize("body", [b"", b"  \n", b"two words", b"\x00"])
def test_job_without_an_id(body: bytes) -> None:
    """An answer that is no ID is an error, and no job that cannot be found."""
    with pytest.raises(DecodeError, match="no ID"):
        job_of(AIStore()._link, Response(status=200, headers={}, body=body, peer="http://g:1"), "copy")
