"""Downloads by the cluster itself. None of this was recorded: the double has it of the servers' source."""

from __future__ import annotations

import pytest
from doubles.aistore import AIStoreDouble

from aetcd.aistore import AIStore, BadRequest, Bucket, JobAborted, JobFailed, JobNotFound


async def test_one_file(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """As a job: waited for, listed, removed."""
    double.web["http://host/dir/x1"] = b"content"
    job = await ais.downloads.start(bucket, "http://host/dir/x1", description="nightly")
    status = await job.finished(timeout=5)
    assert status.kind == "download"
    assert double.read("b", "x1") == b"content"
    details = await job.details()
    assert (details.finished, details.failed, details.description) == (1, 0, "nightly")
    assert [found.id for found in await ais.downloads.list(regex="night")] == [job.id]
    assert await ais.downloads.list(regex="nosuch") == ()
    assert [one.objects for one in await job.stats()] == [1]
    await job.remove()
    with pytest.raises(JobNotFound):
        await ais.downloads.get(job.id).details()


async def test_name_of_the_object(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """Another than the link's."""
    double.web["http://host/x1"] = b"content"
    await (await ais.downloads.start(bucket, "http://host/x1", name="dir/other")).finished(timeout=5)
    assert double.read("b", "dir/other") == b"content"


async def test_range_of_files(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """Of a template; those that are not there are the job's error."""
    double.web |= {f"http://host/s-{i:03}.tar": b"%d" % i for i in (1, 2)}
    job = await ais.downloads.start_range(bucket, "http://host/s-{001..003}.tar", subdir="tars")
    with pytest.raises(JobFailed, match="1 of 3 files"):
        await job.finished(timeout=5)
    assert list((await job.details()).errors) == ["tars/s-003.tar"]
    assert [entry.name async for entry in bucket.list()] == ["tars/s-001.tar", "tars/s-002.tar"]


async def test_cloud(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """A cloud's objects into the cluster."""
    double.create("s3b", provider="aws")
    for name in ("a.tar", "b.tar", "c.txt"):
        double.put("s3b", name, b"x", provider="aws", present=False)
    cloud = ais.bucket("s3b", provider="aws")
    await (await ais.downloads.start_cloud(cloud, suffix=".tar")).finished(timeout=5)
    objects = double.bucket("s3b", provider="aws").objects
    assert [name for name, found in objects.items() if found.present] == ["a.tar", "b.tar"]
    with pytest.raises(BadRequest):
        await ais.downloads.start_cloud(bucket)


async def test_progress_and_abort(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """What it has stays; one that runs cannot be removed."""
    double.web["http://host/x1"] = b"content"
    double.jobs.seconds["download"] = 3600
    job = await ais.downloads.start(bucket, "http://host/x1")
    with pytest.raises(BadRequest):
        await job.remove()
    seen = []
    async for step in job.progress(interval=0.05):
        seen.append(step.finished)
        if len(seen) == 2:
            await job.abort()
    assert seen == [False, False, True]
    with pytest.raises(JobAborted):
        await job.finished(timeout=5)


async def test_arguments_are_checked(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="link"):
        await ais.downloads.start(bucket, "host/x")
    with pytest.raises(ValueError, match="template"):
        await ais.downloads.start_range(bucket, "http://host/x")
    with pytest.raises(ValueError, match="name"):
        await ais.downloads.start(bucket, "http://host/x", name="")
    with pytest.raises(ValueError, match="id"):
        ais.downloads.get("")
    assert not double.asked("POST")
