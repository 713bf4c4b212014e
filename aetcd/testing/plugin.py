"""Fixtures for pytest, there as soon as the package is installed: `etcd_server` and `etcd_cluster`.

    async def test_my_service(etcd_server):
        async with aetcd.Client(*etcd_server.peers) as client:
            ...

Each test gets an etcd of its own, which takes about half a second to start. To share one, say so in the configuration
of pytest: `etcd_scope = "session"` (or `module`, `package`, `class`); keys are then yours to keep apart.
Other settings are a fixture of two lines:

    @pytest.fixture
    def etcd_server():
        with EtcdServer(protocols=("v3",), auth_token_ttl=2) as server:
            yield server

The fixtures are plain functions and touch no event loop: processes belong to none. So they open and close in one
place, and serve tests of pytest-asyncio with loops of any scope, of anyio's plugin, and tests without a loop.
Without an etcd to run, a test that asks for one fails; it is not skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, cast, get_args

import pytest

if TYPE_CHECKING:
    from aetcd.testing import EtcdCluster, EtcdServer

# What is imported here is imported at the start of every run of pytest: so nothing but pytest. The rest comes with use.

__all__ = ["etcd_cluster", "etcd_server"]

Scope = Literal["session", "package", "module", "class", "function"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Make the scope of the fixtures an option of the configuration file."""
    parser.addini("etcd_scope", "scope of the fixtures etcd_server and etcd_cluster", default="function")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an unknown scope, which pytest would report as a fault of its own."""
    given = config.getini("etcd_scope")
    if given not in get_args(Scope):
        raise pytest.UsageError(f"etcd_scope must be one of {', '.join(get_args(Scope))}, not {given!r}")


def _scope(fixture_name: str, config: pytest.Config) -> Scope:
    return cast("Scope", config.getini("etcd_scope"))


@pytest.fixture(scope=_scope)
def etcd_server() -> Iterator[EtcdServer]:
    """One etcd of its own, that serves v3 and v2."""
    from aetcd.testing import EtcdServer

    with EtcdServer() as server:
        yield server


@pytest.fixture(scope=_scope)
def etcd_cluster() -> Iterator[EtcdCluster]:
    """A cluster of three members of its own, that serves v3 and v2."""
    from aetcd.testing import EtcdCluster

    with EtcdCluster(3) as cluster:
        yield cluster
