"""Where the servers of one test put their folders."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from remains import Remains


@pytest.fixture
def remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remains:
    """What the servers that this test starts leave behind; for child processes too."""
    folder = tmp_path / "servers"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return Remains(folder)
