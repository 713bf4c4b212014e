"""The guide to AIStore: its code runs from top to bottom, and each line of curl is what our line sends."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from doubles.aistore import AIStoreDouble, Asked, Dialect

from aetcd.aistore import AIStore

PAGE = Path(__file__).parents[2] / "docs" / "aistore.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)

STALE = {
    # What the reference has, and what the server takes: see the docstrings.
    "Rename/move object": ("POST", "/v1/objects/abc/o1", "renameobj"),
    "Promote file/directory": ("POST", "/v1/objects/abc", "promote"),
    "Get xactions' statistics": ("GET", "/v1/cluster?what=qryxstats", ""),
    "Get bucket list from a given target": ("GET", "/v1/daemon?what=bmd", ""),
}


@frozen
class Row:
    """A row of the table of curl lines."""

    name: str
    curl: str
    code: str

    @property
    def request(self) -> tuple[str, str, str]:
        """Method, path with `what=`, and action of the line, or of what the server takes in its place."""
        if self.name in STALE:
            return STALE[self.name]
        method = re.search(r"-X (\w+)", self.curl)
        url = re.search(r"'http://[^/']+(/[^']*)'", self.curl)
        action = re.search(r'"action": ?"(\w+)"', self.curl)
        assert url is not None
        path = url[1] if "what=" in url[1] else url[1].partition("?")[0]
        return method[1] if method else "HEAD", path, action[1] if action else ""

    def __str__(self) -> str:
        return self.name


def read_rows() -> list[Row]:
    rows = []
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and cells[1].startswith("`curl"):
            rows.append(Row(cells[0], cells[1].strip("`"), "\n".join(re.findall(r"`([^`]+)`", cells[2]))))
    return rows


ROWS = read_rows()


async def run(code: str, names: dict[str, Any]) -> int:
    """Run it as a console does, compare each value with the one that stands behind it, and count those."""
    lines, compared = code.splitlines(), 0
    for statement in ast.parse(code).body:
        is_expression = isinstance(statement, ast.Expr)
        part = ast.Expression(statement.value) if isinstance(statement, ast.Expr) else ast.Module([statement], [])
        compiled = compile(part, str(PAGE), "eval" if is_expression else "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        found = eval(compiled, names)
        value = await found if inspect.iscoroutine(found) else found
        told = re.search(r"# (True|b?\".*?\"|\d+)(, or (\".*?\"))?(;|$)", lines[(statement.end_lineno or 0) - 1])
        if is_expression and told is not None:
            assert value in {ast.literal_eval(known) for known in (told[1], told[3]) if known}, lines
            compared += 1
    return compared


@pytest.fixture
def dialect() -> Dialect:
    return "3.3"


@pytest.fixture
async def cluster(dialect: Dialect) -> AsyncIterator[AIStoreDouble]:
    async with AIStoreDouble(dialect, gateways=2) as double:
        double.create("abc")
        double.create("cloudy", provider="aws")
        for name in ("o1", "o2", "o3", "__tst/test-1000"):
            double.put("abc", name, b"01234567")
            double.put("cloudy", name, b"x", provider="aws")
        double.files["t1"] = {"/user/dir/file1": b"1", "/user/dir/sub/file2": b"2"}
        yield double


def test_the_table_has_every_row_of_the_reference() -> None:
    """46 operations, the provider, and 13 questions."""
    assert len(ROWS) == 60
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.name for row in ROWS} >= STALE.keys()


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_row_sends_what_its_curl_line_sends(
    row: Row, cluster: AIStoreDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method, path and action; or what the server takes where the reference is stale."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filenameToUpload").write_bytes(b"content")
    if row.name == "Enable mountpath":
        cluster.target("t1").paths.available.remove("/data/1/fs/mp1/1")
        cluster.target("t1").paths.disabled.append("/data/1/fs/mp1/1")
    if row.name.startswith("Register storage"):
        cluster.remove("t2")
    if row.name.startswith("Register proxy"):
        cluster.remove("p1")
    urls = {"url": cluster.target("t2").url, "gateway_url": cluster.gateways[1].url}
    async with AIStore(*cluster.urls, timeout=5) as ais:
        await run(row.code, {"ais": ais, "Path": Path, **urls})
    method, path, action = row.request
    sent = [asked for asked in cluster.requests if asked.method == method and _path(asked, path) == path]
    assert sent, [(asked.method, asked.path) for asked in cluster.requests]
    assert action in {asked.action for asked in sent}
    compact = [json.loads(asked.body) for asked in sent if asked.action]
    assert all(body.keys() == {"action", "name", "value"} for body in compact)


def _path(asked: Asked, wanted: str) -> str:
    return f"{asked.path}?what={asked.query.get('what')}" if "what=" in wanted else asked.path


@pytest.mark.parametrize("dialect", ["3.3", "current"])
async def test_blocks_run(
    cluster: AIStoreDouble, dialect: Dialect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, one after the other as a reader would, on each version."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    try:
        compared = 0
        for block in BLOCKS:
            compared += await run(block.replace("http://10.0.0.1:8080", cluster.url), names)
        assert compared == 8
        assert (tmp_path / "download.bin").read_bytes() == b"x" * 19
        assert cluster.read("photos", "log") == b"first second"
        assert [e.name async for e in names["photos"].list("s-1")] == ["s-1"]
        assert [e.name async for e in names["ais"].bucket("photos-2").list("s-2")] == ["s-2"]
    finally:
        for name in ("ais", "authn", "guarded"):
            if name in names:
                await names[name].aclose()
