"""The benchmark of large objects runs from end to end. What it measures is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIZE = 3_000_000


def test_every_row_is_measured() -> None:
    """aetcd and the plain loop, both ways, of a size that is no whole number of pieces."""
    command = [sys.executable, "-m", "benchmarks.objects", "--size", str(SIZE), "--rounds", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    head, *rows = ran.stdout.splitlines()
    assert head.split() == ["seconds", "MiB/s", "us/MiB", "MiB", "more"]
    names = ["get, checked, aetcd", "get, aetcd", "get, aiohttp", "put, aetcd", "put, aiohttp"]
    assert [row[:28].strip() for row in rows] == names
    assert all(float(figure) > 0 for row in rows for figure in row[28:].split()[:3])
