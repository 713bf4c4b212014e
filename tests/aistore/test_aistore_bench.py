"""The contest of large objects runs from end to end. No figure is judged here."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from doubles.aistore import AIStoreDouble

ROOT = Path(__file__).parents[2]
SIZE = 3_000_000
MIB = 1 << 20
MEASURED = {
    "get": ["raw aiohttp", "aetcd", "aetcd, verify=False"],
    "put, a stream": ["raw aiohttp", "aetcd"],
    "put, a file": ["raw aiohttp", "aetcd"],
}
FIGURES = ("wall", "cpu", "server")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, of a size that is no whole number of pieces, with no peer installed."""
    made = tmp_path_factory.mktemp("results")
    sizes = ["--size", str(SIZE), "--rounds", "1", "--results", str(made)]
    command = [sys.executable, "-m", "benchmarks.objects", *sizes]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == (made / "objects.md").read_text()
    return made


def test_every_way_is_measured_for_everyone(folder: Path) -> None:
    """The whole object, both ways, with the CPU of the client and of the double; only a get compares a checksum."""
    rows: dict[str, dict[str, Any]] = json.loads((folder / "objects.json").read_text())["rows"]
    assert list(rows) == list(MEASURED)
    for row, names in MEASURED.items():
        assert list(rows[row]) == [*names, "aistore"]
        for name in names:
            (once,) = rows[row][name]
            assert once["operations"] == SIZE / MIB
            assert once["memory"] >= 0
            assert all(once[figure] > 0 for figure in FIGURES)


def test_sdk_that_is_not_installed_stands_in_every_row(folder: Path) -> None:
    """It is reported as such, in the JSON and in the tables."""
    told = json.loads((folder / "objects.json").read_text())
    assert all(found["aistore"] == "not installed" for found in told["rows"].values())
    assert told["about"]["versions"]["aistore"] == "did not start"
    tables = (folder / "objects.md").read_text()
    assert tables.count("| aistore | not installed |") == len(MEASURED)


async def test_who_reads_after_a_failed_send_finds_where_a_large_put_goes() -> None:
    """With `early_redirect` a gateway answers before it closes, as Go's server does: the SDK of PyPI relies on it."""
    body = bytes(8 * MIB)
    async with AIStoreDouble("current", early_redirect=True) as ais:
        ais.create("b")
        host, _, port = ais.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"PUT /v1/objects/b/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            assert await reader.read() == b""
        writer.transport.abort()
    status, *headers = head.decode().splitlines()
    assert status.split()[1] == "307"
    assert "Connection: close" in headers
    assert any(line.startswith(f"Location: {ais.owner('b', 'x').public}/v1/objects/b/x?") for line in headers)
    assert "x" not in ais.bucket("b").objects
