"""The project's commands: `nox -s tests`, `nox -s demo`, `nox --list`."""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "imports", "tests"]
nox.options.reuse_venv = "yes"

GROUPS = nox.project.load_toml("pyproject.toml")["dependency-groups"]


def run_tests(session: nox.Session) -> None:
    session.install("-e", ".[server]", *GROUPS["test"])
    session.run("pytest", *session.posargs)


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
    """Cost per operation beside raw aiohttp, in one run."""
    session.install("-e", ".[server]")
    session.run("python", "-m", "benchmarks", *session.posargs)
