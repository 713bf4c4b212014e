from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetcd._wire.message import Effect, Response
from aetcd.errors import LeaseNotFound, Unsupported
from aetcd.etcd.v3 import Delete, Get, Put, Txn, _admin, _auth, _kv, _lease, prefix_end
from aetcd.etcd.v3._codec import Route, body_of, gateway_prefix, key_range, positive, whole
from aetcd.etcd.v3._errors import judge


@pytest.mark.parametrize(
    ("version", "prefix"),
    [
        ("3.0.17", "/v3alpha"),
        ("3.2.32", "/v3alpha"),
        ("3.3.27", "/v3beta"),
        ("3.4.23", "/v3"),
        ("3.5.1", "/v3"),
        ("3.6.0-rc.1", "/v3"),
        ("3.10.0", "/v3"),
        ("4.0.0", "/v3"),
    ],
)
def test_gateway_prefix(version: str, prefix: str) -> None:
    """Each release has its gateway where it has it."""
    assert gateway_prefix(version) == prefix


@pytest.mark.parametrize("version", ["2.3.8", "", "not_decided"])
def test_gateway_prefix_of_a_server_without_v3(version: str) -> None:
    """It is said before a path is guessed."""
    with pytest.raises(Unsupported, match="v3 gateway"):
        gateway_prefix(version)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        (b"a", b"b"),
        (b"a/", b"a0"),
        (b"a\xff", b"b"),
        (b"a\xff\xff", b"b"),
        (b"\xff", b"\0"),
        (b"", b"\0"),
        (b"\0", b"\1"),
    ],
)
def test_prefix_end(prefix: bytes, end: bytes) -> None:
    """The carry goes over bytes that cannot grow."""
    assert prefix_end(prefix) == end


@given(st.binary(max_size=5), st.binary(max_size=8))
def test_prefix_end_parts_keys_as_startswith_does(prefix: bytes, key: bytes) -> None:
    """`[prefix, end)` holds exactly the keys that begin with the prefix; `\\0` has no end."""
    end = prefix_end(prefix)
    inside = key >= prefix and (end == b"\0" or key < end)
    assert inside == key.startswith(prefix)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("é", None, False, False), ("é".encode(), b"")),
        ((b"\xff\0", None, False, False), (b"\xff\0", b"")),
        (("a", "c", False, False), (b"a", b"c")),
        (("a/", None, True, False), (b"a/", b"a0")),
        (("a", None, False, True), (b"a", b"\0")),
        (("", None, True, False), (b"\0", b"\0")),
        (("", None, False, True), (b"\0", b"\0")),
    ],
)
def test_key_range(arguments: Any, expected: tuple[bytes, bytes]) -> None:
    """An empty key with `prefix` or `from_key` is the whole key space."""
    assert key_range(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        (("", None, False, False), ValueError, "key"),
        (("", "b", False, False), ValueError, "key"),
        (("a", "", False, False), ValueError, "range_end"),
        (("a", "b", True, False), ValueError, "only one of range_end, prefix"),
        (("a", "b", False, True), ValueError, "only one"),
        (("a", None, True, True), ValueError, "only one"),
        ((7, None, False, False), TypeError, "key must be str or bytes, not int"),
        ((None, None, False, False), TypeError, "key"),
        (("a", 7, False, False), TypeError, "range_end"),
        (("\ud800", None, False, False), ValueError, "^key must be text .* surrogates"),
        (("a", "\ud800", False, False), ValueError, "^range_end must be text"),
        (("a", None, "x", False), TypeError, "prefix must be True or False, not 'x'"),
        (("a", None, 2, False), TypeError, "prefix must be"),
        (("a", None, None, False), TypeError, "prefix must be"),
        (("a", None, False, 0), TypeError, "from_key must be"),
    ],
)
def test_key_range_refuses(arguments: Any, error: type[Exception], named: str) -> None:
    """A bad range is named before anything is sent."""
    with pytest.raises(error, match=named):
        key_range(*arguments)


@pytest.mark.parametrize("number", [0, 1, (1 << 63) - 1])
def test_whole_takes_what_fits(number: int) -> None:
    """Everything that etcd's int64 holds above zero."""
    assert whole(number, "revision") == number


