from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from aetcd import errors
from aetcd._wire.message import Response, Verdict
from aetcd.errors import AetcdError, ServerError, Unsupported
from aetcd.etcd.v3._errors import _FRAGMENTS, MEANINGS, error_of, fault_of, judge

Shape = Callable[[str, int, int], bytes]

FINAL, NOT_NOW, OPEN, STALE = Verdict.FINAL, Verdict.NOT_NOW, Verdict.OPEN, Verdict.STALE_CREDENTIALS

# Text, gRPC code, HTTP status of 3.5, class, verdict. Every error of etcd's rpctypes, then what others write.
REFUSALS = [
    ("etcdserver: key is not provided", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: key not found", 3, 400, "KeyNotFound", FINAL),
    ("etcdserver: value is provided", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: lease is provided", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: ttl is 0", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: too many operations in txn request", 3, 400, "RequestTooLarge", FINAL),
    ("etcdserver: duplicate key given in txn request", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: invalid client api version", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: invalid sort option", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: mvcc: required revision has been compacted", 11, 400, "RevisionCompacted", FINAL),
    ("etcdserver: mvcc: required revision is a future revision", 11, 400, "RevisionInFuture", FINAL),
    ("etcdserver: mvcc: database space exceeded", 8, 429, "QuotaExceeded", FINAL),
    ("etcdserver: requested lease not found", 5, 404, "LeaseNotFound", FINAL),
    ("etcdserver: lease already exists", 9, 400, "LeaseExists", FINAL),
    ("etcdserver: too large lease TTL", 11, 400, "InvalidRequest", FINAL),
    ("etcdserver: watch canceled", 1, 408, "ServerUnavailable", OPEN),
    ("etcdserver: member ID already exist", 9, 400, "MemberExists", FINAL),
    ("etcdserver: Peer URLs already exists", 9, 400, "MemberExists", FINAL),
    ("etcdserver: re-configuration failed due to not enough started members", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: given member URLs are invalid", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: member not found", 5, 404, "MemberNotFound", FINAL),
    ("etcdserver: can only promote a learner member", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: can only promote a learner member which is in sync with leader", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: too many learner members in cluster", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: cluster ID mismatch", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: request is too large", 3, 400, "RequestTooLarge", FINAL),
    ("etcdserver: too many requests", 8, 429, "TooManyRequests", NOT_NOW),
    ("etcdserver: root user does not exist", 9, 400, "AuthFailed", FINAL),
    ("etcdserver: root user does not have root role", 9, 400, "AuthFailed", FINAL),
    ("etcdserver: user name already exists", 9, 400, "AuthFailed", FINAL),
    ("etcdserver: user name is empty", 3, 400, "Unauthenticated", STALE),
    ("etcdserver: user name not found", 9, 400, "AuthFailed", FINAL),
    ("etcdserver: role name already exists", 9, 400, "AuthFailed", FINAL),
    ("etcdserver: role name not found", 9, 400, "AuthFailed", FINAL),
    ("etcdserver: role name is empty", 3, 400, "AuthFailed", FINAL),
    ("etcdserver: authentication failed, invalid user ID or password", 3, 400, "Unauthenticated", FINAL),
    ("etcdserver: permission not given", 3, 400, "AuthFailed", FINAL),
    ("etcdserver: permission denied", 7, 403, "PermissionDenied", FINAL),
    ("etcdserver: role is not granted to the user", 9, 400, "AuthFailed", FINAL),
    ("etcdserver: permission is not granted to the role", 9, 400, "AuthFailed", FINAL),
    ("etcdserver: authentication is not enabled", 9, 400, "AuthFailed", FINAL),
    ("etcdserver: invalid auth token", 16, 401, "Unauthenticated", STALE),
    ("etcdserver: invalid auth management", 3, 400, "AuthFailed", FINAL),
    ("etcdserver: revision of auth store is old", 3, 400, "Unauthenticated", STALE),
    ("etcdserver: no leader", 14, 503, "NoLeader", NOT_NOW),
    ("etcdserver: not leader", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: leader changed", 14, 503, "ServerUnavailable", OPEN),
    ("etcdserver: not capable", 14, 503, "ServerUnavailable", NOT_NOW),
    ("etcdserver: server stopped", 14, 503, "ServerUnavailable", OPEN),
    ("etcdserver: request timed out", 14, 503, "ServerUnavailable", OPEN),
    ("etcdserver: request timed out, possibly due to previous leader failure", 14, 503, "ServerUnavailable", OPEN),
    ("etcdserver: request timed out, possibly due to connection lost", 14, 503, "ServerUnavailable", OPEN),
    ("etcdserver: request timed out, waiting for the applied index took too long", 14, 503, "ServerUnavailable", OPEN),
    ("etcdserver: unhealthy cluster", 14, 503, "ClusterRefused", FINAL),
    ("etcdserver: corrupt cluster", 15, 500, "ServerUnavailable", FINAL),
    ("etcdserver: rpc not supported for learner", 14, 503, "ServerUnavailable", NOT_NOW),
    ("etcdserver: bad leader transferee", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: wrong downgrade target version format", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: invalid downgrade target version", 3, 400, "InvalidRequest", FINAL),
    ("etcdserver: cluster version not found during downgrade", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: cluster has a downgrade job in progress", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: no inflight downgrade job", 9, 400, "ClusterRefused", FINAL),
    ("etcdserver: request canceled", 1, 408, "ServerUnavailable", OPEN),
    ("etcdserver: context deadline exceeded", 4, 504, "ServerUnavailable", OPEN),
    ("context deadline exceeded", 2, 500, "ServerUnavailable", OPEN),
    ("context canceled", 1, 408, "ServerUnavailable", OPEN),
    ("raft proposal dropped", 2, 500, "ServerUnavailable", NOT_NOW),
    ("grpc: received message larger than max (2300008 vs. 2097152)", 8, 429, "RequestTooLarge", FINAL),
    ("transport is closing", 14, 503, "ServerUnavailable", OPEN),
    (
        'connection error: desc = "transport: Error while dialing dial tcp 127.0.0.1:1: connect: connection refused"',
        14,
        503,
        "ServerUnavailable",
        OPEN,
    ),
    ("all SubConns are in TransientFailure, latest connection error: timed out", 14, 503, "ServerUnavailable", OPEN),
    # Under a code that says nothing the words alone decide.
    ("rpc error: code = Unavailable desc = transport is closing", 2, 500, "ServerUnavailable", OPEN),
    ("dial tcp 127.0.0.1:1: connect: connection refused", 2, 500, "ServerUnavailable", OPEN),
    ("connection error: desc = EOF", 2, 500, "ServerUnavailable", OPEN),
    ("read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", 2, 500, "ServerUnavailable", OPEN),
    ("transport: error while dialing: dial unix: no such file", 2, 500, "ServerUnavailable", OPEN),
    ("all SubConns are in TransientFailure", 2, 500, "ServerUnavailable", OPEN),
    ("client disconnected", 2, 500, "ServerUnavailable", OPEN),
    ("stream terminated by RST_STREAM with error code: CANCEL", 2, 500, "ServerUnavailable", OPEN),
    ("proposal: request timed out", 2, 500, "ServerUnavailable", OPEN),
    ("Post: net/http: deadline exceeded", 2, 500, "ServerUnavailable", OPEN),
    ("auth: invalid auth token", 2, 500, "Unauthenticated", STALE),
    ("auth: user name is empty", 2, 500, "Unauthenticated", STALE),
    ("auth: revision in header is old", 2, 500, "Unauthenticated", STALE),
    ("auth: permission denied", 2, 500, "PermissionDenied", FINAL),
    ("election: no leader", 2, 500, "KeyNotFound", FINAL),
    ("election: not leader", 2, 500, "CompareFailed", FINAL),
    ("mutex: session is expired", 2, 500, "LeaseNotFound", FINAL),
    ("unexpected EOF", 3, 400, "InvalidRequest", FINAL),
    ("invalid character 'x' looking for beginning of value", 3, 400, "InvalidRequest", FINAL),
]

# A text that nobody has seen yet is judged by its code: final only where the code is about the request itself.
UNKNOWN_BY_CODE = [
    (1, 408, "ServerUnavailable", OPEN),
    (2, 500, "ServerError", OPEN),
    (3, 400, "InvalidRequest", FINAL),
    (4, 504, "ServerUnavailable", OPEN),
    (5, 404, "ServerError", FINAL),
    (6, 409, "ServerError", FINAL),
    (7, 403, "PermissionDenied", FINAL),
    (8, 429, "TooManyRequests", OPEN),
    (9, 400, "InvalidRequest", FINAL),
    (10, 409, "ServerError", OPEN),
    (11, 400, "InvalidRequest", FINAL),
    (13, 500, "ServerError", OPEN),
    (14, 503, "ServerUnavailable", OPEN),
    (15, 500, "ServerError", OPEN),
    (16, 401, "Unauthenticated", FINAL),
    (99, 500, "ServerError", OPEN),
]

# Without etcd's JSON it was a proxy, or Go's HTTP server.
PLAIN = [
    (400, "InvalidRequest", FINAL),
    (401, "Unauthenticated", FINAL),
    (403, "PermissionDenied", FINAL),
    (408, "ServerUnavailable", OPEN),
    (413, "RequestTooLarge", FINAL),
    (421, "ServerError", FINAL),
    (429, "TooManyRequests", NOT_NOW),
    (500, "ServerError", OPEN),
    (502, "ServerUnavailable", OPEN),
    (503, "ServerUnavailable", OPEN),
    (504, "ServerUnavailable", OPEN),
]


def call_35(text: str, code: int, status: int) -> bytes:
    return json.dumps({"error": text, "code": code, "message": text}).encode()


def call_36(text: str, code: int, status: int) -> bytes:
    return json.dumps({"code": code, "message": text, "details": []}).encode()


def stream_35(text: str, code: int, status: int) -> bytes:
    told = {"grpc_code": code, "http_code": status, "message": text, "http_status": "Words"}
    return json.dumps({"error": told}).encode()


def stream_36(text: str, code: int, status: int) -> bytes:
    return json.dumps({"error": {"code": code, "message": text, "details": []}}).encode()


def answer(body: bytes, status: int) -> Response:
    return Response(status=status, headers={}, body=body, peer="http://a:1")


def refusal(body: bytes, status: int) -> AetcdError:
    return error_of(fault_of(body, status), operation="v3 put", peer="http://a:1")


@pytest.mark.parametrize("shape", [call_35, call_36, stream_35, stream_36])
@pytest.mark.parametrize(("text", "code", "status", "kind", "verdict"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_every_text_has_its_class_and_verdict(
    shape: Shape, text: str, code: int, status: int, kind: str, verdict: Verdict
) -> None:
    """Whatever the shape, the text alone decides, and the server's words, code and peer are kept."""
    body = shape(text, code, status)
    error = refusal(body, status)
    assert type(error) is getattr(errors, kind)
    assert isinstance(error, ServerError)
    assert (error.message, error.code, error.status) == (text, code, status)
    assert (error.peer, error.operation) == ("http://a:1", "v3 put")
    assert judge(answer(body, status)) is verdict


def test_no_text_was_forgotten() -> None:
    """Every text of the table has its row above."""
    texts = [row[0] for row in REFUSALS]
    assert [known for known in MEANINGS if not any(text.endswith(known) for text in texts)] == []
    assert [part for part, _ in _FRAGMENTS if not any(part in text for text in texts)] == []


@pytest.mark.parametrize(
    ("text", "status"), [("etcdserver: lease already exists", 412), ("etcdserver: no leader", 500)]
)
def test_the_text_outweighs_code_and_status(text: str, status: int) -> None:
    """3.4 answers other statuses and codes than 3.5, to the same effect."""
    odd, usual = call_35(text, 2, status), next(row for row in REFUSALS if row[0] == text)
    assert type(refusal(odd, status)) is getattr(errors, usual[3])
    assert judge(answer(odd, status)) is usual[4]


@pytest.mark.parametrize("shape", [call_35, call_36, stream_35, stream_36])
@pytest.mark.parametrize(("code", "status", "kind", "verdict"), UNKNOWN_BY_CODE)
def test_an_unknown_text_keeps_its_number_and_words(
    shape: Shape, code: int, status: int, kind: str, verdict: Verdict
) -> None:
    """What a later etcd says is still readable, and never taken for "not applied" without reason."""
    body = shape("etcdserver: brand new trouble", code, status)
    error = refusal(body, status)
    assert type(error) is getattr(errors, kind)
    assert isinstance(error, ServerError)
    assert (error.message, error.code) == ("etcdserver: brand new trouble", code)
    assert judge(answer(body, status)) is verdict


@pytest.mark.parametrize(("status", "kind", "verdict"), PLAIN)
def test_what_is_no_json_goes_by_its_status(status: int, kind: str, verdict: Verdict) -> None:
    """A proxy's page is judged by its HTTP status."""
    error = refusal(b"<html>no</html>\n", status)
    assert type(error) is getattr(errors, kind)
    assert isinstance(error, ServerError)
    assert (error.message, error.code, error.status) == ("<html>no</html>", None, status)
    assert judge(answer(b"<html>no</html>", status)) is verdict


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"Not Found\n", 404), (b"Method Not Allowed\n", 405), (call_36("Not Found", 12, 501), 501), (b"", 501)],
)
def test_an_unknown_route_is_unsupported(body: bytes, status: int) -> None:
    """It names the operation and the version it takes; nothing was applied."""
    error = error_of(fault_of(body, status), operation="v3 auth status", peer="http://a:1", needs="3.5")
    assert type(error) is Unsupported
    assert "v3 auth status" in str(error)
    assert "etcd 3.5" in str(error)
    assert "http://a:1" in str(error)
    assert judge(answer(body, status)) is FINAL


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"{}", b'{"error":{}}', b'{"code":"x"}', b"\xff\xfe"])
def test_a_strange_body_still_reads(body: bytes) -> None:
    """No answer, however odd, breaks the reading of the error itself."""
    assert type(refusal(body, 500)) is ServerError
    assert judge(answer(body, 500)) is OPEN


def test_success_is_final_without_being_read() -> None:
    """The judge looks at no byte of a 200: it stands in the way of every request."""
    assert judge(answer(call_35("etcdserver: request timed out", 14, 503), 200)) is FINAL
