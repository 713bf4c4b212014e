"""Objects of a cluster of each version: every row of the reference about them."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from doubles.aistore import AIStoreDouble

from aetcd.aistore import (
    AIStore,
    BadRequest,
    Bucket,
    BucketNotFound,
    Checksum,
    ChecksumMismatch,
    NotRemote,
    ObjectNotFound,
    RangeRefused,
)
from aetcd.errors import Unsupported

NAMES = ["plain", "dir/o1", "a b?c", "p%q", "d#e", "é/ü", "x?pid=evil&utm=1", "a&b=c", "new\nline", "'\"<>"]
KINDS = ["xxhash", "md5", "crc32c", "sha512", "sha256"]
BIG = os.urandom(3 * 1024 * 1024)


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_goes_both_ways(bucket: Bucket, double: AIStoreDouble, name: str) -> None:
    """The gateway's Location holds the name decoded (3.3): what is asked of the target is what we encoded."""
    await bucket.object(name).put(b"hello")
    assert double.read("b", name) == b"hello"
    assert await bucket.object(name).read() == b"hello"
    assert [entry.name async for entry in bucket.list()] == [name]
    assert (await bucket.object(name).head()).size == 5
    await bucket.object(name).delete()
    assert not await bucket.object(name).exists()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_checksum_is_checked(ais: AIStore, double: AIStoreDouble, kind: str) -> None:
    """Of the bucket's type, 3.3's SHA-512/256 under the name of sha256 among them; a changed byte is noticed."""
    double.create("c", {"checksum": {"type": kind}})
    found = ais.bucket("c").object("o")
    await found.put(BIG, checksum=kind)
    assert await found.read() == BIG
    assert await found.read(ranges=3) == BIG
    double.owner("c", "o").corrupt_get()
    with pytest.raises(ChecksumMismatch, match=kind):
        await found.read()
    double.owner("c", "o").corrupt_get()
    assert len(await found.read(verify=False)) == len(BIG)


async def test_checksum_of_nothing(ais: AIStore, double: AIStoreDouble) -> None:
    """A bucket without checksums is read without a check."""
    double.create("c", {"checksum": {"type": "none"}})
    await ais.bucket("c").object("o").put(b"x")
    assert await ais.bucket("c").object("o").read() == b"x"
    assert (await ais.bucket("c").object("o").head()).checksum is None


async def test_wrong_checksum_of_a_put_is_refused(bucket: Bucket) -> None:
    """The target compares, answers 500, and keeps nothing."""
    with pytest.raises(ChecksumMismatch, match="md5"):
        await bucket.object("o").put(b"hello", checksum=Checksum(type="md5", value="0" * 32))
    assert not await bucket.object("o").exists()


async def test_checksum_of_what_can_be_read_once_only(bucket: Bucket) -> None:
    """It would have to be read twice."""
    with pytest.raises(ValueError, match="checksum"):
        await bucket.object("o").put(pieces(b"x"), checksum="md5")
    with pytest.raises(Unsupported, match="sha3"):
        await bucket.object("o").put(b"x", checksum="sha3")


async def test_put_of_every_source(bucket: Bucket, double: AIStoreDouble, tmp_path: Path) -> None:
    """Bytes, a path, an open file from where it stands, and an iterator with and without its length."""
    path = tmp_path / "f"
    path.write_bytes(BIG)
    with path.open("rb") as file:
        file.seek(1000)
        sources = [(BIG, BIG), (memoryview(BIG), BIG), (path, BIG), (file, BIG[1000:]), (io.BytesIO(b"io"), b"io")]
        for content, expected in sources:
            await bucket.object("o").put(content)
            assert double.read("b", "o") == expected
    await bucket.object("o").put(pieces(BIG), length=len(BIG))
    assert double.read("b", "o") == BIG
    await bucket.object("o").put(pieces(b"chunked"))
    assert double.read("b", "o") == b"chunked"
    await bucket.object("o").put(b"")
    assert double.read("b", "o") == b""
    assert await bucket.object("o").read() == b""


