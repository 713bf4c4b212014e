"""One object: read, written, asked about, renamed, deleted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from aetcd._wire.message import Effect, Request
from aetcd.aistore._append import Appender
from aetcd.aistore._arguments import check_count, check_flag, check_object
from aetcd.aistore._bucket_shapes import read_object_props
from aetcd.aistore._codec import BucketRef, action, object_path, request
from aetcd.aistore._errors import ObjectNotFound
from aetcd.aistore._reader import ObjectReader, Progress, Span
from aetcd.aistore._remote import require_remote
from aetcd.aistore._saving import check_bytes, save, save_in_ranges, together
from aetcd.aistore._sources import Content, as_source
from aetcd.aistore._writing import checksum_headers, custom_headers, put_source

if TYPE_CHECKING:
    from aetcd.aistore._link import Link, TimeoutLike
    from aetcd.aistore._models import Checksum, ObjectProps

__all__ = ["Object"]


@frozen
class Object:
    """An object of a bucket, whether it exists or not. Making one sends nothing.

    name: Any text but NUL. It is percent-encoded by us on both ways, since the gateway's redirect holds it decoded.
    """

    _link: Link = field(repr=False)
    _bucket: BucketRef
    name: str

    def __attrs_post_init__(self) -> None:
        check_object(self.name)

    def __str__(self) -> str:
        return f"{self._bucket}/{self.name}"

    # Asking

    async def head(self, *, timeout: TimeoutLike = None) -> ObjectProps:
        """Its properties. Raises ObjectNotFound and BucketNotFound.

        Source: reference, "Get object props".
        """
        dialect = await self._link.dialect(timeout)
        answer = await self._link.go(self._request("head", "HEAD"), timeout)
        return read_object_props(dialect, answer.headers, self._bucket, self.name)

    async def exists(self, *, timeout: TimeoutLike = None) -> bool:
        """Whether there is such an object, in the cluster or in the cloud behind it. Raises BucketNotFound."""
        try:
            await self.head(timeout=timeout)
        except ObjectNotFound:
            return False
        return True

    async def is_cached(self, *, timeout: TimeoutLike = None) -> bool:
        """Whether the cluster itself holds it, so that a read needs no cloud. Raises BucketNotFound.

        Source: reference, "Check if an object from a Cloud bucket is cached": 3.3 answers 200 without headers, or 404.
        """
        dialect = await self._link.dialect(timeout)
        asked = self._request("is cached", "HEAD", query=[("check_cached", "true")])
        try:
            answer = await self._link.go(asked, timeout)
        except ObjectNotFound:
            return False
        return answer.headers.get(dialect.headers["present"], "true").lower() != "false"

    # Reading

    def get(
        self,
        *,
        offset: int = 0,
        length: int | None = None,
        last: int | None = None,
        verify: bool = True,
        timeout: TimeoutLike = None,
    ) -> ObjectReader:
        """Its bytes as a stream: `async with object.get() as reader: async for piece in reader: ...`.

        offset, length: The range to read: from so many bytes on, so many of them.
        last: So many bytes from the end, in place of the two.
        verify: Checks the checksum of the whole object. The cluster tells none for a range, unless its bucket has
            `checksum.enable_read_range`.
        timeout: Limits of opening it, and of opening it again where it broke. The reading itself has none.

        Source: reference, "GET object" and "Read range". The reference has the redirect's status as that of all; it is
        301 for a GET, and is kept for no later one. A range is answered by 200 on 3.3, by 206 today; several ranges at
        once by 416.
        """
        check_flag(verify, "verify")
        span = Span(
            offset=check_count(offset, "offset"),
            length=None if length is None else check_count(length, "length", least=1),
            last=None if last is None else check_count(last, "last", least=1),
        )
        if last is not None and (offset or length is not None):
            raise ValueError("last: it stands alone, without offset and length")
        return self._reader(span, verify=verify, timeout=timeout)

    async def read(
        self,
        *,
        offset: int = 0,
        length: int | None = None,
        last: int | None = None,
        ranges: int = 1,
        verify: bool = True,
        timeout: TimeoutLike = None,
    ) -> bytes:
        """All its bytes, or those of a range, in memory. See `get`.

        ranges: Reads the whole object by so many connections at once.
        """
        check_count(ranges, "ranges", least=1)
        if ranges == 1:
            async with self.get(offset=offset, length=length, last=last, verify=verify, timeout=timeout) as reader:
                return await reader.read()
        if offset or length is not None or last is not None:
            raise ValueError("ranges: the whole object is read, without offset, length and last")
        dialect = await self._link.dialect(timeout)
        props = await self.head(timeout=timeout)
        data = bytearray(props.size)

        async def write(at: int, piece: bytes) -> None:
            data[at : at + len(piece)] = piece

        await together(lambda span: self._reader(span, verify=False, timeout=timeout), props, ranges, write, None)
        if verify:
            check_bytes(data, props, dialect)
        return bytes(data)

    async def save_to(
        self,
        path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        ranges: int = 1,
        resume: bool = False,
        verify: bool = True,
        timeout: TimeoutLike = None,
    ) -> None:
        """Read it into a file, which is there when it is whole and checked, and not before.

        progress: Called with the bytes done and those in all (None where unknown); it may be async.
        ranges: Reads by so many connections at once.
        resume: What an earlier call with `resume=True` left in `<path>.part` is gone on with; that it is of the same
            object the checksum of the whole tells at the end, and nothing else. Without, a failure leaves nothing.
        """
        check_count(ranges, "ranges", least=1)
        check_flag(resume, "resume")
        check_flag(verify, "verify")
        if ranges > 1 and resume:
            raise ValueError("resume: it goes on by one connection, not by several ranges")
        target = Path(path)
        dialect = await self._link.dialect(timeout)
        if ranges > 1:
            await save_in_ranges(
                lambda span: self._reader(span, verify=False, timeout=timeout),
                target,
                await self.head(timeout=timeout),
                ranges,
                dialect=dialect,
                verify=verify,
                progress=progress,
            )
            return
        await save(
            lambda span: self._reader(span, verify=verify, timeout=timeout),
            lambda: self.head(timeout=timeout),
            target,
            dialect=dialect,
            verify=verify,
            progress=progress,
            resume=resume,
        )

    # Writing

    async def put(
        self,
        content: Content,
        *,
        length: int | None = None,
        checksum: Checksum | str | None = None,
        custom: Mapping[str, str] | None = None,
        resend: bool = False,
        timeout: TimeoutLike = None,
    ) -> None:
        """Write it, in place of an older one.

        content: Bytes, a `pathlib.Path`, a binary file (from where it stands), or an async iterator of bytes.
        length: Bytes in all, for an iterator; without it the body goes in chunks.
        checksum: What the target compares with what it got: a Checksum, or the name of a type, for which the content is
            read twice. Raises ChecksumMismatch, and nothing is stored, where they differ.
        custom: Metadata that stays with the object; one pair on 3.3. Several, on today's server, are of its source, and
            were not recorded.
        resend: Allows that it is sent again, where the content can be rewound, also when it may have been stored by a
            target that gave no answer. By default that raises OutcomeUnknown. What was not sent whole is not stored,
            and is sent again by itself.
        timeout: Limits of each pause, not of the whole transfer.

        A cancel leaves the older object, or the new one where all was sent. Raises BucketNotFound.

        Source: reference, "PUT object". An empty question finds the target, since a gateway does not read a body: it
        answers and closes, and a large one would break the connection before the answer is read.
        """
        check_flag(resend, "resend")
        source = as_source(content, length)
        try:
            dialect = await self._link.dialect(timeout)
            headers = await checksum_headers(dialect, source, checksum)
            headers |= custom_headers(dialect, custom)
            await put_source(
                self._link, self._bucket, self.name, source, headers=headers, resend=resend, timeout=timeout
            )
        finally:
            source.close()

    def append(self, *, timeout: TimeoutLike = None) -> Appender:
        """Write it in steps: `async with object.append() as appender: await appender.write(...)`. See `Appender`."""
        return Appender(self._link, self._bucket, self.name, timeout)

    async def delete(self, *, missing_ok: bool = False, timeout: TimeoutLike = None) -> None:
        """Delete it, in the cloud too where its bucket is of one. Raises ObjectNotFound unless `missing_ok`.

        Source: reference, "Delete object".
        """
        check_flag(missing_ok, "missing_ok")
        await self._link.dialect(timeout)
        try:
            await self._link.go(self._request("delete", "DELETE", effect=Effect.ONCE), timeout)
        except ObjectNotFound:
            if not missing_ok:
                raise

    async def rename(self, to: str, *, timeout: TimeoutLike = None) -> Object:
        """Give it another name in the same bucket; AIStore's own buckets without erasure coding only.

        Source: reference, "Rename/move object", which has the action `rename`; 3.3 answers that with 400, and calls it
        `renameobj`.
        """
        check_object(to, "to")
        dialect = await self._link.dialect(timeout)
        body = action(dialect.action("rename object"), to)
        await self._link.go(self._request("rename object", "POST", effect=Effect.ONCE, body=body), timeout)
        return Object(self._link, self._bucket, to)

    async def evict(self, *, timeout: TimeoutLike = None) -> None:
        """Drop the cluster's copy of a cloud's object. Raises ObjectNotFound, and NotRemote before anything is sent.

        Source: reference, "Evict object from cache". For a bucket of AIStore's own the target of 3.3 ends the
        connection in a panic, so that the bucket's provider is asked for first where it is not known. Nothing but that
        panic was recorded: the eviction of a cloud's object is of the servers' source.
        """
        dialect = await self._link.dialect(timeout)
        await require_remote(self._link, self._bucket, "evict", timeout)
        body = action(dialect.action("evict"))
        await self._link.go(self._request("evict", "DELETE", effect=Effect.ONCE, body=body), timeout)

    def _request(
        self,
        operation: str,
        method: str,
        *,
        effect: Effect = Effect.READ,
        query: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
    ) -> Request:
        path = object_path(self._bucket, self.name)
        pairs: list[Any] = [*self._bucket.query, *(query or [])]
        return request(operation, method, path, effect=effect, query=pairs, body=body)

    def _reader(self, span: Span, *, verify: bool, timeout: TimeoutLike) -> ObjectReader:
        return ObjectReader(self._link, self._bucket, self.name, span, verify, timeout)
