from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from v3_servers import connected

from aetcd.errors import AetcdError, ConnectFailed, DecodeError, PermissionDenied
from aetcd.etcd.v3 import V3
from aetcd.testing import EtcdServer, etcd_binaries


@pytest.fixture(params=etcd_binaries(), ids=str, scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
    with EtcdServer(binary=request.param, protocols=("v3",)) as server:
        yield server


@pytest.fixture
async def v3(server: EtcdServer) -> AsyncIterator[V3]:
    async with connected(server.peers) as v3:
        yield v3


def restore(server: EtcdServer, file: Path, to: Path) -> None:
    """By the server's own tool: it checks the file's SHA-256 too."""
    tool = server.binary.etcdutl or server.binary.etcdctl
    assert tool is not None
    subprocess.run(
        [tool, "snapshot", "restore", file, "--data-dir", to],
        env={"ETCDCTL_API": "3"},
        check=True,
        capture_output=True,
        timeout=60,
    )


async def test_saved_and_restored(v3: V3, server: EtcdServer, tmp_path: Path) -> None:
    """What is restored from the file has what stood in the store, and nothing that came later."""
    for i in range(20):
        await v3.put(f"big/{i}", bytes([i]) * 100_000)
    seen: list[tuple[int, int]] = []
    file = tmp_path / "snapshot.db"
    saved = await v3.maintenance.snapshot(file, progress=lambda *at: seen.append(at), peer=server.peers[0])
    await v3.put("later", "1")
    assert (saved.path, saved.peer, len(saved.sha256)) == (file, server.peers[0], 32)
    assert file.stat().st_size == saved.size + 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert {done + remaining for done, remaining in seen} == {saved.size}
    assert seen == sorted(seen)
    assert (len(seen) > 3, seen[-1]) == (True, (saved.size, 0))
    assert list(tmp_path.iterdir()) == [file]
    restore(server, file, tmp_path / "restored")
    async with EtcdServer(binary=server.binary, protocols=("v3",), data_dir=tmp_path / "restored") as other:
        async with connected(other.peers) as v3:
            assert (await v3.range("big/7")).kvs[0].value == bytes([7]) * 100_000
            assert (await v3.range("later")).count == 0


async def test_piece_by_piece(v3: V3) -> None:
    """The pieces together are the file: the database, and its checksum."""
    async with v3.maintenance.snapshot_stream() as pieces:
        whole = b"".join([piece async for piece in pieces])
    assert pieces.sha256 == whole[-32:] == hashlib.sha256(whole[:-32]).digest()
    assert (pieces.done, pieces.remaining) == (len(whole) - 32, 0)


async def test_in_place_of_an_older_one(v3: V3, tmp_path: Path) -> None:
    """It stays until the new one is whole."""
    file = tmp_path / "snapshot.db"
    file.write_text("old")
    seen: list[str] = []
    await v3.maintenance.snapshot(str(file), progress=lambda *_: seen.append(file.read_bytes()[:3].decode("latin1")))
    assert set(seen) == {"old"}
    assert file.stat().st_size > 3


async def test_failing_progress(v3: V3, tmp_path: Path) -> None:
    """What the caller's own function raises ends it, and leaves nothing."""

    def fail(done: int, remaining: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await v3.maintenance.snapshot(tmp_path / "snapshot.db", progress=fail)
    assert list(tmp_path.iterdir()) == []


async def never(done: int, remaining: int) -> None:
    pytest.fail("it was called")


class Never:
    async def __call__(self, done: int, remaining: int) -> None:
        pytest.fail("it was called")


@pytest.mark.parametrize(
    "progress", [never, partial(never, 1), Never(), 5], ids=["async", "partial", "object", "number"]
)
async def test_progress_that_cannot_be_called(progress: Any, tmp_path: Path) -> None:
    """What would have to be awaited, and what is no function, is refused before the file is made."""
    async with connected(["http://127.0.0.1:1"]) as v3:
        with pytest.raises(TypeError, match=r"^progress must be"):
            await v3.maintenance.snapshot(tmp_path / "nowhere" / "snapshot.db", progress=progress)


async def test_cancel(v3: V3, server: EtcdServer, tmp_path: Path) -> None:
    """Nothing is left behind, wherever it hits."""
    for i in range(20):
        await v3.put(f"big/{i}", bytes([i]) * 100_000)
    began = time.monotonic()
    await v3.maintenance.snapshot(tmp_path / "whole.db")
    took = time.monotonic() - began
    (tmp_path / "whole.db").unlink()
    cancelled = 0
    for part in range(10):
        task = asyncio.ensure_future(v3.maintenance.snapshot(tmp_path / "snapshot.db"))
        await asyncio.wait([task], timeout=took * part / 10)
        cancelled += task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result().path.unlink()
        assert list(tmp_path.iterdir()) == []
    assert cancelled > 3


async def test_whose_is_to_be_said(tmp_path: Path) -> None:
    """With several members none is picked unless the caller says that any will do."""
    async with connected(["http://127.0.0.1:1", "http://127.0.0.1:2"]) as v3:
        for call in (v3.maintenance.status, v3.maintenance.defragment, v3.maintenance.hash, v3.maintenance.hash_kv):
            with pytest.raises(ValueError, match="peer must name"):
                await call()
            with pytest.raises(AetcdError):
                await call(peer="any", timeout=1)
        with pytest.raises(ValueError, match="peer must name"):
            await v3.maintenance.snapshot(tmp_path / "snapshot.db")


async def test_bad_paths(v3: V3, tmp_path: Path) -> None:
    """Said before anything is asked of the server."""
    with pytest.raises(FileNotFoundError):
        await v3.maintenance.snapshot(tmp_path / "nowhere" / "snapshot.db", peer="http://127.0.0.1:1")
    with pytest.raises(IsADirectoryError):
        await v3.maintenance.snapshot(tmp_path, peer="http://127.0.0.1:1")
    with pytest.raises(TypeError, match=r"^path must be"):
        await v3.maintenance.snapshot(5, peer="http://127.0.0.1:1")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


async def test_a_member_that_is_down(v3: V3, tmp_path: Path) -> None:
    """No other sends its own in its place."""
    with pytest.raises(ConnectFailed):
        await v3.maintenance.snapshot(tmp_path / "snapshot.db", peer="http://127.0.0.1:1", timeout=5)
    assert list(tmp_path.iterdir()) == []


@asynccontextmanager
async def sending(*messages: dict[str, Any]) -> AsyncIterator[V3]:
    """A server whose snapshot is these messages."""

    async def snapshot(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for message in messages:
            await answer.write(json.dumps(message).encode() + b"\n")
        return answer

    app = web.Application()
    app.router.add_post("/v3/maintenance/snapshot", snapshot)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        async with connected([f"http://127.0.0.1:{port}"], prefix="/v3") as v3:
            yield v3
    finally:
        await runner.cleanup()


def piece(blob: bytes, remaining: int) -> dict[str, Any]:
    return {"result": {"blob": base64.b64encode(blob).decode(), "remaining_bytes": str(remaining)}}


GOOD = hashlib.sha256(b"abcdef").digest()
WRONG: dict[str, tuple[list[dict[str, Any]], type[AetcdError], str]] = {
    "damaged": ([piece(b"abc", 3), piece(b"dEf", 0), piece(GOOD, 0)], DecodeError, "SHA-256"),
    "cut in the database": ([piece(b"abc", 3)], ConnectFailed, "before the snapshot's checksum"),
    "cut before the checksum": ([piece(b"abc", 3), piece(b"def", 0)], ConnectFailed, "before the snapshot's checksum"),
    "nothing": ([], ConnectFailed, "before the snapshot's checksum"),
    "too much": ([piece(b"abcdef", 0), piece(GOOD, 0), piece(b"x", 0)], DecodeError, "behind its checksum"),
    "an error": ([piece(b"abc", 3), {"error": {"grpc_code": 7, "message": "no"}}], PermissionDenied, "no"),
    "neither": ([piece(b"abc", 3), {}], DecodeError, "neither a result nor an error"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_not_whole(case: str, tmp_path: Path) -> None:
    """It is never saved, nor is what stood there touched."""
    messages, error, text = WRONG[case]
    file = tmp_path / "snapshot.db"
    file.write_text("old")
    async with sending(*messages) as v3:
        with pytest.raises(error, match=text):
            await v3.maintenance.snapshot(file)
    assert (list(tmp_path.iterdir()), file.read_text()) == ([file], "old")


async def test_a_good_one_from_the_same_double(tmp_path: Path) -> None:
    """So that the cases above fail for what they name."""
    async with sending(piece(b"abc", 3), piece(b"def", 0), piece(GOOD, 0)) as v3:
        await v3.maintenance.snapshot(tmp_path / "snapshot.db")
    assert (tmp_path / "snapshot.db").read_bytes() == b"abcdef" + GOOD


class TestAuth:
    """A server of its own, that asks for credentials."""

    @pytest.fixture(params=etcd_binaries(), ids=str)
    def server(self, request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
        with EtcdServer(binary=request.param, protocols=("v3",)) as server:
            yield server

    async def test_stale_token(self, v3: V3, server: EtcdServer, tmp_path: Path) -> None:
        """It is renewed once; a user who may not is refused."""
        for name in ("root", "guest"):
            await v3.auth.add_user(name, "pw")
        await v3.auth.grant_role("root", "root")
        await v3.auth.enable()
        async with connected(server.peers, user=("root", "pw")) as root:
            await root.range("a")
            root.gateway.channel.auth._headers["Authorization"] = "stale"  # type: ignore[attr-defined]
            assert (await root.maintenance.snapshot(tmp_path / "snapshot.db")).size > 0
            root.gateway.channel.auth._headers["Authorization"] = "stale"  # type: ignore[attr-defined]
            assert (await root.maintenance.hash()).hash > 0
        async with connected(server.peers, user=("guest", "pw")) as guest:
            with pytest.raises(PermissionDenied):
                await guest.maintenance.snapshot(tmp_path / "other.db")
        assert [file.name for file in tmp_path.iterdir()] == ["snapshot.db"]
