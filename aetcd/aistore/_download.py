"""What the cluster downloads by itself: files of the web, or objects of a cloud.

None of this could be recorded: the clusters of the recordings reached no web. It is of the source of 3.3
(`downloader/api.go`) and of today's server (`ext/dload`), and of the reference only the resource's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from attrs import define, field, frozen

from aetcd._wire.decode import decode
from aetcd._wire.message import Effect
from aetcd.aistore._arguments import check_flag, check_object, check_template, check_text
from aetcd.aistore._codec import message, request
from aetcd.aistore._errors import JobNotFound
from aetcd.aistore._jobs import Job
from aetcd.aistore._node_models import JobProgress, JobStats, JobStatus
from aetcd.aistore._shapes import parse_time

if TYPE_CHECKING:
    from aetcd.aistore._bucket import Bucket
    from aetcd.aistore._link import Link, TimeoutLike

__all__ = ["Download", "DownloadStatus", "Downloads"]

DOWNLOAD = "/v1/download"


@frozen(kw_only=True)
class DownloadStatus:
    """How far a download is. Not recorded.

    total: Files in all; negative or 0 where nobody knows.
    errors: Why files were not had, by their names.
    """

    id: str
    description: str = ""
    finished: int = 0
    scheduled: int = 0
    skipped: int = 0
    failed: int = 0
    total: int = 0
    aborted: bool = False
    started: datetime | None = None
    ended: datetime | None = None
    errors: Mapping[str, str] = field(factory=dict)


class _Error(msgspec.Struct):
    name: str = ""
    error: str = ""


class _Status(msgspec.Struct):
    id: str = ""
    description: str = ""
    finished_cnt: int = 0
    scheduled_cnt: int = 0
    skipped_cnt: int = 0
    error_cnt: int = 0
    total: int = 0
    aborted: bool = False
    started_time: str = ""
    finished_time: str = ""
    download_errors: list[_Error] | None = None

    def read(self) -> DownloadStatus:
        return DownloadStatus(
            id=self.id,
            description=self.description,
            finished=self.finished_cnt,
            scheduled=self.scheduled_cnt,
            skipped=self.skipped_cnt,
            failed=self.error_cnt,
            total=self.total,
            aborted=self.aborted,
            started=parse_time(self.started_time),
            ended=parse_time(self.finished_time),
            errors={one.name: one.error for one in self.download_errors or []},
        )


class _Started(msgspec.Struct):
    id: str


@define(eq=False)
class Download(Job):
    """A download, on its way or ended. A job like others; what is its own is not recorded."""

    async def details(self, *, timeout: TimeoutLike = None) -> DownloadStatus:
        """How many files it has, and which ones failed. Raises JobNotFound."""
        asked = request("download status", "GET", DOWNLOAD, body=message({"id": self.id}))
        return decode((await self._link.ask(asked, timeout, missing=JobNotFound)).body, _Status).read()

    async def status(self, *, timeout: TimeoutLike = None) -> JobStatus:
        """Whether it runs; files that were not had are its error."""
        known = await self.details(timeout=timeout)
        error = f"{known.failed} of {max(known.total, known.scheduled)} files were not had" if known.failed else ""
        return JobStatus(id=self.id, kind="download", ended=known.ended, aborted=known.aborted, error=error)

    async def stats(self, *, timeout: TimeoutLike = None) -> list[JobStats]:
        """What is known of it over all targets, as one entry."""
        known = await self.details(timeout=timeout)
        return [
            JobStats(
                id=self.id,
                kind="download",
                target="",
                started=known.started,
                ended=known.ended,
                objects=known.finished,
                aborted=known.aborted,
            )
        ]

    async def progress(self, interval: float = 1.0) -> AsyncIterator[JobProgress]:
        """How many files it has, every `interval` seconds, until it has ended."""
        while True:
            known = await self.details()
            ended = known.ended is not None or known.aborted
            running = 0 if ended else 1
            yield JobProgress(objects=known.finished, bytes=0, running=running, finished=ended, aborted=known.aborted)
            if ended:
                return
            await asyncio.sleep(interval)

    async def abort(self, *, timeout: TimeoutLike = None) -> None:
        """Stop it. What it has stays."""
        await self._admin("abort", timeout)

    async def remove(self, *, timeout: TimeoutLike = None) -> None:
        """Forget it, once it has ended: it is in no list any more. Raises BadRequest while it runs."""
        await self._admin("remove", timeout)

    async def _admin(self, kind: str, timeout: TimeoutLike) -> None:
        body = message({"id": self.id})
        asked = request(f"download {kind}", "DELETE", f"{DOWNLOAD}/{kind}", effect=Effect.REPEATABLE, body=body)
        await self._link.ask(asked, timeout, missing=JobNotFound)


@frozen
class Downloads:
    """What the cluster downloads: `ais.downloads`. Not recorded: see the module."""

    _link: Link = field(repr=False)

    async def start(
        self, bucket: Bucket, link: str, *, name: str | None = None, description: str = "", timeout: TimeoutLike = None
    ) -> Download:
        """One file of the web.

        name: The object's; the last part of the link by default.
        """
        body: dict[str, Any] = {"link": _checked(link, "link")}
        body["object_name"] = check_object(name if name is not None else link.rstrip("/").rsplit("/", 1)[-1])
        return await self._start("single", bucket, body, description, timeout)

    async def start_range(
        self, bucket: Bucket, template: str, *, subdir: str = "", description: str = "", timeout: TimeoutLike = None
    ) -> Download:
        """Many files of the web: `http://host/shard-{0001..0100}.tar`.

        subdir: Stands before the objects' names, with a slash.
        """
        check_template(_checked(template, "template"))
        body = {"template": template, "subdir": check_text(subdir, "subdir")}
        return await self._start("range", bucket, body, description, timeout)

    async def start_cloud(
        self,
        bucket: Bucket,
        *,
        prefix: str = "",
        suffix: str = "",
        sync: bool = False,
        description: str = "",
        timeout: TimeoutLike = None,
    ) -> Download:
        """Objects of a cloud's bucket into the cluster.

        sync: Also drops what is gone from the cloud.
        """
        dialect = await self._link.dialect(timeout)
        body = {
            "prefix": check_text(prefix, "prefix"),
            "suffix": check_text(suffix, "suffix"),
            "sync": check_flag(sync, "sync"),
        }
        return await self._start(dialect.action("download cloud"), bucket, body, description, timeout)

    async def list(self, *, regex: str = "", timeout: TimeoutLike = None) -> tuple[DownloadStatus, ...]:
        """All downloads that are remembered, those whose description fits `regex` only."""
        asked = request("downloads", "GET", DOWNLOAD, body=message({"regex": check_text(regex, "regex")}))
        answer = await self._link.ask(asked, timeout)
        found: Any = decode(answer.body or b"null", list[_Status] | None)  # type: ignore[arg-type]
        return tuple(one.read() for one in found or ())

    def get(self, id: str) -> Download:
        """One by its ID. Sends nothing."""
        return Download(self._link, check_text(id, "id", empty=False), "download")

    async def _start(
        self, kind: str, bucket: Bucket, body: dict[str, Any], description: str, timeout: TimeoutLike
    ) -> Download:
        whole = {"type": kind, "description": check_text(description, "description"), "bucket": bucket.ref.json, **body}
        asked = request("download", "POST", DOWNLOAD, effect=Effect.ONCE, body=message(whole))
        await self._link.dialect(timeout)
        answer = await self._link.ask(asked, timeout)
        return Download(self._link, decode(answer.body, _Started).id, "download", bucket.ref)


def _checked(link: str, argument: str) -> str:
    check_text(link, argument, empty=False)
    if "://" not in link:
        raise ValueError(f"{argument} must be a URL, not {link!r}")
    return link
