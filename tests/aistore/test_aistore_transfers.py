"""Transfers that break: targets and gateways that die, stall or answer nothing, at every point."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import QUICK
from doubles.aistore import AIStoreDouble

from aetcd._transport.timeouts import Timeout
from aetcd.aistore import AIStore, Bucket, BucketNotFound, Busy, ObjectChanged, ObjectProps, Unavailable
from aetcd.errors import ConnectFailed, NoPeerAvailable, Outcome, OutcomeUnknown, RequestTimeout, TransportError
from aetcd.testing import TCPProxy

BIG = os.urandom(2 * 1024 * 1024)


async def pieces(data: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


# Reading


@pytest.mark.parametrize("after", [0, 1, 1000, len(BIG) // 2, len(BIG) - 1])
async def test_cut_read_goes_on_where_it_stopped(bucket: Bucket, double: AIStoreDouble, after: int) -> None:
    """By a range from the next byte on, at the gateway again; the whole is checked all the same."""
    double.put("b", "o", BIG)
    double.owner("b", "o").break_get(after=after)
    assert await bucket.object("o").read() == BIG
    asked = [(a.node[0], a.headers.get("Range")) for a in double.asked("GET", "/v1/objects")]
    assert asked[0] == ("p", None)
    assert asked[1] == ("t", None)
    rest = None if after == 0 else f"bytes={after}-{len(BIG) - 1}"
    assert asked[2] == ("p", rest)
    assert asked[3] == ("t", rest)
    assert len(asked) == 4


async def test_range_is_resumed_within_itself(bucket: Bucket, double: AIStoreDouble) -> None:
    """It ends where the range ends."""
    double.put("b", "o", BIG)
    double.owner("b", "o").break_get(after=500)
    assert await bucket.object("o").read(offset=1000, length=2000) == BIG[1000:3000]
    assert double.requests[-1].headers["Range"] == "bytes=1500-2999"
    double.owner("b", "o").break_get(after=500)
    assert await bucket.object("o").read(last=2000) == BIG[-2000:]


async def test_stalled_read_goes_on(double: AIStoreDouble) -> None:
    """A target that lives and sends nothing more is as good as gone."""
    double.put("b", "o", BIG)
    double.owner("b", "o").stall_get(after=1000)
    async with AIStore(double.url, retry=QUICK) as ais:
        assert await ais.bucket("b").object("o").read(timeout=Timeout(total=10, read=0.3)) == BIG


async def test_target_that_dies_and_comes_back(bucket: Bucket, double: AIStoreDouble) -> None:
    """Between the two the gateway sends to nobody: the reading waits a little, and asks again."""
    double.put("b", "o", BIG)
    owner = double.owner("b", "o")
    async with bucket.object("o").get() as reader:
        first = await reader.read(10)
        await owner.die()
        await owner.restart()
        assert first + await reader.read() == BIG


async def test_target_that_dies_for_good(bucket: Bucket, double: AIStoreDouble) -> None:
    """After several attempts without a byte the transport's error is raised, and not the end of the object."""
    double.generate("b", "o", size=16 * 1024 * 1024)
    owner = double.owner("b", "o")
    async with bucket.object("o").get() as reader:
        await reader.read(10)
        await owner.die()
        with pytest.raises(TransportError):
            await reader.read()


async def test_object_replaced_while_it_is_read(bucket: Bucket, double: AIStoreDouble) -> None:
    """Its versions are not mixed."""
    double.put("b", "o", BIG)
    double.owner("b", "o").break_get(after=1000)
    async with bucket.object("o").get() as reader:
        await reader.read(1000)
        double.put("b", "o", BIG[::-1])
        with pytest.raises(ObjectChanged, match="version 1"):
            await reader.read()


async def test_gateway_that_dies_while_a_read_is_resumed(double: AIStoreDouble) -> None:
    """Any gateway serves."""
    double.put("b", "o", BIG)
    async with AIStore(double.urls[0], timeout=5, retry=QUICK) as ais:
        double.owner("b", "o").break_get(after=1000)
        async with ais.bucket("b").object("o").get() as reader:
            await reader.read(1000)
            await double.gateways[0].die()
            assert len(await reader.read()) == len(BIG) - 1000


