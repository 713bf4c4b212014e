"""docs/nginx.md: its Python runs as it stands, in order, and its configuration is nginx's."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from doubles.nginx import NginxDouble
from doubles.nginx_front import nginx_binary
from doubles.nginx_keyvals import KeyvalZone
from doubles.nginx_statistics import server_zone
from doubles.nginx_upstreams import Upstream
from pages import run

from aetcd import nginx as room
from aetcd.nginx import Nginx
from aetcd.testing import EtcdServer

PAGE = Path(__file__).parents[2] / "docs" / "nginx.md"
URLS = ("http://127.0.0.1:8080/api", "http://127.0.0.1:8081/api", "http://127.0.0.1:2379")


def blocks(language: str) -> list[tuple[int, str]]:
    """Pieces of code, with their first lines."""
    text = PAGE.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in found]


def configured(double: NginxDouble) -> None:
    """As the page's configuration has it."""
    instance = double.instance
    instance.upstreams["http"]["shop"] = Upstream.of("shop", ["10.0.0.1:8080", "10.0.0.2:8080"])
    instance.collections["http/server_zones"]["shop"] = server_zone()
    instance.keyvals["http"]["flags"] = KeyvalZone(lambda: asyncio.get_running_loop().time())


@pytest.fixture
async def doubles() -> AsyncIterator[tuple[NginxDouble, NginxDouble]]:
    async with NginxDouble() as one, NginxDouble() as two:
        configured(one)
        configured(two)
        yield one, two


async def run_at(line: int, code: str, names: dict[str, Any], *urls: str) -> None:
    for written, real in zip(URLS, urls, strict=False):
        code = code.replace(written, real)
    await run(code, names, page=PAGE, line=line)


@pytest.fixture
async def etcd() -> AsyncIterator[EtcdServer]:
    """One for the page, since it names its keys itself."""
    async with EtcdServer() as server:
        yield server


async def test_blocks_run(
    doubles: tuple[NginxDouble, NginxDouble], etcd: EtcdServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, as a reader would, inside `async with Nginx(...) as nginx`; and they do what they say."""
    one, two = doubles
    first, *rest = blocks("python")
    names: dict[str, Any] = {"__name__": "page"}
    await run_at(*first, names, one.url, two.url, etcd.url)
    assert capsys.readouterr().out == "nginx-plus-r16 with ['backend', 'hashed', 'shop']\n"
    async with Nginx(one.url) as names["nginx"]:
        for line, code in rest:
            await run_at(line, code, names, one.url, two.url, etcd.url)
    out = capsys.readouterr().out
    assert "+ 10.0.0.3:8080\n- 10.0.0.1:8080\n" in out
    assert "on default {" in out
    assert "<not asked for>\n" in out
    assert "404 UpstreamNotFound upstream not found" in out
    assert set(two.servers("shop")) == {"10.0.1.1:8080", "10.0.1.2:8080"}
    assert "now: 10.1.0.1:8080\n" in out
    assert one.servers("shop") == ["10.1.0.3:8080", "10.1.0.4:8080"]
    assert one.server("10.1.0.4:8080", "shop").numbers["weight"] == 2
    assert one.pairs("flags") == {"search": "off"}


async def test_switch_leads_back_from_errors(doubles: tuple[NginxDouble, NginxDouble]) -> None:
    """Green answers with errors while it is watched: blue serves again, and green is out."""
    double, _ = doubles
    line, code = next(block for block in blocks("python") if "async def switch" in block[1])
    definition = code[: code.index("\n\nassert await switch")]
    names: dict[str, Any] = {"__name__": "page", "Nginx": Nginx}
    await run_at(line, definition, names, double.url)

    def fail(seen: Any) -> None:
        """As soon as blue is down."""
        if double.server("10.0.0.2:8080", "shop").down and seen.target.endswith("/nginx") and len(failed) < 2:
            failed.append(seen)
            if len(failed) == 2:
                double.instance.request("10.0.1.1:8080", upstream="shop", zone="shop", status=503)

    failed: list[Any] = []
    double.before = fail
    async with Nginx(double.url) as nginx:
        assert not await names["switch"](nginx, names["BLUE"], names["GREEN"], watched=0.1)
    assert set(double.servers("shop")) == set(names["BLUE"])
    assert not any(server.down for server in double.upstream("shop").servers.values())


def test_every_block_is_run() -> None:
    """None is left out for its fence's sake."""
    assert len(blocks("python")) == PAGE.read_text().count("```python") > 8
    assert PAGE.read_text().count("```") == 2 * (len(blocks("python")) + len(blocks("nginx")))


def test_configuration_is_nginx(tmp_path: Path) -> None:
    """nginx itself reads it, but for the directives that open source nginx does not have."""
    ((_, code),) = blocks("nginx")
    plus = r"^\s*(api|keyval_zone|keyval|status_zone)\s[^;]*;.*$"
    assert {match[1] for match in re.finditer(plus, code, re.MULTILINE)} == {
        "api",
        "keyval_zone",
        "keyval",
        "status_zone",
    }
    for needed in ("zone shop 64k;", "api write=on;", "allow 127.0.0.1;", "deny all;"):
        assert needed in code
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\n"
        + re.sub(plus, "", code, flags=re.MULTILINE).replace("listen 80;", "listen 127.0.0.1:18080;")
    )
    command = [str(nginx_binary()), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert checked.returncode == 0, checked.stderr


def test_names_in_the_tables_are_there() -> None:
    """What stands in code in a table is a name of the room, or of a client."""
    nginx = Nginx("http://a/api")
    cells = [cell for line in PAGE.read_text().splitlines() if line.startswith("|") for cell in line.split("|")]
    dotted = {name for cell in cells for name in re.findall(r"`nginx\.([a-z_.]+)", cell)}
    assert len(dotted) > 20
    for name in dotted:
        found: Any = nginx
        for part in name.split("."):
            found = getattr(found, part)
    classes = {name for cell in cells for name in re.findall(r"`([A-Z][A-Za-z]+)`", cell)} - {"OutcomeUnknown"}
    assert classes <= set(room.__all__)
