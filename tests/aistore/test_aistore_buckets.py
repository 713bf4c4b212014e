"""Buckets of a cluster of each version: every row of the reference about them."""

from __future__ import annotations

import json

import pytest
from doubles.aistore import AIStoreDouble

from aetcd.aistore import (
    AIStore,
    BadRequest,
    Bucket,
    BucketExists,
    BucketInfo,
    BucketNotFound,
    NodeNotFound,
    NotFound,
    NotRemote,
    Range,
)
from aetcd.errors import RequestTimeout, Unsupported


async def test_create_and_destroy(ais: AIStore, double: AIStoreDouble) -> None:
    """Once each; a second time is an error, unless that is well."""
    new = ais.bucket("new")
    await new.create()
    assert await new.exists()
    with pytest.raises(BucketExists):
        await new.create()
    await new.create(exist_ok=True)
    await new.destroy()
    assert not await new.exists()
    with pytest.raises(BucketNotFound):
        await new.destroy()
    await new.destroy(missing_ok=True)


async def test_create_with_properties(ais: AIStore, double: AIStoreDouble) -> None:
    """In place of the cluster's."""
    await ais.bucket("new").create({"checksum.type": "md5", "versioning": {"enabled": False}})
    props = await ais.bucket("new").props()
    assert (props.checksum.type, props.versioning.enabled) == ("md5", False)
    with pytest.raises(ValueError, match=r"mirror\.enable"):
        await ais.bucket("other").create({"mirror": {"enable": True}})
    assert not await ais.bucket("other").exists()


async def test_names_of_buckets(ais: AIStore, double: AIStoreDouble) -> None:
    """All, of a provider, of a namespace."""
    double.create("s3b", provider="aws")
    double.create("spaced", space="ns1")
    everything = {(info.name, info.provider, info.namespace) for info in await ais.buckets()}
    assert {("b", "ais", ""), ("s3b", "aws", ""), ("spaced", "ais", "#ns1")} <= everything
    assert await ais.buckets(provider="s3") == [BucketInfo(name="s3b", provider="aws")]
    assert [info.name for info in await ais.buckets(provider="ais", namespace="ns1")] == ["spaced"]
    with pytest.raises(ValueError, match="provider"):
        await ais.buckets(provider="bogus")


async def test_props_are_typed(bucket: Bucket) -> None:
    """Dotted headers of 3.3 and JSON of today are the same model."""
    props = await bucket.props()
    assert props.provider == "ais"
    assert props.created is not None
    assert props.access == 2**64 - 1
    assert props.checksum.type in {"xxhash", "xxhash2"}
    assert props.mirror.copies == 2
    assert props.lru.enabled is True
    assert props.ec.data_slices >= 1
    assert props.backend is None
    assert str(props["mirror.copies"]) == "2"
    with pytest.raises(KeyError):
        props["mirror.nosuch"]


async def test_props_of_a_missing_bucket(ais: AIStore) -> None:
    """404 without a body."""
    with pytest.raises(BucketNotFound):
        await ais.bucket("nosuch").props()


async def test_set_one_property_and_many(bucket: Bucket) -> None:
    """The job that makes the copies, where there is one."""
    job = await bucket.set("mirror.enabled", True)
    assert job is not None
    assert job.kind == ""  # the server did not tell, and the action is no kind of job
    assert (await job.finished(timeout=5)).finished
    assert await bucket.set({"versioning": {"enabled": False}, "checksum.validate_warm_get": True}) is None
    props = await bucket.props()
    assert (props.mirror.enabled, props.versioning.enabled, props.checksum.validate_warm_get) == (True, False, True)
    await bucket.reset()
    assert (await bucket.props()).versioning.enabled


async def test_unknown_property_is_not_sent(bucket: Bucket, double: AIStoreDouble) -> None:
    """The reference's own `mirror.enable` is one: 3.3 answers 200, and ignores it."""
    with pytest.raises(ValueError, match=r"mirror.enable.*mirror.enabled"):
        await bucket.set("mirror.enable", True)
    with pytest.raises(ValueError, match="props"):
        await bucket.set({})
    assert not double.asked("PATCH")