async def test_put_of_a_file_that_cannot_seek(bucket: Bucket, double: AIStoreDouble) -> None:
    """Such as a pipe: its length is unknown, so that it goes in chunks, and it can be sent once."""
    ours, theirs = os.pipe()
    os.write(theirs, b"of a pipe")
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        await bucket.object("o").put(pipe)
    assert double.read("b", "o") == b"of a pipe"
    assert "Content-Length" not in double.asked("PUT")[-1].headers


async def test_put_checks_its_content(bucket: Bucket, double: AIStoreDouble, tmp_path: Path) -> None:
    """Text and paths as text are refused, and lengths that are not so; nothing is sent."""
    with pytest.raises(TypeError, match=r"content.*Path"):
        await bucket.object("o").put("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="binary"):
        await bucket.object("o").put(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="length"):
        await bucket.object("o").put(b"abc", length=5)
    with pytest.raises(TypeError, match="resend"):
        await bucket.object("o").put(b"abc", resend=1)  # type: ignore[arg-type]
    assert not double.asked("PUT")


async def test_put_of_fewer_bytes_than_said_stores_nothing(bucket: Bucket) -> None:
    """An iterator that ends early."""
    with pytest.raises(ValueError, match=r"length|bytes"):
        await bucket.object("o").put(pieces(b"abc"), length=10)
    assert not await bucket.object("o").exists()


async def test_body_is_sent_to_the_target_only(bucket: Bucket, double: AIStoreDouble) -> None:
    """A gateway reads no body: it answers, and resets the connection of a large one."""
    await bucket.object("o").put(BIG)
    sent = [(asked.node[0], asked.size) for asked in double.asked("PUT")]
    assert sent == [("p", 0), ("t", len(BIG))]


async def test_custom_metadata(bucket: Bucket) -> None:
    """One pair on 3.3, more today."""
    await bucket.object("o").put(b"x", custom={"color": "red"})
    assert (await bucket.object("o").head()).custom == {"color": "red"}
    with pytest.raises(ValueError, match="custom"):
        await bucket.object("o").put(b"x", custom={"a": "b\nc"})


@pytest.mark.parametrize("dialect", ["3.3"])
async def test_more_custom_pairs_than_3_3_takes(bucket: Bucket) -> None:
    """It keeps one for each header, and we send one."""
    with pytest.raises(Unsupported, match="one pair"):
        await bucket.object("o").put(b"x", custom={"a": "1", "b": "2"})


async def test_head_tells_everything(bucket: Bucket, double: AIStoreDouble) -> None:
    """Name, size, version, time, checksum, copies."""
    await bucket.object("dir/o").put(b"hello")
    props = await bucket.object("dir/o").head()
    assert (props.name, props.bucket, props.provider, props.size, props.version) == ("dir/o", "b", "ais", 5, "1")
    assert props.checksum is not None
    assert props.checksum.value == double.bucket("b").objects["dir/o"].checksum
    assert props.accessed is not None
    assert props.copies == 1
    assert props.present


async def test_missing_object_and_missing_bucket_are_two_errors(ais: AIStore, bucket: Bucket) -> None:
    """Both are 404: a target says the one, a gateway the other."""
    with pytest.raises(ObjectNotFound):
        await bucket.object("no").head()
    with pytest.raises(ObjectNotFound):
        await bucket.object("no").read()
    nowhere = ais.bucket("nosuch").object("o")
    for call in (nowhere.head, nowhere.read, nowhere.exists, nowhere.is_cached, nowhere.delete):
        with pytest.raises(BucketNotFound):
            await call()
    with pytest.raises(BucketNotFound):
        await nowhere.put(b"x")
    with pytest.raises(BucketNotFound):
        await ais.bucket("b", provider="aws").object("o").read()


async def test_is_cached_is_a_bool(ais: AIStore, double: AIStoreDouble) -> None:
    """404 is False."""
    double.create("s3b", provider="aws")
    double.put("s3b", "here", b"x", provider="aws")
    double.put("s3b", "away", b"x", provider="aws", present=False)
    cloud = ais.bucket("s3b", provider="aws")
    assert await cloud.object("here").is_cached() is True
    assert await cloud.object("away").is_cached() is False
    assert await cloud.object("none").is_cached() is False


async def test_ranges(bucket: Bucket) -> None:
    """From, to, and from the end; 200 of 3.3 and 206 of today are the same."""
    found = bucket.object("o")
    await found.put(b"0123456789")
    assert await found.read(offset=3) == b"3456789"
    assert await found.read(offset=3, length=4) == b"3456"
    assert await found.read(last=2) == b"89"
    assert await found.read(offset=8, length=100) == b"89"
    async with found.get(offset=3, length=4) as reader:
        assert (reader.size, reader.props.size) == (4, 10)
        assert [await reader.read(3), await reader.read(3), await reader.read(3)] == [b"345", b"6", b""]
        assert reader.position == 4


async def test_range_beyond_the_end(bucket: Bucket) -> None:
    """416."""
    await bucket.object("o").put(b"0123456789")
    with pytest.raises(RangeRefused):
        await bucket.object("o").read(offset=10)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"offset": -1}, "offset"),
        ({"length": 0}, "length"),
        ({"last": 0}, "last"),
        ({"last": 1, "offset": 1}, "last"),
        ({"ranges": 0}, "ranges"),
        ({"ranges": 2, "offset": 1}, "ranges"),
    ],
)
async def test_ranges_are_checked(bucket: Bucket, double: AIStoreDouble, arguments: dict[str, int], named: str) -> None:
    """The error names the argument, and nothing is sent."""
    with pytest.raises(ValueError, match=named):
        await bucket.object("o").read(**arguments)  # type: ignore[arg-type]
    assert not double.asked("GET", "/v1/objects")


