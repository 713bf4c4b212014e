"""A cluster of each version, and a client that is impatient."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from doubles.aistore import AIStoreDouble, Dialect

from aetcd._routing.retry import RetryPolicy
from aetcd.aistore import AIStore, Bucket

QUICK = RetryPolicy(attempts=4, base=0.01, cap=0.05)


@pytest.fixture(params=["3.3", "current"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each version in turn; a test overrides it by `@pytest.mark.parametrize("dialect", ["3.3"])`."""
    found: Dialect = request.param
    return found


@pytest.fixture
async def double(dialect: Dialect) -> AsyncIterator[AIStoreDouble]:
    """Two gateways and two targets, with the bucket `b`."""
    async with AIStoreDouble(dialect, gateways=2) as cluster:
        cluster.create("b")
        yield cluster


@pytest.fixture
async def ais(double: AIStoreDouble) -> AsyncIterator[AIStore]:
    """A client of that cluster."""
    async with AIStore(*double.urls, timeout=5, retry=QUICK) as client:
        yield client


@pytest.fixture
def bucket(ais: AIStore) -> Bucket:
    """The bucket `b`."""
    return ais.bucket("b")
