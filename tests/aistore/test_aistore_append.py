"""Objects written in steps, on each version by its own names."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from doubles.aistore import AIStoreDouble

from aetcd.aistore import Bucket, BucketNotFound
from aetcd.errors import DecodeError, OutcomeUnknown


async def test_append_is_visible_at_its_end(bucket: Bucket, double: AIStoreDouble, tmp_path: Path) -> None:
    """And not before; of every kind of content."""
    (tmp_path / "f").write_bytes(b"from a file")
    async with bucket.object("log").append() as appender:
        await appender.write(b"part 1-")
        await appender.write(tmp_path / "f")
        assert not await bucket.object("log").exists()
        assert appender.size == 18
    assert double.read("b", "log") == b"part 1-from a file"


async def test_append_replaces_an_older_object(bucket: Bucket, double: AIStoreDouble) -> None:
    """At its end: until then the older one is read."""
    await bucket.object("log").put(b"older")
    async with bucket.object("log").append() as appender:
        await appender.write(b"newer")
        assert await bucket.object("log").read() == b"older"
    assert double.read("b", "log") == b"newer"


async def test_append_of_nothing_makes_an_empty_object(bucket: Bucket, double: AIStoreDouble) -> None:
    """A block that wrote nothing still promises the object."""
    async with bucket.object("log").append():
        pass
    assert double.read("b", "log") == b""


async def test_append_that_fails_leaves_nothing_visible(bucket: Bucket, double: AIStoreDouble) -> None:
    """Nothing is flushed."""
    with pytest.raises(LookupError):
        async with bucket.object("log").append() as appender:
            await appender.write(b"part 1")
            raise LookupError("the user's own")
    assert not await bucket.object("log").exists()
    assert not [a for a in double.asked("PUT") if "flush" in a.query.values()]


async def test_append_whose_write_breaks_is_of_no_more_use(bucket: Bucket, double: AIStoreDouble) -> None:
    """Whether the part is there is open: no other is sent, and nothing is flushed."""
    double.owner("b", "log").break_put(after=3)
    with pytest.raises(RuntimeError, match="nothing was flushed"):
        async with bucket.object("log").append() as appender:
            with pytest.raises(OutcomeUnknown):
                await appender.write(b"abc")
            with pytest.raises(RuntimeError, match="begin again"):
                await appender.write(b"more")
    assert not await bucket.object("log").exists()


async def test_append_outside_its_block(bucket: Bucket) -> None:
    """It is refused."""
    appender = bucket.object("log").append()
    with pytest.raises(RuntimeError, match="async with"):
        await appender.write(b"x")
    async with appender:
        await appender.write(b"x")
    with pytest.raises(RuntimeError, match="async with"):
        await appender.write(b"x")


async def test_append_to_a_missing_bucket(double: AIStoreDouble, bucket: Bucket) -> None:
    """The gateway's word."""
    await bucket.destroy()
    with pytest.raises(BucketNotFound):
        async with bucket.object("log").append() as appender:
            await appender.write(b"x")


@pytest.mark.parametrize("dialect", ["current"])
async def test_append_that_was_a_plain_put_is_noticed(bucket: Bucket, double: AIStoreDouble) -> None:
    """A server of another version than it was takes it for one, and gives no handle: it must not go on."""
    from aetcd.aistore._dialect_33 import V33

    await bucket.exists()
    # As if the cluster had been upgraded since it was asked, to one whose redirects look the same.
    bucket._link.spoken = evolve(V33, decimal_stamp=False)
    with pytest.raises(DecodeError, match="another version"):
        async with bucket.object("log").append() as appender:
            await appender.write(b"x")