async def test_range_of_a_bucket_with_checksums_of_ranges(ais: AIStore, double: AIStoreDouble) -> None:
    """Its checksum headers are the range's; a whole read is checked as ever."""
    double.create("c", {"checksum": {"type": "xxhash", "enable_read_range": True}})
    await ais.bucket("c").object("o").put(b"0123456789")
    assert await ais.bucket("c").object("o").read(offset=2, length=3) == b"234"
    assert await ais.bucket("c").object("o").read(ranges=3) == b"0123456789"


async def test_reader_is_used_in_its_block_only(bucket: Bucket) -> None:
    """Outside there is no connection."""
    reader = bucket.object("o").get()
    with pytest.raises(RuntimeError, match="async with"):
        await reader.read()
    with pytest.raises(RuntimeError, match="async with"):
        _ = reader.props


async def test_save_to_a_file(bucket: Bucket, tmp_path: Path) -> None:
    """Whole and checked, with its progress; by one connection and by several."""
    await bucket.object("o").put(BIG)
    for ranges in (1, 4):
        seen: list[tuple[int, int | None]] = []

        def note(done: int, total: int | None, seen: list[tuple[int, int | None]] = seen) -> None:
            seen.append((done, total))

        await bucket.object("o").save_to(tmp_path / "f", progress=note, ranges=ranges)
        assert (tmp_path / "f").read_bytes() == BIG
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1] == (len(BIG), len(BIG))
        assert [path.name for path in tmp_path.iterdir()] == ["f"]


