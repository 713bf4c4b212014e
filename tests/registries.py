"""Registries of discovery tokens, and clusters that are made with them. All of them are real."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from attrs import define, field

from aetcd.testing import EtcdCluster
from aetcd.testing._ports import HeldPort

# What serves tokens at https://discovery.etcd.io, where Debian's package etcd-discovery is installed.
PROGRAM = shutil.which("discovery.etcd.io")
REGISTRIES = ["keys", "service"] if PROGRAM else ["keys"]
SERVES_WITHIN = 20.0  # seconds


def ask(url: str, method: str = "GET", **form: str) -> str:
    """One request, its form in the body. Blocks: only for servers that are processes of their own."""
    body = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def new_token(etcd: str, size: int | None, token: str | None = None) -> str:
    """The URL of a fresh token in the v2 keys of an etcd. Without a size it is like one of etcd 0.4's."""
    url = f"{etcd}/v2/keys/_etcd/registry/{token or uuid.uuid4().hex}"
    ask(url, "PUT", dir="true") if size is None else ask(f"{url}/_config/size", "PUT", value=str(size))
    return url


def register(token: str, value: str) -> None:
    """As a member does."""
    ask(f"{token}/{uuid.uuid4().hex[:16]}?prevExist=false", "PUT", value=value)


@contextmanager
def discovery_service(etcd: str) -> Iterator[str]:
    """The URL of the program that serves tokens at `https://discovery.etcd.io`, before this etcd."""
    assert PROGRAM is not None
    port = HeldPort()
    url = f"http://127.0.0.1:{port.number}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [PROGRAM, "--addr", f"127.0.0.1:{port.number}", "--host", url, "--etcd", etcd], stdout=log, stderr=log
        )
        try:
            _wait_for(url, process)
            yield url
        finally:
            process.kill()
            process.wait()
            port.release()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SERVES_WITHIN
    while True:
        try:
            ask(f"{url}/health")
            return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


@define(eq=False)
class DiscoveredCluster(EtcdCluster):
    """Members that know nothing of each other but the discovery URL `token`."""

    token: str = field(default="", kw_only=True)

    def shared_flags(self, peer_urls: Mapping[str, str]) -> list[str]:
        flags = [flag for flag in super().shared_flags(peer_urls) if not flag.startswith("--initial-cluster")]
        return [*flags, f"--discovery={self.token}"]

    async def _launch(self) -> None:
        # None of them answers before all have registered.
        for member in self._members:
            member.launch()
