"""The double, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from doubles.nginx import NginxDouble

from aetcd.nginx import Nginx


@pytest.fixture
async def double() -> AsyncIterator[NginxDouble]:
    """An instance of the newest release, with the reference's example configuration."""
    async with NginxDouble() as double:
        yield double


@pytest.fixture
async def nginx(double: NginxDouble) -> AsyncIterator[Nginx]:
    """A client of the double, which speaks version 9."""
    async with Nginx(double.url, timeout=5) as nginx:
        yield nginx
