"""The bridge's example, on an etcd of its own and the double of NGINX Plus."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from doubles.nginx import NginxDouble
from doubles.nginx_upstreams import Upstream

CHECKOUT = Path(__file__).parents[2]


async def run_example(**environment: str) -> tuple[int, str]:
    """Its exit status and what it printed."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("ETCDCTL_", "NGINX_"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.nginx_bridge"),
        cwd=CHECKOUT,
        env=known | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_the_example_keeps_nginx_in_step() -> None:
    """By one bridge and then by the other, and leaves the last two servers to NGINX."""
    async with NginxDouble() as double:
        double.instance.upstreams["http"]["shop"] = Upstream.of("shop", ["10.0.0.1:80"])
        status, out = await run_example(NGINX_API=double.url)
        assert status == 0, out
        assert [line for line in out.splitlines() if not line.startswith("ETCDCTL_")] == [
            "the first bridge leads: True, the second: False; ok",
            "NGINX sends to 127.0.0.1:9001, 127.0.0.1:9002",
            "NGINX sends to 127.0.0.1:9001, 127.0.0.1:9002, 127.0.0.1:9003",
            "the first bridge has stopped, and cid leaves",
            "NGINX sends to 127.0.0.1:9001, 127.0.0.1:9002",
            "the second bridge leads: True",
        ]
        assert {"127.0.0.1:9001", "127.0.0.1:9002"} <= set(double.servers("shop"))
        assert "10.0.0.1:80" not in double.servers("shop")


async def test_the_example_without_an_nginx_says_what_it_needs() -> None:
    """One line, and no traceback."""
    status, out = await run_example()
    assert [status, len(out.splitlines())] == [1, 1]
    assert "NGINX_API" in out
