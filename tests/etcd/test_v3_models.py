from __future__ import annotations

import base64
import json

import pytest

from aetcd._wire.decode import decode
from aetcd.errors import DecodeError
from aetcd.etcd.v3 import (
    AlarmResponse,
    AuthStatus,
    DeleteRangeResponse,
    Header,
    KeyValue,
    LeaseGrant,
    LeaseTimeToLive,
    Member,
    MemberList,
    Permission,
    PutResponse,
    RangeResponse,
    Role,
    Status,
    TxnResult,
)
from aetcd.etcd.v3._models import TxnResponse
from aetcd.etcd.v3._txn import read_result

HEADER = (
    '"header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437","revision":"5","raft_term":"2"}'
)
READ = Header(cluster_id=14841639068965178418, member_id=10276657743932975437, revision=5, raft_term=2)


@pytest.mark.parametrize("kind", [RangeResponse, PutResponse, DeleteRangeResponse, TxnResponse])
def test_nothing_but_zeros(kind: type) -> None:
    """The gateway leaves out what is zero, down to the whole answer."""
    assert decode(b"{}", kind) == kind()


def test_range_that_found_nothing() -> None:
    """Neither `kvs` nor `count` comes."""
    assert decode(f"{{{HEADER}}}".encode(), RangeResponse) == RangeResponse(header=READ, kvs=(), more=False, count=0)


def test_key_with_an_empty_value() -> None:
    """`value` is left out, `lease` too; what is there is bytes and numbers."""
    told = '{"key":"/wA=","create_revision":"4","mod_revision":"5","version":"1"}'
    body = f'{{{HEADER},"kvs":[{told}],"more":true,"count":"2"}}'
    kv = KeyValue(key=b"\xff\0", value=b"", create_revision=4, mod_revision=5, version=1, lease=0)
    assert decode(body.encode(), RangeResponse) == RangeResponse(header=READ, kvs=(kv,), more=True, count=2)


def test_numbers_may_be_numbers() -> None:
    """A proxy may write 64-bit integers as JSON numbers."""
    assert decode(b'{"header":{"revision":5},"count":2}', RangeResponse) == RangeResponse(
        header=Header(revision=5), count=2
    )


def test_fields_of_a_later_server_are_let_pass() -> None:
    """What this package does not know yet is no error."""
    assert decode(b'{"novel":{"a":[1]},"deleted":"3"}', DeleteRangeResponse) == DeleteRangeResponse(deleted=3)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"kvs":[{"key":"*"}]}', b'{"count":"many"}', b'{"kvs":{}}'])
def test_what_does_not_fit(body: bytes) -> None:
    """Another server's answer raises DecodeError."""
    with pytest.raises(DecodeError, match="RangeResponse"):
        decode(body, RangeResponse)


def test_ten_thousand_keys() -> None:
    """A large answer is whole, in order, key by key."""
    kvs = [
        {
            "key": base64.b64encode(b"k%05d" % i).decode(),
            "value": base64.b64encode(b"v%d" % i).decode(),
            "create_revision": str(i + 2),
            "mod_revision": str(i + 3),
            "version": "2",
            "lease": str((1 << 62) + i),
        }
        for i in range(10_000)
    ]
    answer = decode(json.dumps({"header": {"revision": "10003"}, "kvs": kvs, "count": "10000"}).encode(), RangeResponse)
    assert answer.count == len(answer.kvs) == 10_000
    assert answer.kvs == tuple(
        KeyValue(
            key=b"k%05d" % i,
            value=b"v%d" % i,
            create_revision=i + 2,
            mod_revision=i + 3,
            version=2,
            lease=(1 << 62) + i,
        )
        for i in range(10_000)
    )


