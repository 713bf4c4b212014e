"""Downloads into the cluster. From the source of the servers: none of this was recorded.

`POST /v1/download` takes {"type", "bucket": Bck, ...}, the type being single, range, multi, and cloud (3.3) or backend
(today), and answers {"id"}; `GET` with {"id"} its status, with {"regex"} or neither the list; `DELETE
/v1/download/abort` and `/remove` take {"id"}.
"""

from __future__ import annotations

import re
from posixpath import basename
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import define, field
from doubles.aistore_content import Held
from doubles.aistore_jobs import Job
from doubles.aistore_node import Ask, Refusal, empty
from doubles.aistore_state import JSON, Bucket, rfc3339
from doubles.aistore_words import expand

if TYPE_CHECKING:
    from doubles.aistore import AIStoreDouble

DOWNLOAD = 16


@define(eq=False)
class Download:
    """One that was started. links: Where each object comes from; missing: Those that are not there."""

    job: Job
    description: str
    links: dict[str, str]
    missing: list[str]


@define(eq=False)
class Downloads:
    """The `/v1/download` of every gateway."""

    ais: AIStoreDouble
    all: dict[str, Download] = field(factory=dict)

    async def answer(self, ask: Ask) -> web.StreamResponse:
        gateway = self.ais.gateways[0]
        gateway.permit(ask, DOWNLOAD)
        told = await ask.message()
        match ask.method, ask.items[1:]:
            case "POST", []:
                return gateway.json({"id": self._start(ask, told)})
            case "GET", []:
                wanted = str(told.get("id") or "")
                if wanted:
                    return gateway.json(self._status(self._known(wanted), told))
                pattern = re.compile(str(told.get("regex") or ""))
                found = [d for d in self.all.values() if pattern.search(d.description)]
                active = told.get("only_active") or told.get("only_active_tasks")
                return gateway.json([self._info(d) for d in found if not (active and d.job.ended)])
            case "DELETE", ["abort"]:
                self._known(str(told.get("id") or "")).job.end(aborted=True)
                return empty()
            case "DELETE", ["remove"]:
                known = self._known(str(told.get("id") or ""))
                if not known.job.ended:
                    raise Refusal(400, f'download job "{known.job.id}" is still running')
                del self.all[known.job.id]
                return empty()
        raise gateway.invalid(ask)

    def _known(self, id: str) -> Download:
        if not id:
            raise Refusal(400, "ID not specified" if self.ais.old else "UUID not specified")
        if id not in self.all:
            raise Refusal(404, f'download job "{id}" not found')
        return self.all[id]

    def _start(self, ask: Ask, told: JSON) -> str:
        sort = told.get("type")
        if not sort:
            raise Refusal(400, "'type' field is empty")
        place = told.get("bucket") or {}
        if not isinstance(place, dict) or not place.get("name"):
            raise Refusal(400, "missing 'bucket.name'")
        bucket = ask.bucket(place["name"], provider=place.get("provider") or None)
        links = self._links(str(sort), bucket, told)
        missing = [name for name, link in links.items() if link and link not in self.ais.web]

        def fetch() -> None:
            for name, link in links.items():
                if not link:
                    bucket.objects[name].present = True
                elif link in self.ais.web:
                    bucket.put(name, Held(self.ais.web[link]))

        job = self.ais.jobs.start("download", "download", bucket.key, fetch)
        description = str(told.get("description") or "") or f"{sort} -> {bucket.key}"
        self.all[job.id] = Download(job, description, links, missing)
        return job.id

    def _links(self, type: str, bucket: Bucket, told: JSON) -> dict[str, str]:
        """By the object's name; empty for what comes from the bucket's own cloud."""
        match type:
            case "single":
                link = str(told.get("link") or "")
                name = str(told.get("object_name") or "") or basename(link)
                if not link and not told.get("from_cloud") and not told.get("from_remote"):
                    raise Refusal(400, "missing 'link' in the request body")
                return {name: link}
            case "range":
                found = expand(str(told.get("template") or ""))
                if not found or not told.get("template"):
                    raise Refusal(400, "missing 'template' in the request body")
                subdir = str(told.get("subdir") or "")
                return {f"{subdir}/{basename(link)}".lstrip("/"): link for link in found}
            case "multi":
                objects = told.get("objects")
                if isinstance(objects, dict):
                    return dict(objects)
                if isinstance(objects, list):
                    return {basename(link): link for link in objects}
                raise Refusal(400, "body should not be empty")
            case "cloud" | "backend" if (type == "cloud") == self.ais.old:
                if not bucket.cloud:
                    raise Refusal(400, "bucket download requires a remote bucket")
                prefix, suffix = str(told.get("prefix") or ""), str(told.get("suffix") or "")
                return {name: "" for name in bucket.names() if name.startswith(prefix) and name.endswith(suffix)}
        raise Refusal(400, f"input does not match any of the supported formats (single, range, multi): {type}")

    def _info(self, download: Download) -> JSON:
        job, total = download.job, len(download.links)
        errors = len(download.missing) if job.ended and not job.aborted else 0
        done = total - errors if job.ended and not job.aborted else 0
        head: JSON = {"id": job.id} if self.ais.old else {"id": job.id, "xaction_id": job.id}
        return head | {
            "description": download.description,
            "finished_cnt": done,
            "scheduled_cnt": total,
            "skipped_cnt": 0,
            "error_cnt": errors,
            "total": total,
            "all_dispatched": True,
            "aborted": job.aborted,
            "started_time": rfc3339(job.started),
            "finished_time": rfc3339(job.ended),
        }

    def _status(self, download: Download, told: JSON) -> JSON:
        info, job = self._info(download), download.job
        if not job.ended:
            tasks = [{"name": name, "downloaded": "0", "start_time": rfc3339(job.started)} for name in download.links]
            return info | {"current_tasks": [t | {"end_time": rfc3339(0), "running": True} for t in tasks]}
        if download.missing and not job.aborted:
            errors = [{"name": name, "error": "request failed with 404 status code"} for name in download.missing]
            info["download_errors"] = errors
        return info
