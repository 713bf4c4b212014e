"""Files that hang on documents, streamed both ways."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from aetcd._transport.streams import Stream
from aetcd._wire.message import Request, Response
from aetcd.couchdb._arguments import check_count, check_id, check_revision, check_text, id_path, name_path
from aetcd.couchdb._codec import etag_of, make
from aetcd.couchdb._conflicts import with_both_sides
from aetcd.couchdb._documents import Saved, saved_from
from aetcd.couchdb._errors import Conflict, DatabaseNotFound, DocumentNotFound, NotFound, facts_in
from aetcd.couchdb._link import Limit, Link

__all__ = ["Attachment", "Attachments"]

# Refusals shall come as JSON here too. Without `identity` the server sends text as it keeps it, compressed, and its
# length is that of the compressed bytes.
PLAIN = {"Accept": "application/json, */*", "Accept-Encoding": "identity"}


class Attachment:
    """An attachment's content, read inside `async with`, once.

        async with db.attachment("report", "figures.csv") as figures:
            async for piece in figures: ...

    content_type, length, digest: As the server tells; `length` in bytes, `digest` as in its ETag. They are there inside
        the block.
    """

    content_type: str
    length: int | None
    digest: str | None

    def __init__(self, opened: AbstractAsyncContextManager[Stream], silence: float) -> None:
        self._opened = opened
        self._silence = silence
        self._stream: Stream | None = None

    async def __aenter__(self) -> Self:
        try:
            self._stream = await self._opened.__aenter__()
        except NotFound as e:
            raise _attachment_not_found(e) from None
        headers = self._stream.headers
        self.content_type = headers.get("Content-Type", "application/octet-stream")
        length = headers.get("Content-Length")
        self.length = None if length is None else int(length)
        self.digest = etag_of(self._stream.response(b""))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream = None
        await self._opened.__aexit__(None, None, None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes, as they come. A cancelled wait loses none.

        Raises ConnectFailed where the connection broke before the end, and RequestTimeout where nothing came for the
        time of a call: then it has to be read anew.
        """
        if self._stream is None:
            raise RuntimeError("an attachment is read inside `async with`")
        piece = await self._stream.read(within=self._silence)
        if not piece:
            raise StopAsyncIteration
        return piece

    async def read(self) -> bytes:
        """All that is left of it."""
        return b"".join([piece async for piece in self])


class Attachments:
    """The attachments of one database's documents. See `Database`."""

    _link: Link
    name: str
    path: str

    def attachment(self, id: str, name: str, *, revision: str | None = None, timeout: Limit = None) -> Attachment:
        """An attachment's content, to be read inside `async with`.

        revision: The document's, and not the winner.
        timeout: Seconds until its first byte, and of each silence after that.

        Entering it raises DocumentNotFound where there is no such document or attachment, and DatabaseNotFound.
        """
        query = {"rev": None if revision is None else check_revision(revision)}
        request = make("get attachment", "GET", self._file(id, name), query=query, headers=PLAIN)
        limits = self._link.patient(timeout)
        return Attachment(self._link.stream(request, timeout=limits), limits.total)

    async def put_attachment(
        self,
        id: str,
        name: str,
        content: bytes | AsyncIterable[bytes],
        *,
        content_type: str = "application/octet-stream",
        revision: str | None = None,
        length: int | None = None,
        timeout: Limit = None,
    ) -> Saved:
        """Hang a file on a document, or another content on the same name.

        content: Bytes, or pieces of them, of which no more are taken than the server takes.
        revision: That which the document is at; without one the document must not exist, and is made.
        length: Bytes in all, where they come in pieces and it is known.
        timeout: Of each pause, where they come in pieces; else of the whole.

        Raises Conflict, DatabaseNotFound, TooLarge, and OutcomeUnknown where no answer tells. A cancel leaves the
        outcome unknown.
        """
        query = {"rev": None if revision is None else check_revision(revision)}
        headers = {"Content-Type": check_text(content_type, "content_type")}
        where = self._file(id, name)
        if isinstance(content, bytes | bytearray | memoryview):
            if length is not None:
                raise ValueError("length: that of bytes is known")
            request = make("put attachment", "PUT", where, query=query, body=bytes(content), headers=headers)
            return await self._saved(id, revision, request, self._link.ask(request, timeout=timeout), timeout)
        if not isinstance(content, AsyncIterable):
            raise TypeError(f"content must be bytes or an async iterable of bytes, not {type(content).__name__}")
        if length is not None:
            check_count(length, "length")
        request = make("put attachment", "PUT", where, query=query, headers=headers)
        sent = self._link.upload(request, content, length=length, timeout=timeout)
        return await self._saved(id, revision, request, sent, timeout)

    async def delete_attachment(self, id: str, name: str, revision: str, *, timeout: Limit = None) -> Saved:
        """Take one off a document. Raises Conflict, DocumentNotFound, DatabaseNotFound, OutcomeUnknown."""
        query = {"rev": check_revision(revision)}
        request = make("delete attachment", "DELETE", self._file(id, name), query=query)
        return await self._saved(id, revision, request, self._link.ask(request, timeout=timeout), timeout)

    def _file(self, id: str, name: str) -> str:
        return self.path + id_path(check_id(id)) + name_path(check_text(name, "name"))

    async def _saved(
        self, id: str, revision: str | None, request: Request, sent: Awaitable[Response], timeout: Limit
    ) -> Saved:
        try:
            answer = await sent
        except Conflict as e:
            where = self.path + id_path(id)
            raise await with_both_sides(self._link, e, where, id=id, revision=revision, timeout=timeout) from None
        except NotFound as e:
            raise _attachment_not_found(e) from None
        return saved_from(request, answer)


def _attachment_not_found(error: NotFound) -> NotFound:
    return error if isinstance(error, DatabaseNotFound) else DocumentNotFound(error.reason, **facts_in(error))
