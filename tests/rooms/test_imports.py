"""The rooms' import contracts, and that they notice what they are there for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import aetcd

ROOT = Path(aetcd.__file__).parent.parent
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the package in a folder."""
    return subprocess.run(
        [LINTER, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(folder)},
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its contracts, to be broken."""
    shutil.copytree(ROOT / "aetcd", tmp_path / "aetcd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_are_kept(copy: Path) -> None:
    """As the package stands, no room imports what it must not."""
    result = lint(copy)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("_wire/message.py", "import aetcd._transport.pool", "Imports go downward only"),
        ("_transport/pool.py", "import aetcd.etcd._watch", "Imports go downward only"),
        ("etcd/_watch.py", "import aetcd.recipes", "Imports go downward only"),
        ("recipes/_lock.py", "import aetcd.testing", "Imports go downward only"),
        ("recipes/_lock.py", "import aetcd.etcd._watch", "Recipes know no wire"),
        ("etcd/v3/_kv.py", "import aiohttp", "Only the transport speaks HTTP"),
        ("_routing/retry.py", "import asyncio", "Decisions and codecs do not wait"),
        ("etcd/v3/_kv.py", "import aetcd.etcd.v2._keys", "The two protocols are blind to each other"),
    ],
)
def test_broken_contract_is_noticed(copy: Path, file: str, line: str, contract: str) -> None:
    """An import against the direction of the rooms fails the check, under the name of its contract."""
    with (copy / "aetcd" / file).open("a") as source:
        source.write(f"\n{line}\n")
    result = lint(copy)
    assert result.returncode == 1
    assert f"{contract} BROKEN" in result.stdout
