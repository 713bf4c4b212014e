"""An object as it is written: found by an empty question, and sent once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio

from aetcd._wire.message import Effect
from aetcd.aistore._checksums import hasher
from aetcd.aistore._codec import BucketRef, object_path, request
from aetcd.aistore._dialect import Dialect
from aetcd.aistore._errors import Busy, Unavailable
from aetcd.aistore._link import Link, TimeoutLike, spent
from aetcd.aistore._models import Checksum
from aetcd.aistore._sources import Pieces, Source
from aetcd.errors import (
    ConnectFailed,
    Outcome,
    OutcomeUnknown,
    RequestTimeout,
    ServerError,
    TransportError,
    Unsupported,
)

__all__ = ["OCTETS", "checksum_headers", "custom_headers", "put_source"]

OCTETS = {"Content-Type": "application/octet-stream"}


async def put_source(
    link: Link,
    bucket: BucketRef,
    name: str,
    source: Source,
    *,
    headers: Mapping[str, str],
    resend: bool,
    timeout: TimeoutLike,
) -> None:
    """Send a source to the target of an object.

    Where it was not taken whole, the target has kept nothing: a short body is answered by 500, and not stored. So it is
    sent again, where it can be rewound. After its last byte only `resend` allows that.
    """
    asked = request(
        "put", "PUT", object_path(bucket, name), effect=Effect.ONCE, query=bucket.query, headers={**OCTETS, **headers}
    )
    attempt, budget = 0, link.budget(timeout)
    while True:
        attempt += 1
        pieces = source.pieces()
        try:
            await link.upload(asked, pieces, length=source.length, pause=timeout, budget=budget)
        except (ConnectFailed, RequestTimeout, OutcomeUnknown, Unavailable, Busy) as e:
            error = _as_it_is(e, source, pieces)
            # A target that says it cannot now has kept nothing.
            certain = isinstance(error, ServerError) or error.outcome is Outcome.NOT_SENT
            if pieces.given:
                # The transfer took its time; the search for the target begins anew.
                budget = link.budget(timeout)
            over = attempt >= link.retry.attempts or spent(budget)
            if not source.rewindable or not (certain or resend) or over:
                if error is e:
                    raise
                raise error from e
        else:
            return
        await anyio.sleep(min(link.retry.cap, link.retry.base * 2.0 ** (attempt - 1)))


def _as_it_is(error: TransportError | ServerError, source: Source, pieces: Pieces) -> TransportError | ServerError:
    if isinstance(error, ServerError) or error.outcome is Outcome.NOT_SENT:
        return error
    if pieces.complete or source.length is None:
        return error
    text = f"it broke after {pieces.given} of {source.length} bytes, so nothing was stored: {error.message}"
    return ConnectFailed(text, outcome=Outcome.NOT_SENT, peer=error.peer, operation=error.operation)


async def checksum_headers(dialect: Dialect, source: Source, checksum: Checksum | str | None) -> dict[str, str]:
    """What a target shall compare with what it got.

    checksum: One that is known; or a type, for which the source is read twice.

    Raises ValueError where it cannot be read twice.
    """
    if checksum is None:
        return {}
    if isinstance(checksum, str):
        computed = hasher(checksum, dialect)
        if not source.rewindable:
            raise ValueError("checksum: content can be read once only: give the Checksum itself, or none")
        async for piece in source.pieces():
            computed.update(piece)
        checksum = Checksum(type=checksum, value=computed.hexdigest())
    if not isinstance(checksum, Checksum):
        raise TypeError(f"checksum must be a Checksum or the name of its type, not {type(checksum).__name__}")
    return {dialect.headers["checksum type"]: checksum.type, dialect.headers["checksum value"]: checksum.value}


def custom_headers(dialect: Dialect, custom: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata of the user's. 3.3 takes one pair for each header, of which we send one."""
    if not custom:
        return {}
    pairs: list[str] = []
    for key, value in custom.items():
        pair: Any = f"{key}={value}"
        if not pair.isascii() or not pair.isprintable() or "," in pair or "=" in str(key) or not key:
            raise ValueError(f"custom: {key!r} and its value must be printable ASCII without commas, and no '=' in it")
        pairs.append(pair)
    if len(pairs) > 1 and not dialect.in_query:
        raise Unsupported(f"custom: AIStore {dialect} takes one pair, not {len(pairs)}")
    return {dialect.headers["custom"]: ",".join(pairs)}
