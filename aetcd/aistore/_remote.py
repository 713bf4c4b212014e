"""Whether a bucket is a cloud's, so that the cluster's copies can be dropped without loss."""

from __future__ import annotations

from aetcd.aistore._bucket_shapes import read_bucket_props
from aetcd.aistore._codec import BucketRef, request
from aetcd.aistore._errors import BucketNotFound, NotRemote
from aetcd.aistore._link import Link, TimeoutLike
from aetcd.aistore._models import BucketProps

__all__ = ["read_props", "require_remote"]


async def read_props(link: Link, bucket: BucketRef, timeout: TimeoutLike) -> BucketProps:
    """A bucket's properties. Raises BucketNotFound."""
    dialect = await link.dialect(timeout)
    asked = request("bucket props", "HEAD", bucket.path, query=bucket.query)
    answer = await link.ask(asked, timeout, missing=BucketNotFound)
    return read_bucket_props(dialect, answer.headers)


async def require_remote(link: Link, bucket: BucketRef, operation: str, timeout: TimeoutLike) -> None:
    """Raises NotRemote for a bucket of AIStore's own. Its properties are asked for where its name does not tell."""
    elsewhere = (bucket.namespace or "").startswith("@")
    if elsewhere or bucket.provider not in {None, "ais"}:
        return
    props = await read_props(link, bucket, timeout)
    if props.provider in {"", "ais"} and props.backend is None:
        raise NotRemote(f"{operation}: {bucket} is AIStore's own, and has no copy elsewhere", operation="aistore")