@pytest.mark.parametrize("dialect", ["3.3"])
async def test_invalid_property_is_refused_by_the_server(bucket: Bucket) -> None:
    """400."""
    with pytest.raises(BadRequest, match="lru"):
        await bucket.set("lru.highwm", 200)


async def test_rename(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """In the background, with what is in it."""
    await bucket.object("o").put(b"x")
    job = await bucket.rename("renamed")
    assert (await job.finished(timeout=5)).finished
    assert await ais.bucket("renamed").object("o").read() == b"x"
    double.create("taken")
    with pytest.raises(BucketExists):
        await ais.bucket("renamed").rename("taken")
    with pytest.raises(ValueError, match="to may hold"):
        await ais.bucket("renamed").rename("a/b")


async def test_copy(ais: AIStore, bucket: Bucket) -> None:
    """Into a bucket that is made for it, by its name or as a bucket."""
    await bucket.object("o").put(b"x")
    await (await bucket.copy("copied")).finished(timeout=5)
    assert await ais.bucket("copied").object("o").read() == b"x"
    await (await bucket.copy(ais.bucket("again"))).finished(timeout=5)
    assert await ais.bucket("again").object("o").exists()
    with pytest.raises(BucketNotFound):
        await ais.bucket("nosuch").copy("x")


async def test_mirror_and_erasure_code(bucket: Bucket, double: AIStoreDouble) -> None:
    """The number of copies, and slices; 3.3 wants the latter as text that holds JSON."""
    assert (await (await bucket.mirror(2)).finished(timeout=5)).finished
    with pytest.raises(ValueError, match="copies"):
        await bucket.mirror(99)
    await (await bucket.erasure_code(data_slices=1, parity_slices=1)).finished(timeout=5)
    sent = json.loads(double.asked("POST", "/v1/buckets/b")[-1].body)["value"]
    assert (json.loads(sent) if double.old else sent) == {"data_slices": 1, "parity_slices": 1, "enabled": True}


async def test_summary(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """Asked for again until it is there: 202 and an ID at first."""
    double.fill("b", 10, data=b"12345")
    summary = await bucket.summary()
    assert (summary.name, summary.count, summary.size) == ("b", 10, 50)
    assert summary.disks_size > 0
    double.create("c", provider="aws")
    double.create("d", space="ns")
    assert [found.name for found in await ais.summaries()] == ["b", "c", "d"]
    assert [found.name for found in await ais.summaries(provider="aws")] == ["c"]
    assert [found.name for found in await ais.summaries(provider="ais", namespace="ns")] == ["d"]
    with pytest.raises(BucketNotFound):
        await ais.bucket("nosuch").summary()


async def test_summary_that_takes_too_long(bucket: Bucket, double: AIStoreDouble) -> None:
    """Within the call's time."""
    double.jobs.seconds["summary"] = 3600
    with pytest.raises(RequestTimeout, match="not ready"):
        await bucket.summary(timeout=0.4)


async def test_evict_of_a_cloud_bucket(ais: AIStore, bucket: Bucket, double: AIStoreDouble) -> None:
    """And not of one of AIStore's own: that is not even sent."""
    double.create("s3b", provider="aws")
    await ais.bucket("s3b", provider="aws").evict()
    with pytest.raises(NotRemote):
        await bucket.evict()
    assert [a.path for a in double.asked("DELETE")] == ["/v1/buckets/s3b"]


# Lists and ranges


async def test_delete_of_a_list_and_of_ranges(bucket: Bucket, double: AIStoreDouble) -> None:
    """Names that are not there are no error."""
    double.fill("b", 40, "o{:02}")
    await (await bucket.delete_objects(["o00", "o01", "nosuch"])).finished(timeout=5)
    await (await bucket.delete_objects(template="o{10..12}")).finished(timeout=5)
    await (await bucket.delete_objects(Range(prefix="o", first=20, last=39, step=2, width=2))).finished(timeout=5)
    left = {entry.name async for entry in bucket.list()}
    gone = {"o00", "o01", "o10", "o11", "o12", *(f"o{i}" for i in range(20, 40, 2))}
    assert left == {f"o{i:02}" for i in range(40)} - gone


async def test_prefetch_and_evict_of_lists(ais: AIStore, double: AIStoreDouble) -> None:
    """Of a cloud's bucket."""
    double.create("s3b", provider="aws")
    for i in range(6):
        double.put("s3b", f"o{i}", b"x", provider="aws", present=False)
    cloud = ais.bucket("s3b", provider="aws")
    present = double.bucket("s3b", provider="aws").objects
    await (await cloud.prefetch(["o0", "o1"])).finished(timeout=5)
    await (await cloud.prefetch(template="o{3..4}")).finished(timeout=5)
    assert [name for name, obj in sorted(present.items()) if obj.present] == ["o0", "o1", "o3", "o4"]
    await (await cloud.evict_objects(["o0"])).finished(timeout=5)
    await (await cloud.evict_objects(Range(prefix="o", first=3, last=3))).finished(timeout=5)
    assert [name for name, obj in sorted(present.items()) if obj.present] == ["o1", "o4"]


async def test_prefetch_and_evict_of_an_ais_bucket_are_not_sent(bucket: Bucket, double: AIStoreDouble) -> None:
    """There is nowhere to fetch from, and eviction would be loss."""
    for call in (bucket.prefetch, bucket.evict_objects):
        with pytest.raises(NotRemote):
            await call(["o"])
    assert not double.asked("POST", "/v1/buckets")
    assert not double.asked("DELETE")


@pytest.mark.parametrize("call", ["delete_objects", "evict_objects", "prefetch"])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"names": []}, {"names": [""]}, {"template": ""}, {"template": "o"}, {"names": ["a"], "template": "o{1..2}"}],
)
async def test_empty_list_or_template_is_not_sent(
    bucket: Bucket, double: AIStoreDouble, call: str, arguments: dict[str, object]
) -> None:
    """Today's server would delete the whole bucket, and both targets of 3.3 would end."""
    double.fill("b", 3)
    with pytest.raises(ValueError, match=r"names|template"):
        await getattr(bucket, call)(**arguments)
    assert not double.asked("DELETE")
    assert not double.asked("POST")
    assert len(double.bucket("b").objects) == 3


