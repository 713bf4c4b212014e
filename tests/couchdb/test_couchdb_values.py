"""Times, words and models as the server writes them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetcd._wire.message import Effect, Request, Response, Verdict
from aetcd.couchdb import Conflict, DatabaseInfo, ReplicationState, RequestRefused, SplitState
from aetcd.couchdb._arguments import check_database, check_id, id_path, name_path
from aetcd.couchdb._codec import read, with_query
from aetcd.couchdb._documents import Document, fields_of
from aetcd.couchdb._errors import facts_of, judge, refusal
from aetcd.couchdb._models import OpenEnum
from aetcd.couchdb._tasks import ActiveTask
from aetcd.couchdb._times import milliseconds, read_time
from aetcd.errors import DecodeError

WHEN = datetime(2026, 11, 22, 2, 21, 2, tzinfo=UTC)
REQUEST = Request(operation="test", method="GET", path="/", effect=Effect.READ)


@pytest.mark.parametrize(
    "written",
    ["Sun, 22 Nov 2026 02:21:02 GMT", "2026-11-22T02:21:02Z", "2026-11-22T02:21:02", "1795314062", 1795314062],
)
def test_times_in_every_form(written: object) -> None:
    """RFC 2822, ISO 8601, unix seconds: always aware."""
    read = read_time(written)
    assert read == WHEN
    assert read.tzinfo is not None


@pytest.mark.parametrize("written", [None, "0", 0, "1970-01-01T00:00:00Z"])
def test_no_time(written: object) -> None:
    """The epoch stands for a time that is not known."""
    assert read_time(written) is None


@pytest.mark.parametrize("written", [True, [], "soon"])
def test_what_is_no_time(written: object) -> None:
    """Is an error."""
    with pytest.raises(ValueError, match=r"no time|Invalid isoformat"):
        read_time(written)
    with pytest.raises(DecodeError):
        read(ActiveTask, {"type": "x", "started_on": written})


@pytest.mark.parametrize(("seconds", "expected"), [(1, 1000), (0.25, 250), (0.0001, 1), (60.0, 60000)])
def test_milliseconds(seconds: float, expected: int) -> None:
    """At least one."""
    assert milliseconds(seconds) == expected


def test_words_that_are_not_known_are_kept() -> None:
    """They compare and hash as the text."""
    state = ReplicationState("dozing")
    assert isinstance(state, OpenEnum)
    assert state == "dozing"
    assert state in {"dozing", "asleep"}
    assert state == ReplicationState("dozing")
    assert not state.is_final
    assert "dozing" not in [one.value for one in ReplicationState]
    assert ReplicationState("running") is ReplicationState.RUNNING
    assert hash(SplitState.NEW) == hash("new")
    with pytest.raises(ValueError, match="5 is not a valid"):
        ReplicationState(5)  # type: ignore[arg-type]


def test_model_that_does_not_fit() -> None:
    """It names the model."""
    with pytest.raises(DecodeError, match="DatabaseInfo"):
        read(DatabaseInfo, {"doc_count": "many", "db_name": "a"})
    with pytest.raises(DecodeError, match="DatabaseInfo"):
        read(DatabaseInfo, {})


def test_database_info_of_an_old_server() -> None:
    """No creation time, numbers for sequences, and what is new is kept."""
    raw = {"db_name": "a", "instance_start_time": "0", "update_seq": 5, "shiny": True}
    info = read(DatabaseInfo, raw)
    assert (info.started, info.update_seq, info.extra) == (None, 5, {"shiny": True})


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_paths_hold_one_segment_each(text: str) -> None:
    """Whatever a name holds, it stays within its segment."""
    path = name_path(text)
    assert path.count("/") == 1
    assert "?" not in path
    assert "#" not in path
    assert " " not in path


def test_paths() -> None:
    """The slash of `_design/` is one of the path, any other is not."""
    assert id_path("_design/a/b") == "/_design/a%2fb"
    assert id_path("_local/x") == "/_local/x"
    assert id_path("a/b c+d") == "/a%2fb%20c%2Bd"
    assert name_path("_node", "n0@127.0.0.1") == "/_node/n0@127.0.0.1"


def test_query() -> None:
    """Text as it is, the rest as JSON, None left out."""
    query = {"a": None, "b": True, "c": ["x y"], "d": "+&=", "e": 5}
    assert with_query("/x", query) == "/x?b=true&c=%5B%22x%20y%22%5D&d=%2B%26%3D&e=5"
    assert with_query("/x", {}) == "/x"


@pytest.mark.parametrize("name", ["a", "_users", "a/b+c", "x_$()+-/", "other/_replicator", "_global_changes"])
def test_names_of_databases(name: str) -> None:
    """What the server takes."""
    assert check_database(name) == name


@pytest.mark.parametrize("id", ["a", "_design/a", "_local/a", "ä b", "a/_b"])
def test_ids_of_documents(id: str) -> None:
    """What the server takes."""
    assert check_id(id) == id


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"{}", Verdict.FINAL),
        (404, b'{"error":"not_found","reason":"missing"}', Verdict.FINAL),
        (401, b'{"error":"unauthorized","reason":"x"}', Verdict.STALE_CREDENTIALS),
        (400, b'{"error":"bad_request","reason":"Malformed AuthSession cookie."}', Verdict.STALE_CREDENTIALS),
        (400, b'{"error":"bad_request","reason":"x"}', Verdict.FINAL),
        (429, b"", Verdict.NOT_NOW),
        (500, b'{"error":"badmatch","reason":"x"}', Verdict.FINAL),
        (500, b'{"error":"timeout","reason":"x"}', Verdict.OPEN),
        (500, b'{"error":"nodedown","reason":"x"}', Verdict.OPEN),
        (500, b'[{"error":"job_already_exists"}]', Verdict.FINAL),
        (502, b"<html>", Verdict.OPEN),
        (503, b'{"error":"service unavailable","reason":"x"}', Verdict.FINAL),
        (503, b"<html>", Verdict.OPEN),
        (504, b"", Verdict.OPEN),
    ],
)
def test_fates(status: int, body: bytes, verdict: Verdict) -> None:
    """What an answer says of whether the request was carried out."""
    assert judge(Response(status=status, headers={}, body=body, peer="p")) is verdict


@pytest.mark.parametrize(
    ("status", "error", "reason", "kind"),
    [
        (400, "bad_request", "x", "BadRequest"),
        (401, "unauthorized", "You are not a server admin.", "Unauthorized"),
        (401, "unauthorized", "Name or password is incorrect.", "WrongPassword"),
        (403, "forbidden", "x", "Forbidden"),
        (403, "forbidden", "Account is temporarily locked due to ...", "AccountLocked"),
        (404, "not_found", "missing", "NotFound"),
        (404, "not_found", "Database does not exist.", "DatabaseNotFound"),
        (404, "not_found", "no such node: x", "NodeNotFound"),
        (405, "method_not_allowed", "Only GET allowed", "BadRequest"),
        (409, "conflict", "Document update conflict.", "Conflict"),
        (412, "file_exists", "x", "DatabaseExists"),
        (412, "nodedown", "x is down", "NodeDown"),
        (412, "missing_stub", "x", "RequestRefused"),
        (413, "document_too_large", "x", "TooLarge"),
        (415, "bad_content_type", "x", "BadRequest"),
        (416, "requested_range_not_satisfiable", "x", "BadRequest"),
        (417, "expectation_failed", "x", "BadRequest"),
        (429, "too_many_requests", "x", "Throttled"),
        (500, "badmatch", "x", "ServerFailed"),
        (500, "nodedown", "progress not possible", "NodeDown"),
        (501, "not_implemented", "x", "ServerFailed"),
        (503, "service unavailable", "x", "ServiceUnavailable"),
        (507, "insufficient_storage", "x", "ServerFailed"),
    ],
)
def test_errors_by_table(status: int, error: str, reason: str, kind: str) -> None:
    """One class for each kind of refusal; number, name and text are kept."""
    body = f'{{"error":"{error}","reason":"{reason}"}}'.encode()
    headers = {"X-Couch-Request-ID": "eb5b9adc04"}
    found = refusal(REQUEST, Response(status=status, headers=headers, body=body, peer="http://p"))
    assert type(found).__name__ == kind
    assert (found.status, found.error, found.reason, found.request_id) == (status, error, reason, "eb5b9adc04")
    assert isinstance(found, RequestRefused)
    assert "http://p" in str(found)


def test_error_without_a_reason() -> None:
    """Its name stands for it."""
    assert facts_of(b'{"error":"not found"}') == ("not found", "not found")
    assert facts_of(b"<html>\n no</html>") == (None, "<html> no</html>")
    assert facts_of(b"[1]") == (None, "[1]")


def test_conflict_by_itself() -> None:
    """Knows nothing more than it was told."""
    conflict = Conflict("x", status=409)
    assert (conflict.current, conflict.current_revision, conflict.revision, conflict.document) == (None,) * 4


def test_document() -> None:
    """A dict, and what the server's fields mean."""
    document = Document({"_id": "a", "v": 1, "_deleted": True, "_conflicts": ["1-a"]})
    assert (document.revision, document.deleted, document.conflicts) == (None, True, ("1-a",))
    assert document.value == {"v": 1}
    assert fields_of({"_id": None, "_rev": None, "v": 1}) == {"v": 1}