async def test_save_of_what_a_reader_has_left(bucket: Bucket, tmp_path: Path) -> None:
    """Of a range, or of the rest of the whole."""
    await bucket.object("o").put(b"0123456789")
    async with bucket.object("o").get(offset=2, length=5) as reader:
        assert await reader.read(1) == b"2"
        await reader.save_to(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"3456"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


async def test_progress_may_be_async(bucket: Bucket, tmp_path: Path) -> None:
    """It is awaited."""
    seen = []

    async def note(done: int, total: int | None) -> None:
        seen.append(done)

    await bucket.object("o").put(b"abc")
    await bucket.object("o").save_to(tmp_path / "f", progress=note)
    assert seen == [3]


@pytest.mark.parametrize("ranges", [1, 4])
async def test_corrupt_object_is_not_saved(bucket: Bucket, double: AIStoreDouble, tmp_path: Path, ranges: int) -> None:
    """The file that was there stays, and nothing is left beside it."""
    (tmp_path / "f").write_bytes(b"old")
    await bucket.object("o").put(BIG)
    double.owner("b", "o").corrupt_get()
    with pytest.raises(ChecksumMismatch):
        await bucket.object("o").save_to(tmp_path / "f", ranges=ranges)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


async def test_rename(bucket: Bucket) -> None:
    """By the server's own word: the reference's is answered by 400."""
    await bucket.object("old name").put(b"x")
    moved = await bucket.object("old name").rename("dir/new#name")
    assert moved.name == "dir/new#name"
    assert await moved.read() == b"x"
    assert not await bucket.object("old name").exists()
    with pytest.raises(ObjectNotFound):
        await bucket.object("old name").rename("x")


async def test_rename_in_an_erasure_coded_bucket(ais: AIStore, double: AIStoreDouble) -> None:
    """Refused by the server."""
    double.create("e", {"ec": {"enabled": True}})
    await ais.bucket("e").object("o").put(b"x")
    with pytest.raises(BadRequest):
        await ais.bucket("e").object("o").rename("p")


async def test_delete(bucket: Bucket) -> None:
    """Once; a second time raises, unless that is well."""
    await bucket.object("o").put(b"x")
    await bucket.object("o").delete()
    with pytest.raises(ObjectNotFound):
        await bucket.object("o").delete()
    await bucket.object("o").delete(missing_ok=True)


async def test_evict_of_a_cloud_object(ais: AIStore, double: AIStoreDouble) -> None:
    """Only the cluster's copy goes."""
    double.create("s3b", provider="aws")
    double.put("s3b", "o", b"x", provider="aws")
    await ais.bucket("s3b", provider="aws").object("o").evict()
    assert not double.bucket("s3b", provider="aws").objects["o"].present


@pytest.mark.parametrize("provider", [None, "ais"])
async def test_evict_of_an_ais_object_is_not_sent(ais: AIStore, double: AIStoreDouble, provider: str | None) -> None:
    """The target of 3.3 ends in a panic, and today's refuses."""
    double.put("b", "o", b"x")
    with pytest.raises(NotRemote):
        await ais.bucket("b", provider=provider).object("o").evict()
    assert not double.asked("DELETE")


async def test_namespaces_are_apart(ais: AIStore, double: AIStoreDouble) -> None:
    """The same name in two namespaces is two buckets."""
    spaced = ais.bucket("b", namespace="ns1")
    await spaced.create()
    await spaced.object("o").put(b"in ns1")
    assert await spaced.object("o").read() == b"in ns1"
    assert not await ais.bucket("b").object("o").exists()
    assert [entry.name async for entry in spaced.list()] == ["o"]


async def test_many(bucket: Bucket, double: AIStoreDouble, tmp_path: Path) -> None:
    """One result each, in order; those that fail leave the others alone."""
    written = await bucket.put_many({f"o{i}": b"%d" % i for i in range(20)}, concurrency=3)
    assert [result.name for result in written] == [f"o{i}" for i in range(20)]
    assert all(result.ok for result in written)
    read = await bucket.get_many(["o3", "none", "o5"], concurrency=2)
    assert [result.content for result in read] == [b"3", None, b"5"]
    assert isinstance(read[1].error, ObjectNotFound)

    async def names() -> AsyncIterator[str]:
        for name in ("o1", "o2"):
            yield name

    saved = await bucket.get_many(names(), to=tmp_path)
    assert [result.ok for result in saved] == [True, True]
    assert (tmp_path / "o2").read_bytes() == b"2"
    mixed = await bucket.put_many([("fine", b"x"), ("", b"x"), ("text", "x")])  # type: ignore[list-item]
    assert [type(result.error) for result in mixed] == [type(None), ValueError, TypeError]
    with pytest.raises(ValueError, match="concurrency"):
        await bucket.put_many({}, concurrency=0)
    with pytest.raises(TypeError, match="names"):
        await bucket.get_many("o1")


async def test_many_raises_what_the_items_raise(bucket: Bucket) -> None:
    """The iterator's own error ends it, bare."""

    def items() -> object:
        yield "o", b"x"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await bucket.put_many(items())  # type: ignore[arg-type]
