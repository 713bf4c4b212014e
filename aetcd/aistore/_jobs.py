"""What the cluster does for longer than a request takes: extended actions, which it calls xactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from aetcd._wire.message import Effect
from aetcd.aistore._arguments import check_flag, check_text
from aetcd.aistore._codec import BucketRef, action, message, request
from aetcd.aistore._errors import JobAborted, JobFailed, JobNotFound
from aetcd.aistore._node_models import JobProgress, JobStats, JobStatus
from aetcd.aistore._node_shapes import read_job_stats, read_job_status
from aetcd.errors import AIStoreError, DecodeError, Outcome, RequestTimeout

if TYPE_CHECKING:
    from aetcd._wire.message import Response
    from aetcd.aistore._link import Link, TimeoutLike

__all__ = ["Job", "job_of", "query_jobs"]

FIRST_PAUSE = 0.05  # seconds
LONGEST_PAUSE = 2.0
GROWTH = 1.5
GRACE = 2.0  # seconds for which a job that was just started may be unknown


@define(eq=False)
class Job:
    """An extended action, on its way or ended.

        job = await bucket.copy("other")
        await job.finished(timeout=60)

    id: The server's, such as `PhRODs27l`, or `g2` for a rebalance.
    kind: The server's word for what it does; empty where it is not known.
    """

    _link: Link = field(repr=False)
    id: str
    kind: str = ""
    bucket: BucketRef | None = None
    _fresh: bool = field(default=False, repr=False)

    async def status(self, *, timeout: TimeoutLike = None) -> JobStatus:
        """Whether it runs, asked by its ID; by its statistics where the ID is already forgotten.

        The IDs of jobs that ended are kept for a while only, and not over a change of the primary gateway. Raises
        JobNotFound where nobody knows it.

        Source: `GET /v1/cluster?what=status`; the reference has `what=xaction`, which ended with 3.0.
        """
        dialect = await self._link.dialect(timeout)
        asked = request(
            "job status",
            "GET",
            "/v1/cluster",
            query=[("what", dialect.query("job"))],
            body=message({"id": self.id}),
        )
        try:
            answer = await self._link.ask(asked, timeout, missing=JobNotFound)
        except JobNotFound:
            return self._of(await self.stats(timeout=timeout))
        known = read_job_status(answer.body)
        return known if known.kind else evolve(known, kind=self.kind)

    def _of(self, stats: list[JobStats]) -> JobStatus:
        if not stats:
            raise JobNotFound(f"no node knows the job {self.id}", operation="aistore job status")
        ends = [one.ended for one in stats]
        return JobStatus(
            id=self.id,
            kind=stats[0].kind,
            ended=max((end for end in ends if end is not None), default=None) if None not in ends else None,
            aborted=any(one.aborted for one in stats),
            error=next((one.error for one in stats if one.error), ""),
        )

    async def stats(self, *, timeout: TimeoutLike = None) -> list[JobStats]:
        """What it has done, one entry for each target that knows it. None where no target does (yet)."""
        return await query_jobs(self._link, id=self.id, timeout=timeout)

    async def finished(self, timeout: float | None = None) -> JobStatus:
        """Wait until it ended on every target.

        timeout: Seconds to wait; None waits for as long as it takes.

        Raises JobAborted and JobFailed where it did not end well, and RequestTimeout (a TimeoutError) where it still
        runs. Cancelling or giving up leaves the job running: `abort()` ends it.
        """
        try:
            async with asyncio.timeout(timeout):
                status = await self._ended()
        except TimeoutError as e:
            if isinstance(e, RequestTimeout):
                raise
            text = f"the job {self} still runs after {timeout:g} s"
            raise RequestTimeout(text, outcome=Outcome.UNKNOWN, operation="aistore job") from e
        if status.aborted:
            raise JobAborted(f"the job {self} was aborted{_why(status)}", operation="aistore job")
        if status.error:
            raise JobFailed(f"the job {self} failed{_why(status)}", operation="aistore job")
        return status

    async def _ended(self) -> JobStatus:
        pause = FIRST_PAUSE
        while True:
            status = await self._known()
            if status.finished:
                return status
            await asyncio.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_PAUSE)

    async def _known(self) -> JobStatus:
        """Its status; one that was started a moment ago may be unknown to the gateway that is asked."""
        known_by = asyncio.get_running_loop().time() + GRACE
        while True:
            try:
                status = await self.status()
            except JobNotFound:
                if not self._fresh or asyncio.get_running_loop().time() >= known_by:
                    raise
                await asyncio.sleep(FIRST_PAUSE)
            else:
                self._fresh = False
                return status

    async def progress(self, interval: float = 1.0) -> AsyncIterator[JobProgress]:
        """How far it is, every `interval` seconds, until it has ended; the last one is that of the end."""
        while True:
            # In this order, so that the counts of the last one are those of the end.
            status = await self._known()
            stats = await self.stats()
            yield JobProgress(
                objects=sum(one.objects for one in stats),
                bytes=sum(one.bytes for one in stats),
                running=sum(not one.finished for one in stats),
                finished=status.finished,
                aborted=status.aborted,
            )
            if status.finished:
                return
            await asyncio.sleep(interval)

    async def abort(self, *, timeout: TimeoutLike = None) -> None:
        """Stop it. What it has done stays done. One that ended is left alone.

        It is named by ID, kind and bucket, all three as the targets know them: versions about 3.3 read the last two
        only, and the bucket of a copy is the one that is copied into.
        """
        known = await self.stats(timeout=timeout)
        dialect = await self._link.dialect(timeout)
        value: dict[str, Any] = {"id": self.id, "kind": known[0].kind if known else self.kind}
        bucket = known[0].bucket if known else None
        if bucket is not None:
            ref = BucketRef(name=bucket.name, provider=bucket.provider, namespace=bucket.namespace or None)
            value["bck"] = ref.json
        body = action(dialect.action("stop"), value=value)
        await self._link.ask(request("job abort", "PUT", "/v1/cluster", effect=Effect.REPEATABLE, body=body), timeout)

    def __str__(self) -> str:
        return f"{self.kind or 'xaction'}[{self.id}]"


def _why(status: JobStatus) -> str:
    return f": {status.error}" if status.error else ""


def job_of(link: Link, answer: Response, kind: str, ref: BucketRef | None = None) -> Job:
    """The job whose ID is the whole answer, as plain text. Raises DecodeError where there is none."""
    told = answer.body.decode("utf-8", "replace").strip().strip('"')
    if not told or not told.isprintable() or " " in told:
        raise DecodeError(f"{kind or 'a job'}: {answer.peer} told no ID of a job: {answer.body[:80]!r}")
    dialect = link.spoken
    known = dialect.actions.get(kind, kind) if dialect is not None else kind
    return Job(link, told, known, ref, True)


async def query_jobs(
    link: Link,
    *,
    id: str = "",
    kind: str = "",
    bucket: BucketRef | None = None,
    active: bool = False,
    timeout: TimeoutLike = None,
) -> list[JobStats]:
    """Statistics of jobs by what they are.

    Source: `GET /v1/cluster?what=qryxstats` with a body; the reference has `what=xaction`, which ended with 3.0. An
    unknown ID is answered by 400 or 404, which is no entries here; an unknown kind raises JobNotFound.
    """
    check_flag(active, "active")
    check_text(kind, "kind")
    dialect = await link.dialect(timeout)
    value: dict[str, Any] = {}
    if id:
        value["id"] = id
    if kind:
        value["kind"] = kind
    if bucket is not None:
        value["bck"] = bucket.json
    if active:
        value["show_active"] = True
    asked = request("job stats", "GET", "/v1/cluster", query=[("what", dialect.query("jobs"))], body=message(value))
    try:
        answer = await link.ask(asked, timeout, missing=JobNotFound)
    except AIStoreError as e:
        if id and (isinstance(e, JobNotFound) or e.status == 404 or e.code == 404):
            return []
        raise
    return read_job_stats(answer.body)
