"""Names of a bucket's objects, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from attrs import define

from aetcd.aistore._arguments import check_count, check_flag, check_text
from aetcd.aistore._bucket_shapes import read_page
from aetcd.aistore._codec import BucketRef, action, request
from aetcd.aistore._errors import BucketNotFound, ListingIncomplete, NotFound
from aetcd.aistore._models import Entry, Page

if TYPE_CHECKING:
    from aetcd.aistore._link import Link, TimeoutLike

__all__ = ["CACHED", "DELETED", "MISPLACED", "Listing", "make_listing"]

CACHED, MISPLACED, DELETED = 1, 2, 4


@define(eq=False)
class Listing:
    """A bucket's objects: `async for entry in bucket.list(): ...`, or page by page with `pages()`.

    One page is held at a time, whatever the bucket's size. It goes on to the end or raises: an answer that breaks off,
    or a token that leads nowhere, is never taken for the end.

    Source: reference, "List objects in a given bucket": POST with options in the body. Today it is GET with a body. The
    last page, when full, still has a token: one more request finds that nothing follows.
    """

    _link: Link
    _bucket: BucketRef
    _options: dict[str, Any]
    _props: tuple[str, ...] | None
    _timeout: TimeoutLike

    async def __aiter__(self) -> AsyncIterator[Entry]:
        async for page in self.pages():
            for entry in page.entries:
                yield entry

    async def pages(self) -> AsyncIterator[Page]:
        """Page by page; the last may be empty. Raises BucketNotFound and ListingIncomplete."""
        token = listing = ""
        while True:
            page = await self._page(token, listing)
            if page.token and page.token == token:
                raise ListingIncomplete(
                    f"{self._bucket}: the server gave the token {token!r} twice, so the rest cannot be listed",
                    operation="aistore list",
                )
            yield page
            if not page.token:
                return
            token, listing = page.token, page.listing

    async def _page(self, token: str, listing: str) -> Page:
        try:
            return await self._ask(token, listing)
        except NotFound as e:
            if not listing or isinstance(e, BucketNotFound):
                raise
            # The gateway that kept the listing is gone, or has forgotten it: the token begins another from there on.
            return await self._ask(token, "")

    async def _ask(self, token: str, listing: str) -> Page:
        dialect = await self._link.dialect(self._timeout)
        if self._props is not None:
            unknown = set(self._props) - dialect.list_props
            if unknown:
                raise ValueError(f"props: AIStore {dialect} lists no {', '.join(sorted(unknown))}")
        value = dict(self._options)
        if listing:
            value["uuid"] = listing
        if token:
            value["continuation_token"] = token
        body = action(dialect.action("list"), value=value)
        asked = request("list", dialect.listing, self._bucket.path, query=self._bucket.query, body=body)
        # With an ID in the question, a 404 without a word may mean the listing as well as the bucket.
        answer = await self._link.ask(asked, self._timeout, missing=NotFound if listing else BucketNotFound)
        return read_page(answer.body)


def make_listing(
    link: Link,
    bucket: BucketRef,
    *,
    prefix: str,
    props: Iterable[str] | None,
    start_after: str,
    page_size: int | None,
    cached: bool,
    misplaced: bool,
    deleted: bool,
    flags: int,
    time_format: str | None,
    timeout: TimeoutLike,
) -> Listing:
    """A listing of these options. The server wants its flags as text, and answers 400 to what it does not know."""
    options: dict[str, Any] = {}
    if check_text(prefix, "prefix"):
        options["prefix"] = prefix
    if check_text(start_after, "start_after"):
        options["start_after"] = start_after
    if page_size is not None:
        options["pagesize"] = check_count(page_size, "page_size", least=1)
    if time_format is not None:
        options["time_format"] = check_text(time_format, "time_format", empty=False)
    wanted = None if props is None else _names(props)
    if wanted is not None:
        options["props"] = ",".join(wanted)
    chosen = ((cached, "cached", CACHED), (misplaced, "misplaced", MISPLACED), (deleted, "deleted", DELETED))
    bits = check_count(flags, "flags") | sum(flag for value, argument, flag in chosen if check_flag(value, argument))
    if bits:
        options["flags"] = str(bits)
    return Listing(link, bucket, options, wanted, timeout)


def _names(props: Iterable[str]) -> tuple[str, ...]:
    names = tuple(props.split(",")) if isinstance(props, str) else tuple(props)
    for name in names:
        if not check_text(name, "props", empty=False).replace("_", "").isalnum():
            raise ValueError(f"props: {name!r} is no name of a property")
    if not names:
        raise ValueError("props must name a property at least")
    return names
