"""Listings: page by page, whole or with an error."""

from __future__ import annotations

import json

import pytest
from doubles.aistore import AIStoreDouble

from aetcd._wire.message import Request, Response
from aetcd.aistore import AIStore, Bucket, BucketNotFound, ListingIncomplete


async def names(listing: object) -> list[str]:
    return [entry.name async for entry in listing]  # type: ignore[attr-defined]


async def test_pages(bucket: Bucket, double: AIStoreDouble) -> None:
    """A last full page still has a token, and an empty one follows it."""
    double.fill("b", 20, "o{:02}")
    pages = [page async for page in bucket.list(page_size=10).pages()]
    assert [len(page.entries) for page in pages] == [10, 10, 0]
    assert [bool(page.token) for page in pages] == [True, True, False]
    assert await names(bucket.list(page_size=10)) == [f"o{i:02}" for i in range(20)]


async def test_empty_bucket(bucket: Bucket) -> None:
    """`entries` is null there."""
    assert await names(bucket.list()) == []
    assert await names(bucket.list("none")) == []


async def test_options(bucket: Bucket, double: AIStoreDouble) -> None:
    """Prefix, start, properties, time format."""
    double.fill("b", 30, "o{:02}")
    assert await names(bucket.list("o1")) == [f"o{i}" for i in range(10, 20)]
    assert await names(bucket.list(start_after="o27")) == ["o28", "o29"]
    entries = [entry async for entry in bucket.list("o00", props=["name", "size", "checksum", "version", "copies"])]
    (entry,) = entries
    assert (entry.name, entry.size, entry.version, entry.copies) == ("o00", 1, "1", 1)
    assert entry.checksum
    assert entry.present
    assert entry.status == "ok"
    (entry,) = [entry async for entry in bucket.list("o00", props="atime", time_format="2006-01-02T15:04:05Z07:00")]
    assert entry.accessed.startswith("20")


async def test_cached_only(ais: AIStore, double: AIStoreDouble) -> None:
    """Flags travel as text: a number is 400."""
    double.create("s3b", provider="aws")
    double.put("s3b", "here", b"x", provider="aws")
    double.put("s3b", "away", b"x", provider="aws", present=False)
    cloud = ais.bucket("s3b", provider="aws")
    assert await names(cloud.list(cached=True)) == ["here"]
    assert await names(cloud.list(flags=1)) == ["here"]
    assert await names(cloud.list()) == ["away", "here"]


async def test_missing_bucket(ais: AIStore) -> None:
    """It is an error, and no empty listing."""
    with pytest.raises(BucketNotFound):
        await names(ais.bucket("nosuch").list())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"page_size": 0}, "page_size"),
        ({"props": []}, "props"),
        ({"props": ["a b"]}, "props"),
        ({"props": ["nosuch"]}, "nosuch"),
        ({"time_format": ""}, "time_format"),
        ({"start_after": "a\0"}, "start_after"),
    ],
)
async def test_options_are_checked(
    bucket: Bucket, double: AIStoreDouble, arguments: dict[str, object], named: str
) -> None:
    """The server answers 400 to what it does not know; it is named here before that."""
    with pytest.raises(ValueError, match=named):
        await names(bucket.list(**arguments))  # type: ignore[arg-type]
    assert not double.asked("POST", "/v1/buckets")


async def test_flags_are_bools(bucket: Bucket) -> None:
    """Nothing that only looks like one."""
    with pytest.raises(TypeError, match="cached"):
        bucket.list(cached=1)  # type: ignore[arg-type]


async def test_forgotten_listing_goes_on_by_its_token(
    bucket: Bucket, double: AIStoreDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown ID is 404: the token alone begins another listing from there on."""
    double.fill("b", 25, "o{:02}")
    send, ids = bucket._link._channel.send, []

    async def forget(request: Request, **more: object) -> Response:
        if b'"uuid"' in (request.body or b""):
            ids.append(json.loads(request.body or b"")["value"]["uuid"])
            if len(ids) == 1:
                told = b'{"status":404,"message":"\\"x\\" not found (p0(*))"}'
                return Response(status=404, headers={}, body=told, peer="http://x:1")
        return await send(request, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(type(bucket._link._channel), "send", lambda self, request, **more: forget(request, **more))
    assert await names(bucket.list(page_size=10)) == [f"o{i:02}" for i in range(25)]
    assert ids


async def test_token_that_leads_nowhere(bucket: Bucket, double: AIStoreDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises: what was listed is not all."""
    from aetcd.aistore import _listing

    double.fill("b", 25, "o{:02}")
    read = _listing.read_page
    first: list[object] = []

    def same(body: bytes) -> object:
        first.append(read(body))
        return first[0]

    monkeypatch.setattr(_listing, "read_page", same)
    with pytest.raises(ListingIncomplete, match="token"):
        await names(bucket.list(page_size=10))


async def test_page_that_breaks_is_asked_for_again(bucket: Bucket, double: AIStoreDouble) -> None:
    """A bare 502 in the middle is no end."""
    double.fill("b", 25, "o{:02}")
    found = []
    async for page in bucket.list(page_size=10).pages():
        found += [entry.name for entry in page.entries]
        double.gateways[0].fail(502, path="/v1/buckets")
    assert found == [f"o{i:02}" for i in range(25)]


@pytest.mark.parametrize("dialect", ["3.3"])
async def test_compact_json_is_never_502(bucket: Bucket, double: AIStoreDouble) -> None:
    """With two gateways every second listing in any other form is answered by 502."""
    double.fill("b", 5, "é {}")
    for _ in range(12):
        assert len(await names(bucket.list("é", props=["size"]))) == 5
    # None was asked twice.
    assert len(double.asked("POST", "/v1/buckets/b")) == 12