@pytest.mark.parametrize(
    ("number", "error"),
    [(-1, ValueError), (1 << 63, ValueError), (1.0, TypeError), (True, TypeError), ("1", TypeError), (None, TypeError)],
)
def test_whole_refuses(number: Any, error: type[Exception]) -> None:
    """Booleans, fractions and text are no numbers here."""
    with pytest.raises(error, match="revision must be"):
        whole(number, "revision")


def test_positive_refuses_zero() -> None:
    """Where zero would mean something else."""
    with pytest.raises(ValueError, match="ttl must be at least 1"):
        positive(0, "ttl")


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (Get(""), "key"),
        (Get("a", limit=-1), "limit"),
        (Get("a", revision=-1), "revision"),
        (Get("a", min_mod_revision=-1), "min_mod_revision"),
        (Get("a", max_mod_revision=-1), "max_mod_revision"),
        (Get("a", min_create_revision=-1), "min_create_revision"),
        (Get("a", max_create_revision=-1), "max_create_revision"),
        (Get("a", sort_by="size"), "sort_by"),  # type: ignore[arg-type]
        (Put("", "v"), "key"),
        (Put("a", "v", lease=-1), "lease"),
        (Put("a", "v", ignore_value=True), "value must be empty with ignore_value"),
        (Put("a", "v", lease=3, ignore_lease=True), "lease must not be given"),
        (Delete(""), "key"),
        (Delete("a", range_end="b", prefix=True), "only one"),
    ],
)
def test_operations_refuse(operation: Get | Put | Delete, named: str) -> None:
    """A bad field raises ValueError naming it, when the operation is written."""
    with pytest.raises(ValueError, match=named):
        operation.to_wire()


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (Put("a", 7), "value"),  # type: ignore[arg-type]
        (Put("a", None), "value"),  # type: ignore[arg-type]
        (Put("a", "v", lease=True), "lease"),
        (Get("a", limit=1.5), "limit"),  # type: ignore[arg-type]
        (Get("a", sort_by=7), "sort_by"),  # type: ignore[arg-type]
    ],
)
def test_operations_refuse_types(operation: Get | Put, named: str) -> None:
    """So does one of a wrong type, with TypeError."""
    with pytest.raises(TypeError, match=named):
        operation.to_wire()


OPTIONS = {
    Get: ("limit", "revision", "min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"),
    Put: ("lease",),
}
FLAGS = {
    Get: ("prefix", "from_key", "descending", "keys_only", "count_only", "serializable"),
    Put: ("prev_kv", "ignore_value", "ignore_lease"),
    Delete: ("prefix", "from_key", "prev_kv"),
}


@pytest.mark.parametrize(
    ("kind", "name", "given"),
    [(kind, name, bad) for kind, names in OPTIONS.items() for name in names for bad in (None, "", 0.0, False, [])]
    + [(kind, name, bad) for kind, names in FLAGS.items() for name in names for bad in (None, "", 0, 1, "no", [])]
    + [(Get, "sort_by", []), (Get, "sort_by", False)],
)
def test_nothing_bad_is_taken_for_not_given(kind: Any, name: str, given: Any) -> None:
    """Nor for given: what is false without being 0 or False, and what is true without being True."""
    arguments = ("a", "") if kind is Put else ("a",)
    with pytest.raises(TypeError, match=rf"^{name} must be"):
        kind(*arguments, **{name: given}).to_wire()


def test_an_empty_field_is_none_to_sort_by() -> None:
    """It is not the default."""
    with pytest.raises(ValueError, match="sort_by must be one of"):
        Get("a", sort_by="").to_wire()  # type: ignore[arg-type]


def test_get_on_the_wire() -> None:
    """Every option under the gateway's name, and nothing that is zero."""
    assert Get("a").to_wire() == {"request_range": {"key": b"a"}}
    every = Get(
        "a",
        prefix=True,
        limit=1,
        revision=2,
        sort_by="create_revision",
        descending=True,
        keys_only=True,
        count_only=True,
        serializable=True,
        min_mod_revision=3,
        max_mod_revision=4,
        min_create_revision=5,
        max_create_revision=6,
    )
    assert every.to_wire()["request_range"] == {
        "key": b"a",
        "range_end": b"b",
        "limit": 1,
        "revision": 2,
        "sort_target": "CREATE",
        "sort_order": "DESCEND",
        "keys_only": True,
        "count_only": True,
        "serializable": True,
        "min_mod_revision": 3,
        "max_mod_revision": 4,
        "min_create_revision": 5,
        "max_create_revision": 6,
    }


