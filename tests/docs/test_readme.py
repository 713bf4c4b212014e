"""The README: every Python block in it runs as pasted, and does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from attrs import frozen
from pages import run

import aetcd
from aetcd.testing import EtcdServer

README = Path(__file__).parents[2] / "README.md"


@frozen
class Block:
    """A piece of code in the README, its first line, and the heading that it stands under."""

    heading: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.heading}, line {self.line}"


def blocks(language: str) -> list[Block]:
    text = README.read_text()
    found = []
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        heading = re.findall(r"^#+ (.*)$", text[: match.start()], re.MULTILINE)[-1]
        found.append(Block(heading, text.count("\n", 0, match.start(1)) + 1, match[1]))
    return found


FIRST, *TOUR = blocks("python")
PIECES = [block for block in TOUR if "def test_" not in block.code]
TESTS = [block for block in TOUR if "def test_" in block.code]


@pytest.fixture
async def client(etcd35: EtcdServer, prefix: str) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(etcd35.url, namespace=prefix) as client:
        yield client


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the README names, in the working directory."""
    authority = trustme.CA()
    ours = authority.issue_cert("ann@example.org")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    ours.private_key_pem.write_to_path(tmp_path / "client.key")
    monkeypatch.chdir(tmp_path)


def test_every_block_is_in_one_of_the_tests() -> None:
    """No block of code is left out for its fence's sake, and the two kinds of pieces are both there."""
    assert len(TOUR) + 1 == README.read_text().count("```python") == len(PIECES) + len(TESTS) + 1
    assert len(PIECES) > 10
    assert TESTS
    assert README.read_text().count("```") == 2 * (len(TOUR) + 1 + len(blocks("text")))


def test_first_example_runs_as_pasted(tmp_path: Path) -> None:
    """A stranger pastes it into a file and runs it: it prints what the README shows, and nothing else."""
    program = tmp_path / "first.py"
    program.write_text(FIRST.code)
    command = [sys.executable, str(program)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == blocks("text")[0].code


@pytest.mark.parametrize("block", PIECES, ids=str)
@pytest.mark.usefixtures("certificates")
async def test_piece_runs(block: Block, client: aetcd.Client, etcd35: EtcdServer) -> None:
    """A piece of the tour runs inside `async with aetcd.Client(...) as client`, and its assertions hold."""
    names = {"__name__": "readme", "aetcd": aetcd, "client": client, "server": etcd35}
    await run(block.code, names, page=README, line=block.line - 1)


@pytest.mark.parametrize("block", TESTS, ids=str)
def test_test_passes(block: Block, pytester: pytest.Pytester) -> None:
    """A test of the tour passes in a project that has nothing but the package and pytest-asyncio."""
    pytester.makepyfile(block.code)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