async def test_leaving_a_read_early_drops_the_connection(bucket: Bucket, double: AIStoreDouble) -> None:
    """The rest is not read, and the next read is its own."""
    double.generate("b", "o", size=64 * 1024 * 1024)
    async with bucket.object("o").get() as reader:
        async for piece in reader:
            assert piece
            break
    assert reader.position < 64 * 1024 * 1024
    assert await bucket.object("o").read(length=4) == bytes(4)


async def test_resumed_save(bucket: Bucket, double: AIStoreDouble, tmp_path: Path) -> None:
    """What an earlier call left is gone on with: only the rest is read, and the whole file is checked."""
    double.put("b", "o", BIG)
    (tmp_path / "f.part").write_bytes(BIG[:1_000_000])
    await bucket.object("o").save_to(tmp_path / "f", resume=True)
    assert (tmp_path / "f").read_bytes() == BIG
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert [a.headers.get("Range") for a in double.asked("GET", "/v1/objects")] == ["bytes=1000000-"] * 2


async def test_saves_at_the_same_time_do_not_meet(bucket: Bucket, tmp_path: Path) -> None:
    """Not even where an object has the name of a file in which bytes of another could wait."""
    contents = {name: name.encode() * 100_000 for name in ("f", "f.part", "f.part.part")}
    await bucket.put_many(contents)
    for _ in range(5):
        assert all(result.ok for result in await bucket.get_many(contents, to=tmp_path))
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


