"""The processes that contestants run in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks import contestants
from benchmarks.contestants import Contestant, Failed


def program(folder: Path, *lines: str) -> Contestant:
    """A contestant whose process is this shell script."""
    script = folder / "python"
    script.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    script.chmod(0o700)
    return Contestant(name="one", kind="peer", protocol="v3", adapter="ours", python=script)


async def test_one_that_complains_a_lot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes as far as its first word, and is ended, though nobody reads what it writes on stderr."""
    monkeypatch.setattr(contestants, "GOES_WITHIN", 0.2)
    complain = "head -c 1000000 /dev/zero | tr '\\0' x >&2"
    one = program(tmp_path, complain, """echo '{"version": "1"}'""", complain, "exec sleep 100")
    async with asyncio.timeout(20):
        await one.connect(["http://127.0.0.1:1"])
        assert one.told == {"version": "1"}
        await one.close()


async def test_one_that_ends(tmp_path: Path) -> None:
    """The last of what it complained of is the reason."""
    one = program(tmp_path, "echo first >&2", "echo no such module >&2", "exit 1")
    with pytest.raises(Failed, match=r"^failed: no such module$"):
        await one.connect(["http://127.0.0.1:1"])
