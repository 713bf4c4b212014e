# /// script
# dependencies = ["aistore"]
# ///
"""The SDK of AIStore, on requests: no asyncio. A read that breaks off is not taken up again, but by its `as_file`."""

from __future__ import annotations

from aistore.sdk import Client
from aistore.sdk.obj.object import Object

from benchmarks.contest import Figures, Gauge, transferred
from benchmarks.contract import Absent


def transfer(large: Object, way: str, size: int, file: str) -> int:
    """Bytes that went one way."""
    if way == "get":
        return sum(len(piece) for piece in large.get_reader())
    large.get_writer().put_file(file)
    return size


def measure(*, url: str, double: int, bucket: str, name: str, way: str, size: int, file: str) -> Figures:
    """One measurement, for `benchmarks.objects`, with connections warm."""
    if way == "stream":
        raise Absent("it puts bytes or a file, no stream")
    objects = Client(url).bucket(bucket)
    small = objects.object("small")
    small.get_writer().put_content(b"x")
    small.get_reader().read_all()
    with Gauge(double) as gauge:
        moved = transfer(objects.object(name), way, size, file)
    return transferred(gauge, size, moved)