def test_body_has_base64() -> None:
    """Bytes travel as base64, numbers beyond 2**53 whole."""
    told = json.loads(body_of({"key": b"\xff\0", "lease": 9007199254740993}))
    assert base64.b64decode(told["key"]) == b"\xff\0"
    assert told["lease"] == 9007199254740993


def test_request_of_a_route() -> None:
    """What the pool needs to know, and nothing else."""
    request = _kv.PUT.request("/v3beta", b"{}")
    assert (request.operation, request.method, request.path) == ("v3 put", "POST", "/v3beta/kv/put")
    assert (request.effect, request.body, request.judge) == (Effect.ONCE, b"{}", judge)


@pytest.mark.parametrize(
    ("prefix", "path"),
    [("/v3", "/v3/lease/revoke"), ("/v3beta", "/v3beta/kv/lease/revoke"), ("/v3alpha", "/v3alpha/kv/lease/revoke")],
)
def test_old_gateways_have_leases_elsewhere(prefix: str, path: str) -> None:
    """Up to 3.3 they stand below `kv`."""
    assert _lease.REVOKE.request(prefix, b"{}").path == path


def test_effects() -> None:
    """Sent again: what reads, and what is the same twice. Never: what writes."""
    routes = [
        route for module in (_kv, _lease, _admin, _auth) for route in vars(module).values() if isinstance(route, Route)
    ]
    by_effect = {effect: {route.operation for route in routes if route.effect is effect} for effect in Effect}
    assert by_effect[Effect.READ] == {
        "v3 range",
        "v3 lease time to live",
        "v3 lease list",
        "v3 member list",
        "v3 status",
        "v3 hash",
        "v3 hash of keys",
        "v3 auth status",
        "v3 user get",
        "v3 user list",
        "v3 role get",
        "v3 role list",
    }
    assert by_effect[Effect.REPEATABLE] == {
        "v3 lease grant",
        "v3 lease revoke",
        "v3 lease keep-alive",
        "v3 alarm",
        "v3 move leader",
        "v3 authenticate",
    }
    assert by_effect[Effect.ONCE] == {
        "v3 put",
        "v3 delete range",
        "v3 compact",
        "v3 member add",
        "v3 member update",
        "v3 member remove",
        "v3 member promote",
        "v3 defragment",
        "v3 downgrade",
        "v3 auth enable",
        "v3 auth disable",
        "v3 user add",
        "v3 user delete",
        "v3 user password",
        "v3 user grant",
        "v3 user revoke",
        "v3 role add",
        "v3 role delete",
        "v3 role grant",
        "v3 role revoke",
    }
    assert {route.operation for route in routes if route.secret} == {
        "v3 authenticate",
        "v3 user add",
        "v3 user password",
    }


@pytest.mark.parametrize(
    ("txn", "reads_only"),
    [
        (Txn(then=(Get("a"),), otherwise=(Get("b"),)), True),
        (Txn(then=(Get("a"), Txn(then=(Get("b"),)))), True),
        (Txn(), True),
        (Txn(then=(Get("a"),), otherwise=(Put("b", "c"),)), False),
        (Txn(then=(Delete("a"),)), False),
        (Txn(then=(Txn(otherwise=(Txn(then=(Put("b", "c"),)),)),)), False),
    ],
)
def test_reads_only(txn: Txn, reads_only: bool) -> None:
    """One write in any branch, however deep, makes the whole a write."""
    assert txn.reads_only is reads_only


def test_check_raises_what_the_refusal_means() -> None:
    """With the operation and the peer that refused."""
    body = b'{"error":"etcdserver: requested lease not found","code":5}'
    refused = Response(status=404, headers={}, body=body, peer="http://a:1")
    with pytest.raises(LeaseNotFound) as caught:
        _lease.REVOKE.check(refused)
    assert (caught.value.operation, caught.value.peer) == ("v3 lease revoke", "http://a:1")