# Promotion


async def test_promote(bucket: Bucket, double: AIStoreDouble) -> None:
    """Files of one target, and of all; with a prefix, and with what of the path is left out."""
    one, two = (target.id for target in double.targets)
    double.files[one] = {"/data/dir/f1": b"1", "/data/dir/sub/f2": b"2"}
    double.files[two] = {"/data/dir/f3": b"3"}
    await bucket.promote("/data/dir", target=one, prefix="prm", recursive=True)
    assert [entry.name async for entry in bucket.list()] == ["prm/f1", "prm/sub/f2"]
    await bucket.promote("/data/dir", trim_prefix="/data/")
    assert [entry.name async for entry in bucket.list("dir/")] == ["dir/f1", "dir/f3"]
    assert double.files[one]
    await bucket.promote("/data/dir", target=two, prefix="moved", keep=False)
    assert not double.files[two]
    double.files[one]["/data/dir/f1"] = b"new"
    await bucket.promote("/data/dir", target=one, prefix="prm")
    assert double.read("b", "prm/f1") == b"1"
    await bucket.promote("/data/dir", target=one, prefix="prm", overwrite=True)
    assert double.read("b", "prm/f1") == b"new"


async def test_promote_of_what_is_not_there(bucket: Bucket, double: AIStoreDouble) -> None:
    """The target's word."""
    with pytest.raises(NotFound, match="/data/nosuch"):
        await bucket.promote("/data/nosuch", target=double.targets[0].id)
    with pytest.raises(NodeNotFound):
        await bucket.promote("/data/x", target="nosuch")


async def test_promote_checks_its_arguments(bucket: Bucket, double: AIStoreDouble) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="path"):
        await bucket.promote("relative")
    with pytest.raises(ValueError, match="trim_prefix"):
        await bucket.promote("/a/b", trim_prefix="/c")
    with pytest.raises(ValueError, match="prefix and trim_prefix"):
        await bucket.promote("/a/b", trim_prefix="/a", prefix="x")
    with pytest.raises(Unsupported, match="trim_prefix"):
        await bucket.promote("/a/b", trim_prefix="/a/b")
    assert not double.asked("POST")