def test_txn_answers_in_order() -> None:
    """Each answer has its own type, and an empty one of a nested transaction is still there."""
    body = (
        f'{{{HEADER},"succeeded":true,"responses":[{{"response_range":{{"header":{{"revision":"4"}}}}}},'
        '{"response_put":{"header":{"revision":"5"}}},{"response_delete_range":{"header":{"revision":"5"},"deleted":"1"}},'
        '{"response_txn":{"header":{},"responses":[{"response_put":{}}]}}]}'
    )
    assert read_result(decode(body.encode(), TxnResponse)) == TxnResult(
        header=READ,
        succeeded=True,
        results=(
            RangeResponse(header=Header(revision=4)),
            PutResponse(header=Header(revision=5)),
            DeleteRangeResponse(header=Header(revision=5), deleted=1),
            TxnResult(header=Header(), succeeded=False, results=(PutResponse(),)),
        ),
    )


def test_txn_answer_of_an_unknown_kind() -> None:
    """Rather an error than a result at the wrong place."""
    with pytest.raises(DecodeError, match="unknown kind"):
        read_result(decode(b'{"responses":[{"response_novel":{}}]}', TxnResponse))


def test_mixed_names() -> None:
    """Answers as the servers gave them."""
    grant = f'{{{HEADER},"ID":"9007199254740993","TTL":"50"}}'
    assert decode(grant.encode(), LeaseGrant) == LeaseGrant(header=READ, id=9007199254740993, ttl=50)
    status = f'{{{HEADER},"version":"3.5.1","dbSize":"28672","leader":"7","raftIndex":"11","raftTerm":"2",'
    status += '"raftAppliedIndex":"10","dbSizeInUse":"20480","isLearner":true,"errors":["NOSPACE"]}'
    assert decode(status.encode(), Status) == Status(
        header=READ,
        version="3.5.1",
        db_size=28672,
        db_size_in_use=20480,
        leader=7,
        raft_index=11,
        raft_term=2,
        raft_applied_index=10,
        is_learner=True,
        errors=("NOSPACE",),
    )
    members = decode(b'{"members":[{"ID":"3","peerURLs":["http://a:1"],"isLearner":true}]}', MemberList).members
    assert [(m.id, m.name, m.peer_urls, m.client_urls, m.is_learner) for m in members] == [
        (3, "", ("http://a:1",), (), True)
    ]
    alarms = decode(b'{"alarms":[{"memberID":"3","alarm":"NOSPACE"}]}', AlarmResponse).alarms
    assert [(a.member_id, a.alarm) for a in alarms] == [(3, "NOSPACE")]


def test_mixed_names_of_numbers_and_bytes() -> None:
    """Text becomes numbers, of 64 bits too, and bytes; what is not known yet is passed over."""
    lease = b'{"ID":"7","TTL":"-1","grantedTTL":"60","keys":["/wA="],"novel":{"deepThing":[1]}}'
    assert decode(lease, LeaseTimeToLive) == LeaseTimeToLive(id=7, ttl=-1, granted_ttl=60, keys=(b"\xff\0",))
    member = b'{"ID":"18446744073709551615","peerURLs":["http://a:1"],"clientURLs":["http://a:2"],"isLearner":true}'
    assert decode(member, Member) == Member(
        id=(1 << 64) - 1, peer_urls=("http://a:1",), client_urls=("http://a:2",), is_learner=True
    )
    assert decode(b'{"enabled":true,"authRevision":"5"}', AuthStatus) == AuthStatus(enabled=True, auth_revision=5)
    assert decode(b"{}", Status) == Status()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"ID":"x"}', b"<html>"])
def test_mixed_names_refuse(body: bytes) -> None:
    """Another server's answer is told as such."""
    with pytest.raises(DecodeError):
        decode(body, LeaseGrant)


def test_permission_to_read_has_no_type() -> None:
    """READ is zero, so it is left out."""
    role = decode(b'{"perm":[{"key":"YQ==","range_end":"Yg=="},{"permType":"WRITE","key":"YQ=="}]}', Role)
    assert role.perm == (
        Permission(perm_type="READ", key=b"a", range_end=b"b"),
        Permission(perm_type="WRITE", key=b"a"),
    )
