"""One suite for both protocols, on every version of etcd found, under keys that no other test has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

import aetcd
from aetcd.testing import EtcdBinary, EtcdCluster, EtcdServer, etcd_binaries

BINARIES: list[EtcdBinary | None] = [*etcd_binaries()] or [None]


class ThreeMembers(EtcdCluster):
    """A cluster where a test expects a server: `url` is the one member that a test puts a proxy before."""

    @property
    def url(self) -> str:
        return self.peers[0]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On one server of each version, and on three members."""
    if "etcd" in metafunc.fixturenames:
        servers = [pytest.param((EtcdServer, binary), id=str(binary)) for binary in BINARIES]
        clusters = [pytest.param((ThreeMembers, binary), id=f"{binary} x3") for binary in BINARIES]
        metafunc.parametrize("etcd", servers + clusters, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of three members what would cost its time for nothing new: see `is_settled_by_one`."""
    left_out = [item for item in items if is_settled_by_one(getattr(item, "callspec", None))]
    config.hook.pytest_deselected(items=left_out)
    kept = set(items).difference(left_out)
    items[:] = [item for item in items if item in kept]


def is_settled_by_one(case: Any) -> bool:
    """v2 goes to three members of every version; v3 to those of 3.5 and later, and with shared watches only."""
    match None if case is None else case.params:
        case {"etcd": (kind, EtcdBinary() as binary), "speech": spoken} | {
            "etcd": (kind, EtcdBinary() as binary),
            "protocol": spoken,
        }:
            return kind is ThreeMembers and (spoken == "v3 alone" or (spoken == "v3" and not binary.at_least(3, 5)))
    return False


@pytest.fixture(scope="session")
def etcd(request: pytest.FixtureRequest) -> Iterator[EtcdServer | ThreeMembers]:
    """One server or cluster for the whole run, once for every version found. Keep to keys under `prefix`."""
    kind, binary = request.param
    with kind(binary=binary) as running:
        yield running


@pytest.fixture(params=["v3", "v2"])
def protocol(request: pytest.FixtureRequest) -> str:
    """What the clients of a test speak."""
    spoken: str = request.param
    return spoken


@pytest.fixture
async def connect(
    etcd: EtcdServer | ThreeMembers, protocol: str
) -> AsyncIterator[Callable[..., Awaitable[aetcd.Client]]]:
    """`await connect(**settings)`: a client that is closed when the test is over."""
    async with AsyncExitStack() as opened:

        async def make(*peers: str, **settings: Any) -> aetcd.Client:
            client = aetcd.Client(*(peers or etcd.peers), **{"protocol": protocol, **settings})
            return await opened.enter_async_context(client)

        yield make


@pytest.fixture
async def client(connect: Callable[..., Awaitable[aetcd.Client]], prefix: str) -> aetcd.Client:
    """In a namespace of its own, so that a test may name its keys as it likes."""
    return await connect(namespace=prefix)


@pytest.fixture
async def plain(connect: Callable[..., Awaitable[aetcd.Client]]) -> aetcd.Client:
    """Without a namespace: keep to keys under `prefix`."""
    return await connect()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """`await eventually(condition)`: until it is true, at most for 10 seconds."""

    async def wait(condition: Callable[[], bool], within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.005)

    return wait
