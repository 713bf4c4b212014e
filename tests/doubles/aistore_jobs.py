"""Extended actions: each takes its time, has its effect when that is over, and is forgotten by `what=status` first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import define, field
from doubles.aistore_state import JSON, NOWHERE, Key, new_id, now, rfc3339

SECONDS: dict[str, float] = {
    "delete": 0,
    "evict": 0,
    "create": 0,
    "mirror": 0.1,
    "ec": 0.1,
    "copy": 0.2,
    "rename": 0.2,
    "rebalance": 0.3,
    "resilver": 0.2,
    "lru": 0.1,
    "prefetch": 0.2,
    "load": 0.1,
    "summary": 0.05,
    "download": 0.2,
    "promote": 0.1,
}
"""How long each sort of job takes. A test changes a copy of it: `ais.jobs.seconds["rebalance"] = 3600`."""


@define(eq=False)
class Job:
    """One extended action. sort: What it is in our words; kind: in the wire's. objects, bytes: What each target did."""

    id: str
    sort: str
    kind: str
    bucket: Key | None
    effect: Callable[[], None]
    objects: list[int]
    bytes: list[int]
    note: str = ""
    error: str = ""
    started: int = field(factory=now)
    ended: int = 0
    aborted: bool = False
    forgotten: bool = False
    timer: asyncio.TimerHandle | None = None

    def end(self, *, aborted: bool = False) -> None:
        if self.ended:
            return
        if self.timer is not None:
            self.timer.cancel()
        self.aborted = aborted
        if not aborted:
            self.effect()
        self.ended = now()


@define(eq=False)
class Jobs:
    """All that were started, the newest last.

    seconds: By sort, see `SECONDS`. forget: Whether `what=status` forgets a job as soon as it has ended.
    """

    dialect: str
    targets: int
    seconds: dict[str, float] = field(factory=lambda: dict(SECONDS))
    forget_ended: bool = False
    all: list[Job] = field(factory=list)
    _rebalances: int = 0

    def start(
        self,
        sort: str,
        kind: str,
        bucket: Key | None = None,
        effect: Callable[[], None] = lambda: None,
        *,
        id: str | None = None,
        note: str = "",
    ) -> Job:
        """A job that ends by itself after its seconds; one of no seconds has ended when this returns."""
        if id is None and sort == "rebalance":
            self._rebalances += 1
        known = id or (f"g{self._rebalances}" if sort == "rebalance" else new_id())
        zeros = [0] * self.targets
        job = Job(known, sort, kind, bucket, effect, zeros, list(zeros), note=note)
        self.all.append(job)
        seconds = self.seconds[sort]
        if seconds:
            job.timer = asyncio.get_running_loop().call_later(seconds, job.end)
        else:
            job.end()
        return job

    def __getitem__(self, id: str) -> Job:
        return next(job for job in self.all if job.id == id)

    def get(self, id: str) -> Job | None:
        return next((job for job in self.all if job.id == id), None)

    def finish(self, id: str) -> None:
        """End it now, with its effect."""
        self[id].end()

    def abort(self, id: str) -> None:
        self[id].end(aborted=True)

    def forget(self, id: str) -> None:
        """`what=status` answers 404 for it from now on; the statistics still have it."""
        self[id].forgotten = True

    def fail(self, id: str, error: str) -> None:
        """End it with an error, without its effect."""
        job = self[id]
        job.effect = lambda: None
        job.error = error
        job.end()

    def close(self) -> None:
        for job in self.all:
            if job.timer is not None:
                job.timer.cancel()

    def known(self, job: Job) -> bool:
        """Whether `what=status` still knows it."""
        return not (job.forgotten or (self.forget_ended and job.ended))

    def matching(self, id: str, kind: str, bucket: Key | None, *, active: bool = False) -> list[Job]:
        return [
            job
            for job in self.all
            if (not id or job.id == id)
            and (not kind or job.kind == kind)
            and (bucket is None or job.bucket == bucket)
            and not (active and job.ended)
        ]

    def status(self, job: Job) -> JSON:
        head = {} if self.dialect == "3.3" else {"kind": job.kind}
        return head | {"uuid": job.id, "err": job.error, "end_time": job.ended, "aborted": job.aborted}

    def stats(self, job: Job, target: int, node: str) -> JSON:
        """The statistics of one target."""
        bucket = job.bucket.json() if job.bucket else NOWHERE
        objects, size = str(job.objects[target]), str(job.bytes[target])
        start, end = rfc3339(job.started), rfc3339(job.ended)
        if self.dialect == "3.3":
            out: JSON = {"id": job.id, "kind": job.kind, "bck": bucket, "start_time": start, "end_time": end}
            out |= {"obj_count": objects, "bytes_count": size, "aborted": job.aborted}
            if job.sort == "rebalance":
                out["ext"] = {
                    "reb.tx.n": objects,
                    "reb.tx.size": size,
                    "reb.rx.n": "0",
                    "reb.rx.size": "0",
                    "glob.id": "0",
                }
            return out
        counts = {"loc-objs": objects, "loc-bytes": size, "out-objs": "0", "out-bytes": "0"}
        return {
            "ext": None,
            "start-time": start,
            "end-time": end,
            "bck": bucket,
            "src-bck": NOWHERE,
            "dst-bck": NOWHERE,
            "id": job.id,
            "kind": job.kind,
            "ctlmsg": job.note,
            "abort-err": f"{node}: aborted" if job.aborted else "",
            "err": job.error,
            "glob.id": "2048",
            "stats": counts | {"in-objs": "0", "in-bytes": "0"},
            "aborted": job.aborted,
            "is_idle": bool(job.ended),
        }