async def test_resumed_save_of_another_object_is_noticed(bucket: Bucket, double: AIStoreDouble, tmp_path: Path) -> None:
    """What was left belongs to an older one: it is thrown away, and an error says so."""
    double.put("b", "o", BIG)
    (tmp_path / "f.part").write_bytes(b"other" * 1000)
    with pytest.raises(Exception, match="xxhash"):
        await bucket.object("o").save_to(tmp_path / "f", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == []
    await bucket.object("o").save_to(tmp_path / "f", resume=True)
    assert (tmp_path / "f").read_bytes() == BIG


async def test_broken_save_leaves_what_it_has_only_where_wanted(
    bucket: Bucket, double: AIStoreDouble, tmp_path: Path
) -> None:
    """With `resume` the part stays, without nothing does."""
    double.generate("b", "o", size=8 * 1024 * 1024)
    for resume, left in ((False, []), (True, ["f.part"])):
        with pytest.raises(ConnectionError):
            await _save_until_it_breaks(bucket, tmp_path / "f", resume=resume)
        assert [path.name for path in tmp_path.iterdir()] == left


async def _save_until_it_breaks(bucket: Bucket, path: Path, *, resume: bool) -> None:
    def stop(done: int, total: int | None) -> None:
        if done >= 2 * 1024 * 1024:
            raise ConnectionError("the user's own")

    await bucket.object("o").save_to(path, resume=resume, progress=stop)


async def test_ranges_that_break_raise_bare(bucket: Bucket, double: AIStoreDouble, tmp_path: Path) -> None:
    """One that nobody goes on with ends all, and the error is its own, in no group."""
    double.put("b", "o", BIG)
    double.owner("b", "o").break_get(after=0, times=100)
    with pytest.raises(ConnectFailed):
        await bucket.object("o").read(ranges=3)
    with pytest.raises(ConnectFailed):
        await bucket.object("o").save_to(tmp_path / "f", ranges=3)
    assert [path.name for path in tmp_path.iterdir()] == []


async def test_ranges_of_two_versions_are_not_mixed(
    bucket: Bucket, double: AIStoreDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object was replaced after its size was asked for."""
    double.put("b", "o", BIG)
    older = await bucket.object("o").head()
    double.put("b", "o", BIG[::-1])

    async def head(*_: object, **__: object) -> ObjectProps:
        return older

    monkeypatch.setattr("aetcd.aistore._objects.Object.head", head)
    with pytest.raises(ObjectChanged):
        await bucket.object("o").read(ranges=3)


async def test_resumed_save_of_what_was_whole_already(bucket: Bucket, double: AIStoreDouble, tmp_path: Path) -> None:
    """Nothing is read: it is checked, and given its name."""
    double.put("b", "o", BIG)
    (tmp_path / "f.part").write_bytes(BIG)
    await bucket.object("o").save_to(tmp_path / "f", resume=True)
    assert (tmp_path / "f").read_bytes() == BIG
    assert not double.asked("GET", "/v1/objects")
    (tmp_path / "f.part").write_bytes(BIG + b"more than it has")
    await bucket.object("o").save_to(tmp_path / "f", resume=True)
    assert (tmp_path / "f").read_bytes() == BIG


# Writing


async def test_put_that_breaks_in_the_middle_is_sent_again(bucket: Bucket, double: AIStoreDouble) -> None:
    """A short body is not stored, so that it is safe."""
    double.owner("b", "o").break_put(after=100_000)
    await bucket.object("o").put(BIG * 4)
    assert double.read("b", "o") == BIG * 4


async def test_put_of_what_cannot_be_rewound_says_that_nothing_was_stored(
    bucket: Bucket, double: AIStoreDouble
) -> None:
    """An iterator is read once."""
    double.owner("b", "o").break_put(after=100_000)
    with pytest.raises(ConnectFailed, match="nothing was stored") as caught:
        await bucket.object("o").put(pieces(BIG * 8), length=len(BIG) * 8)
    assert caught.value.outcome is Outcome.NOT_SENT
    assert not await bucket.object("o").exists()


async def test_put_without_an_answer_is_not_sent_again(bucket: Bucket, double: AIStoreDouble) -> None:
    """All was sent: it may be stored."""
    double.owner("b", "o").break_put(after=1000)
    with pytest.raises(OutcomeUnknown):
        await bucket.object("o").put(b"x" * 1000)
    assert sum(a.size for a in double.asked("PUT")) == 1000


async def test_put_without_an_answer_is_sent_again_where_that_is_allowed(
    bucket: Bucket, double: AIStoreDouble, tmp_path: Path
) -> None:
    """And where the content can be rewound."""
    double.owner("b", "o").break_put(after=1000, times=2)
    (tmp_path / "f").write_bytes(b"x" * 1000)
    await bucket.object("o").put(tmp_path / "f", resend=True)
    assert double.read("b", "o") == b"x" * 1000
    double.owner("b", "p").break_put(after=1000)
    with pytest.raises(OutcomeUnknown):
        await bucket.object("p").put(pieces(b"x" * 1000), length=1000, resend=True)


async def test_put_to_a_dead_target(bucket: Bucket, double: AIStoreDouble) -> None:
    """Certain: nothing was sent. A short absence is waited out."""
    owner = double.owner("b", "o")
    await bucket.object("o").exists()
    await owner.die()
    with pytest.raises(ConnectFailed) as caught:
        await bucket.object("o").put(b"x")
    assert caught.value.outcome is Outcome.NOT_SENT
    await owner.restart()
    await bucket.object("o").put(b"x")


async def test_put_to_a_target_behind_a_firewall(bucket: Bucket, double: AIStoreDouble, silent: str) -> None:
    """Given up within the call's time, however often a connection is tried; the same for the steps of an append."""
    double.owner("b", "o").public = silent
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(ConnectFailed) as caught:
        await bucket.object("o").put(b"x", timeout=0.5)
    assert caught.value.outcome is Outcome.NOT_SENT
    with pytest.raises(ConnectFailed):
        async with bucket.object("o").append(timeout=0.5) as appender:
            await appender.write(b"x")
    assert loop.time() - begun < 1.8


async def test_no_limit_of_time(bucket: Bucket) -> None:
    """`math.inf` is one that none of the steps takes for a number of seconds."""
    await bucket.object("o").put(b"x", timeout=math.inf)
    async with bucket.object("p").append(timeout=math.inf) as appender:
        await appender.write(b"x")
    assert await bucket.object("o").read(timeout=math.inf) == b"x"
    assert (await bucket.object("p").head(timeout=math.inf)).size == 1


@pytest.mark.parametrize("status", [503, 429])
async def test_target_that_cannot_take_it_now(bucket: Bucket, double: AIStoreDouble, status: int) -> None:
    """It has kept nothing: what can be rewound is sent again."""
    double.owner("b", "o").fail(status, path="/v1/objects")
    await bucket.object("o").put(b"x")
    assert double.read("b", "o") == b"x"
    double.owner("b", "p").fail(status, path="/v1/objects")
    with pytest.raises((Unavailable, Busy)):
        await bucket.object("p").put(pieces(b"x"), length=1)
    assert not await bucket.object("p").exists()


async def test_answer_that_leaves_a_put_open(bucket: Bucket, double: AIStoreDouble) -> None:
    """A bare 502 of somebody between."""
    double.owner("b", "o").fail(502, path="/v1/objects")
    with pytest.raises(OutcomeUnknown, match="502"):
        await bucket.object("o").put(b"x")


async def test_answer_lost_behind_a_proxy(double: AIStoreDouble) -> None:
    """The target has stored it, and its answer is cut off: the outcome is unknown, and the object is there."""
    async with TCPProxy(double.owner("b", "o").url) as proxy:
        double.owner("b", "o").public = proxy.url
        async with AIStore(double.url, timeout=5, retry=QUICK) as ais:
            await ais.dialect()
            proxy.cut_after(received=0, match=b"PUT ")
            with pytest.raises(OutcomeUnknown):
                await ais.bucket("b").object("o").put(b"stored")
            assert double.read("b", "o") == b"stored"


# Gateways


@pytest.mark.parametrize("method", ["read", "put", "head"])
async def test_gateway_dies_before_the_redirect(double: AIStoreDouble, method: str) -> None:
    """The question for the target goes to another: nothing is done by it."""
    double.put("b", "o", b"x")
    async with TCPProxy(double.urls[0]) as proxy:
        double.gateways[0].public = proxy.url
        async with AIStore(proxy.url, timeout=5, retry=QUICK) as ais:
            await ais.dialect()
            for _ in range(4):
                proxy.cut_after(received=0, match=b"/v1/objects")
                found = ais.bucket("b").object("o")
                await getattr(found, method)(*[b"x"] if method == "put" else [])


async def test_gateway_dies_after_the_redirect(double: AIStoreDouble) -> None:
    """The target is asked without it."""
    double.put("b", "o", BIG)
    async with AIStore(double.urls[0], timeout=5, retry=QUICK) as ais:
        async with ais.bucket("b").object("o").get() as reader:
            await double.gateways[0].die()
            assert len(await reader.read()) == len(BIG)
        await ais.bucket("b").object("o").put(b"by the other gateway")
        assert double.read("b", "o") == b"by the other gateway"


async def test_other_gateways_are_learnt_of(double: AIStoreDouble) -> None:
    """The cluster map names them: one that was configured is enough."""
    async with AIStore(double.urls[0], timeout=5, retry=QUICK) as ais:
        await ais.dialect()
        await double.gateways[0].die()
        assert [entry.name async for entry in ais.bucket("b").list()] == []


async def test_without_member_sync_only_the_configured_are_asked(double: AIStoreDouble) -> None:
    """As where gateways stand behind an address translation."""
    async with AIStore(double.urls[0], timeout=2, retry=QUICK, member_sync=False) as ais:
        await ais.dialect()
        await double.gateways[0].die()
        with pytest.raises(NoPeerAvailable):
            await ais.bucket("b").props()


async def test_new_gateway_is_found_when_one_is_lost(double: AIStoreDouble) -> None:
    """The map is read again."""
    gone = double.gateways[1]
    double.remove(gone.id)
    async with AIStore(double.urls[0], timeout=5, retry=QUICK, member_sync=0.1) as ais:
        await ais.dialect()
        assert len(ais.status()) == 1
        double.join(gone.id)
        async with asyncio.timeout(5):
            while len(ais.status()) == 1:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("status", [502, 503])
async def test_bare_502_and_503_are_asked_again(bucket: Bucket, double: AIStoreDouble, status: int) -> None:
    """Reads go on; they come with no body at all."""
    double.put("b", "o", b"x")
    for node in double.nodes:
        node.fail(status, path="/v1/objects")
    assert await bucket.object("o").read() == b"x"
    for node in double.nodes:
        node.fail(status, path="/v1/objects")
    assert (await bucket.object("o").head()).size == 1


async def test_bare_502_of_a_write_leaves_it_open(bucket: Bucket, double: AIStoreDouble) -> None:
    """A gateway passed it on, and does not know."""
    for gateway in double.gateways:
        gateway.fail(502, path="/v1/buckets")
    with pytest.raises(OutcomeUnknown):
        await bucket.mirror(2)


async def test_bare_503_of_a_write_is_sent_again(bucket: Bucket, double: AIStoreDouble) -> None:
    """A node that starts looked at nothing."""
    for gateway in double.gateways:
        gateway.fail(503, path="/v1/buckets")
    assert (await bucket.mirror(2)).id


async def test_cluster_that_starts(double: AIStoreDouble) -> None:
    """A clear error, and no decoding of nothing."""
    for gateway in double.gateways:
        gateway.starting = True
    async with AIStore(*double.urls, timeout=10, retry=QUICK) as ais:
        with pytest.raises(Unavailable, match="503"):
            await ais.bucket("b").props()
        assert await ais.health() is False
        for gateway in double.gateways:
            gateway.starting = False
        assert await ais.health() is True
        assert await ais.bucket("b").exists()


async def test_silent_cluster_is_given_up_in_time(double: AIStoreDouble) -> None:
    """A gateway that takes connections and says nothing."""
    async with TCPProxy(double.urls[0]) as proxy:
        proxy.stall()
        async with AIStore(proxy.url, timeout=0.5, retry=QUICK) as ais:
            with pytest.raises(RequestTimeout):
                await ais.bucket("b").props()


async def test_cancelled_put_leaves_nothing_behind(bucket: Bucket, double: AIStoreDouble) -> None:
    """Neither an object nor a generator that was left in the middle."""
    closed = asyncio.Event()
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                started.set()
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    task = asyncio.ensure_future(bucket.object("o").put(endless(), length=10**9))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(closed.wait(), 5)
    assert not await bucket.object("o").exists()


async def test_cancelled_read_leaves_nothing_behind(bucket: Bucket, double: AIStoreDouble) -> None:
    """The connection is dropped, and the client serves on."""
    double.put("b", "o", BIG)
    double.owner("b", "o").stall_get(after=1000)
    reading = asyncio.Event()

    async def read() -> None:
        async with bucket.object("o").get() as reader:
            await reader.read(1000)
            reading.set()
            await reader.read()

    task = asyncio.ensure_future(read())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(seat.streams == 0 for seat in bucket._link.pool.status())
    assert await bucket.object("o").read() == BIG


async def test_bucket_that_goes_while_an_object_is_put(ais: AIStore, double: AIStoreDouble) -> None:
    """The gateway's word, before any byte of the body."""
    with pytest.raises(BucketNotFound):
        await ais.bucket("gone").object("o").put(pieces(BIG))
    assert not any(a.size for a in double.asked("PUT"))


@pytest.mark.parametrize("after", [0, 500_000])
async def test_target_cut_off_by_the_network_in_the_middle_of_a_get(double: AIStoreDouble, after: int) -> None:
    """To the byte, by a proxy before the target."""
    double.put("b", "o", BIG)
    owner = double.owner("b", "o")
    async with TCPProxy(owner.url) as proxy:
        owner.public = proxy.url
        async with AIStore(double.url, timeout=5, retry=QUICK) as ais:
            proxy.cut_after(received=after, match=b"GET ")
            assert await ais.bucket("b").object("o").read() == BIG
    assert len([a for a in double.asked("GET", "/v1/objects") if a.node == owner.id]) == 2


@pytest.mark.parametrize("after", [0, 500_000])
async def test_target_cut_off_by_the_network_in_the_middle_of_a_put(double: AIStoreDouble, after: int) -> None:
    """What can be rewound is sent again, since a body that is not whole is not stored."""
    owner = double.owner("b", "o")
    async with TCPProxy(owner.url) as proxy:
        owner.public = proxy.url
        async with AIStore(double.url, timeout=5, retry=QUICK) as ais:
            await ais.dialect()
            proxy.cut_after(sent=after, match=b"PUT ")
            await ais.bucket("b").object("o").put(BIG * 4)
    assert double.read("b", "o") == BIG * 4


async def test_error_of_the_users_own_source_is_his(bucket: Bucket) -> None:
    """Bare, and nothing is stored."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise LookupError("no more")

    for length in (None, 5000):
        with pytest.raises(LookupError, match="no more"):
            await bucket.object("o").put(broken(), length=length)
    assert not await bucket.object("o").exists()
