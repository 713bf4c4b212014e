"""Objects made of files that lie on targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetcd._wire.message import Effect
from aetcd.aistore._arguments import check_flag, check_object, check_text
from aetcd.aistore._codec import BucketRef, action, request
from aetcd.aistore._errors import NotFound
from aetcd.aistore._jobs import Job, job_of
from aetcd.errors import Unsupported

if TYPE_CHECKING:
    from aetcd.aistore._link import Link, TimeoutLike

__all__ = ["promote"]


async def promote(
    link: Link,
    ref: BucketRef,
    path: str,
    *,
    target: str | None,
    prefix: str | None,
    trim_prefix: str | None,
    recursive: bool,
    overwrite: bool,
    keep: bool,
    timeout: TimeoutLike,
) -> Job | None:
    """See `Bucket.promote`."""
    name = prefix
    if trim_prefix is not None:
        if prefix is not None:
            raise ValueError("prefix and trim_prefix: only one of them can name the objects")
        name = _trimmed(path, trim_prefix)
    if name:
        check_object(name, "prefix")
    dialect = await link.dialect(timeout)
    words = dialect.promotion
    keep = check_flag(keep, "keep")
    value: dict[str, Any] = {
        words["target"]: check_text(target or "", "target"),
        words["name"]: name or "",
        words["recursive"]: check_flag(recursive, "recursive"),
        words["overwrite"]: check_flag(overwrite, "overwrite"),
        # Today it is asked the other way about: `dls`, delete the source.
        words["keep"]: keep if words["keep"].startswith("keep") else not keep,
    }
    if "source" in words:
        value[words["source"]] = path
    body = action(dialect.action("promote"), path, value)
    path_of_objects = ref.path.replace("/v1/buckets/", "/v1/objects/", 1)
    asked = request("promote", "POST", path_of_objects, effect=Effect.ONCE, query=ref.query, body=body)
    # With a target the gateway redirects there; without one it tells all of them itself, and must not be asked twice.
    if target:
        answer = await link.go(asked, timeout, missing=NotFound, missing_there=NotFound)
    else:
        answer = await link.ask(asked, timeout)
    return job_of(link, answer, "promote", ref) if answer.body.strip() else None


def _trimmed(path: str, trim_prefix: str) -> str:
    check_text(trim_prefix, "trim_prefix", empty=False)
    if not path.startswith(trim_prefix):
        raise ValueError(f"trim_prefix: {path!r} does not begin with {trim_prefix!r}")
    name = path.removeprefix(trim_prefix).strip("/")
    if not name:
        raise Unsupported(f"trim_prefix: nothing of {path!r} would be left for the objects' names")
    return name
