"""The project's commands: `nox -s tests`, `nox -s demo`, `nox --list`."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "imports", "tests"]
nox.options.reuse_venv = "yes"

GROUPS = nox.project.load_toml("pyproject.toml")["dependency-groups"]


def run_tests(session: nox.Session) -> None:
    session.install("-e", ".[server]", *GROUPS["test"])
    # Four processes, since tests mostly wait; by file, so that those of one share their servers. With arguments, one.
    session.run("pytest", *(session.posargs or ["--numprocesses", "4", "--dist", "loadfile"]))


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite, against real etcd, on the interpreter that runs nox."""
    run_tests(session)


for version in ("3.12", "3.13"):
    nox.session(run_tests, python=version, name=f"tests-{version}")


@nox.session
def demo(session: nox.Session) -> None:
    """The main job on a three-member cluster, with the promises kept at its end."""
    session.install("-e", ".[server]")
    session.run("python", "-m", "examples.demo", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.install(*GROUPS["lint"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, by mypy and by pyright."""
    session.install("-e", ".[server]", *GROUPS["test"], *GROUPS["types"])
    session.run("mypy")
    session.run("mypy", "examples")
    session.run("pyright")


@nox.session
def imports(session: nox.Session) -> None:
    """The rooms import downward only."""
    session.install("-e", ".", *GROUPS["imports"])
    session.run("lint-imports")


@nox.session
def coverage(session: nox.Session) -> None:
    """The suite under coverage."""
    session.install("-e", ".[server]", *GROUPS["test"], *GROUPS["coverage"])
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report")


@nox.session
def bench(session: nox.Session) -> None:
    """aetcd beside its peers and the floors, in one run, into benchmarks/results; `-- --help` names the options."""
    session.install("-e", ".[server,aistore]", "matplotlib>=3.9")
    venvs = session.cache_dir / "bench-peers"
    for adapter in sorted(Path("benchmarks/peers").glob("*.py")):
        needs = nox.project.load_toml(adapter).get("dependencies") if "# /// script" in adapter.read_text() else None
        if needs:
            python = venvs / adapter.stem / "bin" / "python"
            session.run("python", "-m", "venv", str(venvs / adapter.stem), silent=True)
            # Who cannot be installed is measured all the same: as one who did not start.
            install = [str(python), "-m", "pip", "install", "-q", "--upgrade", *needs]
            session.run(*install, external=True, success_codes=range(256))
    folders = ["--venvs", str(venvs.resolve()), "--results", "benchmarks/results"]
    # With arguments it is a part of it: nothing that the README should show, and they are not those of the others.
    session.run("python", "-m", "benchmarks", *folders, *(session.posargs or ["--readme", "README.md"]))
    if not session.posargs:
        for other in ("feeds", "objects"):
            session.run("python", "-m", f"benchmarks.{other}", *folders)
