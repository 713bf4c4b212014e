"""A bucket: made, changed, copied, listed, and the way to its objects."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from aetcd._wire.decode import encode
from aetcd._wire.message import Effect
from aetcd.aistore._arguments import check_bucket, check_count, check_flag, check_path, check_text
from aetcd.aistore._codec import BucketRef, action, request
from aetcd.aistore._errors import BucketExists, BucketNotFound
from aetcd.aistore._jobs import Job, job_of
from aetcd.aistore._listing import Listing, make_listing
from aetcd.aistore._many import Results, get_many, put_many
from aetcd.aistore._objects import Object
from aetcd.aistore._promotion import promote
from aetcd.aistore._properties import nested
from aetcd.aistore._range import Range, selection
from aetcd.aistore._remote import read_props, require_remote
from aetcd.aistore._summary import read_summary

if TYPE_CHECKING:
    import os

    from aetcd._wire.message import Response
    from aetcd.aistore._link import Link, TimeoutLike
    from aetcd.aistore._models import BucketProps, BucketSummary
    from aetcd.aistore._sources import Content

__all__ = ["Bucket"]

Props = Mapping[str, Any]

UNKNOWN = ""  # kind of the job that follows new properties: copies or slices, as the properties have it


@frozen
class Bucket:
    """A bucket, whether it exists or not. Making one sends nothing: `ais.bucket("photos", provider="aws")`."""

    _link: Link = field(repr=False)
    ref: BucketRef

    @property
    def name(self) -> str:
        """Its name."""
        return self.ref.name

    @property
    def provider(self) -> str | None:
        """Whose it is: `ais`, `aws`, ...; None where it is found by its name."""
        return self.ref.provider

    @property
    def namespace(self) -> str | None:
        """`@<cluster>#<name>`; None for the global one."""
        return self.ref.namespace

    def __str__(self) -> str:
        return str(self.ref)

    def object(self, name: str) -> Object:
        """One of its objects, whether it exists or not."""
        return Object(self._link, self.ref, name)

    # Being there

    async def create(self, props: Props | None = None, *, exist_ok: bool = False, timeout: TimeoutLike = None) -> None:
        """Make it, with these properties in place of the cluster's. Raises BucketExists unless `exist_ok`.

        props: Nested or dotted, as in `set`.

        Source: reference, "Create ais bucket".
        """
        check_flag(exist_ok, "exist_ok")
        dialect = await self._link.dialect(timeout)
        value = nested(props, dialect) if props else None
        try:
            await self._do("create", "POST", "create", value=value, timeout=timeout)
        except BucketExists:
            if not exist_ok:
                raise

    async def destroy(self, *, missing_ok: bool = False, timeout: TimeoutLike = None) -> None:
        """Destroy it with all its objects. Raises BucketNotFound unless `missing_ok`.

        Source: reference, "Destroy ais bucket".
        """
        check_flag(missing_ok, "missing_ok")
        try:
            await self._do("destroy", "DELETE", "destroy", timeout=timeout)
        except BucketNotFound:
            if not missing_ok:
                raise

    async def exists(self, *, timeout: TimeoutLike = None) -> bool:
        """Whether there is such a bucket."""
        try:
            await self.props(timeout=timeout)
        except BucketNotFound:
            return False
        return True

    async def rename(self, to: str, *, timeout: TimeoutLike = None) -> Job:
        """Give it another name. Raises BucketExists where that is taken.

        Source: reference, "Rename ais bucket". Today the new name travels in the query; that is of the server's source.
        """
        check_bucket(to, "to")
        ref = BucketRef(name=to, provider=self.provider, namespace=self.namespace)
        dialect = await self._link.dialect(timeout)
        query = [("bck_to", ref.uname)] if dialect.in_query else []
        name = "" if dialect.in_query else to
        answer = await self._do("rename", "POST", "rename", name=name, query=query, timeout=timeout)
        return self._job(answer, "rename")

    async def copy(
        self, to: str | Bucket, *, prefix: str = "", dry_run: bool = False, timeout: TimeoutLike = None
    ) -> Job:
        """Copy it into another bucket, which is made where it is not there.

        to: A bucket of AIStore's own by its name, or any `Bucket`.
        prefix: Stands before every name in the copy.
        dry_run: Counts, and copies nothing.

        Source: reference, "Copy bucket". Today the destination travels in the query. `prefix` and `dry_run` are of the
        servers' source, and were not recorded.
        """
        ref = to.ref if isinstance(to, Bucket) else BucketRef(name=check_bucket(to, "to"))
        dialect = await self._link.dialect(timeout)
        value: dict[str, Any] = {"dry_run": check_flag(dry_run, "dry_run")}
        value["prepend" if dialect.in_query else "prefix"] = check_text(prefix, "prefix")
        query: list[tuple[str, str]] = []
        if dialect.in_query:
            query.append(("bck_to", ref.uname))
        else:
            value["bck_to"] = ref.json
        answer = await self._do("copy", "POST", "copy", value=value, query=query, timeout=timeout)
        return self._job(answer, "copy")

    # Properties

    async def props(self, *, timeout: TimeoutLike = None) -> BucketProps:
        """Its properties. Raises BucketNotFound.

        Source: reference, "Get bucket properties".
        """
        return await read_props(self._link, self.ref, timeout)

    async def set(self, name: str | Props, value: Any = None, *, timeout: TimeoutLike = None) -> Job | None:
        """Set one property, `set("mirror.enabled", True)`, or many, `set({"mirror": {"enabled": True}})`.

        The job that follows where copies or slices must be made; else None. Raises ValueError for a name that the
        cluster's version does not know: 3.3 answers 200, and ignores it.

        Source: reference, "Set bucket properties", which has `mirror.enable`; the server's name is `mirror.enabled`.
        """
        dialect = await self._link.dialect(timeout)
        props = nested({name: value} if isinstance(name, str) else name, dialect)
        answer = await self._do("set props", "PATCH", "set props", value=props, timeout=timeout)
        return self._job(answer, UNKNOWN) if answer.body.strip() else None

    async def reset(self, *, timeout: TimeoutLike = None) -> Job | None:
        """Give all properties the cluster's values again. The job that follows, or None.

        Source: reference, "Reset bucket properties".
        """
        answer = await self._do("reset props", "PATCH", "reset props", timeout=timeout)
        return self._job(answer, UNKNOWN) if answer.body.strip() else None

    async def mirror(self, copies: int, *, timeout: TimeoutLike = None) -> Job:
        """Keep so many copies of each object on the mountpaths of its target: 1 to 16.

        Source: reference, "Configure bucket as n-way mirror".
        """
        check_count(copies, "copies", least=1, most=16)
        return self._job(await self._do("mirror", "POST", "mirror", value=copies, timeout=timeout), "mirror")

    async def erasure_code(self, *, data_slices: int = 2, parity_slices: int = 2, timeout: TimeoutLike = None) -> Job:
        """Protect all objects by slices on several targets: as many targets must be there as slices, and one more.

        Source: reference, "Enable erasure coding", which sends no value. 3.3 answers that with 400: it wants the
        settings as text that holds JSON. Today's server takes the JSON itself, which is of its source.
        """
        dialect = await self._link.dialect(timeout)
        settings = {
            "data_slices": check_count(data_slices, "data_slices", least=1, most=32),
            "parity_slices": check_count(parity_slices, "parity_slices", least=1, most=32),
            "enabled": True,
        }
        value: Any = settings if dialect.in_query else encode(settings).decode()
        return self._job(
            await self._do("erasure code", "POST", "erasure code", value=value, timeout=timeout), "erasure code"
        )

    async def summary(self, *, fast: bool = False, cached: bool = False, timeout: TimeoutLike = None) -> BucketSummary:
        """How many objects it holds, and of what size. The cluster counts in the background, within `timeout`.

        fast: An estimate of 3.3.
        cached: Only of what the cluster holds itself.

        Source: 3.3, where it is the only operation that answers 202; the reference does not have it. Today's is of the
        server's source, and was not recorded.
        """
        place = (self.ref.path, self.ref.query)
        found = await read_summary(self._link, *place, fast=fast, cached=cached, timeout=timeout)
        if not found:
            raise BucketNotFound(f"{self} is in no summary", operation="aistore summary")
        return found[0]

    async def evict(self, *, timeout: TimeoutLike = None) -> None:
        """Drop the cluster's copy of a cloud's bucket. Raises NotRemote before anything is sent.

        Source: reference, "Evict cloud bucket". Only the refusal of an ais bucket was recorded.
        """
        await require_remote(self._link, self.ref, "evict", timeout)
        await self._do("evict bucket", "DELETE", "evict bucket", timeout=timeout)

    # Many objects

    def list(
        self,
        prefix: str = "",
        *,
        props: Iterable[str] | None = None,
        start_after: str = "",
        page_size: int | None = None,
        cached: bool = False,
        misplaced: bool = False,
        deleted: bool = False,
        flags: int = 0,
        time_format: str | None = None,
        timeout: TimeoutLike = None,
    ) -> Listing:
        """Its objects by name, as an async iterator. See `Listing`.

        props: What each entry shows: `name`, `size`, `version`, `checksum`, `atime`, `cached`, `target_url` (today
            `location`), `status`, `copies`, `ec`, today `custom`; by default `name`, `size`, `checksum` and `atime`.
        start_after: Names after this one only.
        page_size: Entries at a time; the server's own limit by default, 10,000 for a bucket of AIStore's.
        cached: Only what the cluster holds itself.
        misplaced, deleted: Also what is on another target than it should be, or gone already.
        flags: Further bits of the server's own.
        time_format: A layout of Go's, such as `2006-01-02T15:04:05Z07:00`.
        timeout: Limits of each page.
        """
        return make_listing(
            self._link,
            self.ref,
            prefix=prefix,
            props=props,
            start_after=start_after,
            page_size=page_size,
            cached=cached,
            misplaced=misplaced,
            deleted=deleted,
            flags=flags,
            time_format=time_format,
            timeout=timeout,
        )

    async def delete_objects(
        self, names: Iterable[str] | Range | None = None, *, template: str | None = None, timeout: TimeoutLike = None
    ) -> Job:
        """Delete objects by their names, or those of a range. Names that are not there are no error.

        Raises ValueError for an empty list or a template without a range, before anything is sent: today's server would
        delete the whole bucket, and the targets of 3.3 would end.

        Source: reference, "Delete a list of objects" and "Delete a range of objects", whose list is text; a list it is.
        """
        return await self._many("delete", "DELETE", names, template, timeout)

    async def evict_objects(
        self, names: Iterable[str] | Range | None = None, *, template: str | None = None, timeout: TimeoutLike = None
    ) -> Job:
        """Drop the cluster's copies of a cloud's objects. Raises NotRemote, and ValueError as `delete_objects` does.

        Source: reference, "Evict a list of objects" and "Evict a range of objects". No cloud's was recorded.
        """
        return await self._many("evict", "DELETE", names, template, timeout, remote=True)

    async def prefetch(
        self, names: Iterable[str] | Range | None = None, *, template: str | None = None, timeout: TimeoutLike = None
    ) -> Job:
        """Fetch a cloud's objects into the cluster. Raises NotRemote, and ValueError as `delete_objects` does.

        Source: reference, "Prefetch a list of objects" and "Prefetch a range of objects". Only the refusal of an ais
        bucket was recorded.
        """
        return await self._many("prefetch", "POST", names, template, timeout, remote=True)

    async def promote(
        self,
        path: str,
        *,
        target: str | None = None,
        prefix: str | None = None,
        trim_prefix: str | None = None,
        recursive: bool = False,
        overwrite: bool = False,
        keep: bool = True,
        timeout: TimeoutLike = None,
    ) -> Job | None:
        """Make objects of files that lie on targets. The job, where the cluster goes on in the background; else None.

        path: A file or a directory on the target, absolute.
        target: The ID of the one that has it; all of them by default.
        prefix: The objects' name, or what stands before the files' names below `path`.
        trim_prefix: What of `path` is left out in the objects' names, in place of `prefix`: `/user/` of `/user/dir`
            gives `dir/file1`. Raises Unsupported where nothing would be left, for an empty name is the server's own.
        keep: Leaves the files where they are.

        Raises NotFound where the target has no such path.

        Source: reference, "Promote file/directory", which posts to the bucket, with `recurs` and `trim_prefix`. 3.3
        answers that with 400: it is posted to `/v1/objects/<bucket>`, with `objname`, `recursive`, `keep_original`.
        Without `target`, and on today's server, it is of the servers' source, and was not recorded.
        """
        return await promote(
            self._link,
            self.ref,
            check_path(path),
            target=target,
            prefix=prefix,
            trim_prefix=trim_prefix,
            recursive=recursive,
            overwrite=overwrite,
            keep=keep,
            timeout=timeout,
        )

    async def put_many(
        self,
        items: Mapping[str, Content] | Iterable[tuple[str, Content]] | AsyncIterable[tuple[str, Content]],
        *,
        concurrency: int = 8,
        timeout: TimeoutLike = None,
    ) -> Results:
        """Write many objects, so many at a time: one result each, in their order. One that fails ends no other."""
        return await put_many(self.object, items, concurrency=concurrency, timeout=timeout)

    async def get_many(
        self,
        names: Iterable[str] | AsyncIterable[str],
        *,
        to: str | os.PathLike[str] | None = None,
        concurrency: int = 8,
        timeout: TimeoutLike = None,
    ) -> Results:
        """Read many objects, so many at a time: one result each, in their order. One that fails ends no other.

        to: A directory into which they are saved, under their names; in memory by default.
        """
        return await get_many(self.object, names, to=to, concurrency=concurrency, timeout=timeout)

    # What they share

    async def _many(
        self, kind: str, method: str, names: Any, template: str | None, timeout: TimeoutLike, *, remote: bool = False
    ) -> Job:
        value = selection(names, template)
        if remote:
            await require_remote(self._link, self.ref, kind, timeout)
        return self._job(await self._do(f"{kind} objects", method, kind, value=value, timeout=timeout), kind)

    async def _do(
        self,
        operation: str,
        method: str,
        kind: str,
        *,
        name: str = "",
        value: Any = None,
        query: Iterable[tuple[str, str]] = (),
        timeout: TimeoutLike,
    ) -> Response:
        dialect = await self._link.dialect(timeout)
        body = action(dialect.action(kind), name, value)
        pairs = [*self.ref.query, *query]
        asked = request(operation, method, self.ref.path, effect=Effect.ONCE, query=pairs, body=body)
        return await self._link.ask(asked, timeout, missing=BucketNotFound)

    def _job(self, answer: Response, kind: str) -> Job:
        return job_of(self._link, answer, kind, self.ref)
