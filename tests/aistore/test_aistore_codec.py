"""Requests and redirects as text, arguments and properties: nothing here has a cluster."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetcd._wire.message import Effect, Response, Verdict
from aetcd.aistore import (
    AccessDenied,
    AIStoreError,
    BadRequest,
    BucketExists,
    BucketNotFound,
    Busy,
    ChecksumMismatch,
    MountpathExists,
    MountpathNotFound,
    NodeNotFound,
    NotRemote,
    ObjectNotFound,
    Range,
    RangeRefused,
    TokenRefused,
)
from aetcd.aistore._arguments import check_names, check_namespace, check_object, check_provider, check_template
from aetcd.aistore._codec import BucketRef, action, object_path, read_redirect, read_time, request
from aetcd.aistore._dialect_33 import V33
from aetcd.aistore._dialect_current import CURRENT
from aetcd.aistore._errors import judge, raise_error
from aetcd.aistore._properties import nested
from aetcd.aistore._range import selection
from aetcd.errors import DecodeError

PUT = request("put", "PUT", "/v1/objects/b/o", effect=Effect.ONCE)


def answer(status: int, body: bytes = b"", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, headers=named, body=body, peer="http://gateway:8080")


def error_of(http: int, message: str, **more: object) -> AIStoreError:
    with pytest.raises(AIStoreError) as caught:
        raise_error(PUT, answer(http, json.dumps({"message": message, **more}).encode()), ObjectNotFound)
    return caught.value


# Bodies


def test_action_is_compact_and_has_all_three_keys() -> None:
    """A gateway that re-writes the body keeps its length only for Go's own form."""
    assert action("listobj") == b'{"action":"listobj","name":"","value":null}'
    assert action("x", "n", {"a": 1}) == b'{"action":"x","name":"n","value":{"a":1}}'


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a<b>&c", b"a\\u003cb\\u003e\\u0026c"),
        ("\u2028\u2029", b"\\u2028\\u2029"),
        ("é", "é".encode()),
        ('"\\', b'\\"\\\\'),
    ],
)
def test_letters_are_written_as_go_writes_them(text: str, written: bytes) -> None:
    """Go's encoder escapes what HTML and JavaScript mind, and leaves other letters be."""
    assert action("x", text) == b'{"action":"x","name":"' + written + b'","value":null}'
    assert json.loads(action("x", text))["name"] == text


# Redirects


def location(text: str, status: int = 307) -> Response:
    return answer(status, Location=text)


def test_redirect_keeps_the_authority_and_the_stamp_alone() -> None:
    """The path in a Location is not ours."""
    asked = request("put", "PUT", object_path(BucketRef(name="b"), "a b?c%d#é"))
    place = read_redirect(asked, location("http://t:8081/v1/objects/b/a b?c%d#é?pid=p0&utm=179"))
    assert place.decimal
    assert place.url == "http://t:8081"
    assert place.path("/v1/objects/b/a%20b") == "/v1/objects/b/a%20b?pid=p0&utm=179"
    assert place.path("/v1/objects/b/o?provider=ais") == "/v1/objects/b/o?provider=ais&pid=p0&utm=179"


def test_redirect_stamp_of_a_name_is_not_taken() -> None:
    """A name may look like a stamp; the gateway's stands behind it."""
    asked = request(
        "head", "HEAD", object_path(BucketRef(name="b"), "x?pid=evil&utm=1"), query=[("check_cached", "true")]
    )
    told = "http://t:1/v1/objects/b/x?pid=evil&utm=1?check_cached=true&pid=p0&utm=7&check_cached=true"
    assert read_redirect(asked, location(told)).stamp == "pid=p0&utm=7"


def test_redirect_keeps_what_else_the_gateway_added() -> None:
    """A server may sign its redirects. What we asked for ourselves is not repeated."""
    asked = request("get", "GET", "/v1/objects/b/a%20b", query=[("provider", "ais")])
    told = "http://t:1/v1/objects/b/a%20b?nonce=5&pid=p0&provider=ais&sig=Zm9v%3D&utm=dn1e"
    place = read_redirect(asked, location(told))
    assert place.stamp == "nonce=5&pid=p0&sig=Zm9v%3D&utm=dn1e"
    assert place.path(asked.path) == f"/v1/objects/b/a%20b?provider=ais&{place.stamp}"


def test_redirect_of_todays_server_has_a_sorted_query() -> None:
    """There the stamp is not at the end, and its time is of base 36."""
    asked = request("put", "PUT", "/v1/objects/b/o", query=[("provider", "ais")])
    place = read_redirect(asked, location("http://t:1/v1/objects/b/o?pid=proxy0001&provider=ais&utm=dn1e1afj98xj"))
    assert not place.decimal
    assert place.stamp == "pid=proxy0001&utm=dn1e1afj98xj"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/v1/objects/b/o?pid=p&utm=1",
        "http://t:1/v1/objects/b/o",
        "http://t:1/v1/objects/b/o?pid=p&utm=a b",
        "http://t:1/v1/objects/b/o?pid=&utm=1",
        "http://u:p@t:1/x?pid=p&utm=1",
        "ftp://t/x?pid=p&utm=1",
    ],
)
def test_redirect_that_no_gateway_makes_is_refused(text: str) -> None:
    """Without authority or stamp, or with credentials in it."""
    with pytest.raises(DecodeError, match="no AIStore gateway"):
        read_redirect(PUT, location(text))


@given(st.text(min_size=1, max_size=20))
def test_any_name_that_is_taken_survives_the_path(name: str) -> None:
    """What is sent is what was asked for, whatever it holds."""
    from urllib.parse import unquote

    try:
        check_object(name)
    except ValueError:
        return
    path = object_path(BucketRef(name="b"), name)
    assert path.isascii()
    assert not set(path) & set(" ?#\t\n")
    assert unquote(path) == f"/v1/objects/b/{name}"


# Identity


def test_namespace_brings_the_provider() -> None:
    """3.3 finds nothing by a namespace alone."""
    assert BucketRef(name="b").query == ()
    assert BucketRef(name="b", namespace="ns1").query == (("provider", "ais"), ("namespace", "#ns1"))
    assert BucketRef(name="b", provider="s3").query == (("provider", "aws"),)


def test_bucket_identity_in_its_three_forms() -> None:
    """As a query, as JSON and in one word."""
    ref = BucketRef(name="b", namespace="@uuid#ns")
    assert ref.json == {"name": "b", "provider": "ais", "namespace": {"uuid": "uuid", "name": "ns"}}
    assert ref.uname == "ais/@uuid#ns/b/"
    assert BucketRef(name="b").uname == "ais/@#/b/"


@pytest.mark.parametrize("name", ["", "a/b", "a$b", "..", "ä"])
def test_bucket_names_are_checked(name: str) -> None:
    """The server answers 400 to them."""
    with pytest.raises(ValueError, match="bucket"):
        BucketRef(name=name)


@pytest.mark.parametrize("name", ["", "/a", "a//b", "a/../b", ".", "a\0b", "\ud800"])
def test_object_names_that_a_path_cannot_carry(name: str) -> None:
    """Go's server would clean them into another object's."""
    with pytest.raises(ValueError, match="name"):
        check_object(name)


def test_provider_and_namespace_are_checked() -> None:
    """By name, with the short ones that people write."""
    assert check_provider("gs") == "gcp"
    with pytest.raises(ValueError, match="provider must be one of"):
        check_provider("bogus")
    assert check_namespace("@abc") == "@abc#"
    with pytest.raises(ValueError, match="namespace"):
        check_namespace("#")


# Lists and ranges


def test_range_builds_a_template() -> None:
    """Prefix, numbers with zeros, step and suffix."""
    assert Range(prefix="s-", first=1, last=100, width=4).template == "s-{0001..0100}"
    assert Range("s-", 1, 100, 3, 4).template == "s-{0001..0100..3}"
    assert Range(prefix="s", first=0, last=100, step=10, suffix=".tar").template == "s{0..100..10}.tar"
    assert list(Range(prefix="s", first=8, last=10, width=2).names()) == ["s08", "s09", "s10"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"first": 2, "last": 1}, "last"), ({"step": 0}, "step"), ({"prefix": "a{"}, "prefix"), ({"width": 0}, "width")],
)
def test_range_checks_its_arguments(arguments: dict[str, int], named: str) -> None:
    """The error names the argument."""
    with pytest.raises(ValueError, match=named):
        Range(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("template", ["", "prefix", "o{10..", "o{}", "o{a..b}", "o{3..1}", "o{1..9..0}", "o{1..2}}"])
def test_template_without_a_range_is_refused(template: str) -> None:
    """Today's server takes it for a prefix, and an empty one for the whole bucket; 3.3 does nothing, silently."""
    with pytest.raises(ValueError, match="template"):
        check_template(template)


@pytest.mark.parametrize("template", ["o{0..9}", "__tst/test-{1000..2000}", "a{01..02}b{1..9..2}.tar"])
def test_template_with_ranges_is_taken(template: str) -> None:
    """As the reference writes them."""
    assert check_template(template) == template


def test_selection_is_never_empty() -> None:
    """An empty list deletes the whole bucket of today's server; a missing value ends the targets of 3.3."""
    with pytest.raises(ValueError, match="names must name an object"):
        selection([], None)
    with pytest.raises(ValueError, match="names or template"):
        selection(None, None)
    with pytest.raises(ValueError, match="names or template"):
        selection(["a"], "b{1..2}")
    with pytest.raises(ValueError, match=r"names\[1\]"):
        check_names(["a", ""])
    with pytest.raises(TypeError, match="names must be a list"):
        check_names("abc")


# Properties


def test_properties_are_nested_or_dotted() -> None:
    """Both, and mixed."""
    assert nested({"mirror.enabled": True, "lru": {"highwm": 90}}, V33) == {
        "mirror": {"enabled": True},
        "lru": {"highwm": 90},
    }
    assert nested({"access": 5}, V33) == {"access": "5"}
    assert nested({"extra": {"aws": {"profile": "p"}}}, CURRENT) == {"extra": {"aws": {"profile": "p"}}}


@pytest.mark.parametrize("name", ["mirror.enable", "nosuch.x", "mirror", "extra.aws.profile"])
def test_unknown_properties_are_refused(name: str) -> None:
    """3.3 answers 200 to them, and ignores them."""
    with pytest.raises(ValueError, match=name):
        nested({name: True}, V33)


# Errors


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "mountpath [/no/such] doesn't exist", MountpathNotFound),
        (404, "mountpath [/no/such] doesn't exist", MountpathNotFound),
        (400, "Could not remove mountpath, error: tried to remove non-existing mountpath: /x", MountpathNotFound),
        (400, '"pb" appears to be ais bucket (expecting cloud)', NotRemote),
        (404, "p[p0]: bucket ais://nosuch does not exist", BucketNotFound),
        (404, "p[p0]: cloud bucket aws://pb does not exist", BucketNotFound),
        (404, "GET local: o[pb/bucket ais://x does not exist fs=/dev/vda](/d/f) does not exist", ObjectNotFound),
        (404, "object ais://pb(0x2)/o03 doesn't exist", ObjectNotFound),
        (409, "p[p0]: bucket ais://pb already exists", BucketExists),
        (400, "p[p0]: bucket ais://pb already exists", BucketExists),
        (400, "invalid lru (lwm, hwm, oos) configuration (75, 200, 95)", BadRequest),
        (401, "insufficient permissions", TokenRefused),
        (403, "t[target0001]: POST /v1/daemon/mountpaths is read-only on PUBLIC", AccessDenied),
        (416, "multi-range is not supported", RangeRefused),
        (500, "BAD DATA CHECKSUM: md5(00 != 5d) (context: o[pb/cksbad fs=/dev/vda])", ChecksumMismatch),
        (404, "p[p0]: cannot remove node nosuch (not present in the Smap v5)", NodeNotFound),
        (400, "tried to add already registered mountpath: /data/1/fs/extra", MountpathExists),
        (429, "too many requests", Busy),
    ],
)
def test_errors_by_what_the_server_wrote(status: int, message: str, kind: type[AIStoreError]) -> None:
    """Recorded texts; the status alone does not tell."""
    error = error_of(status, message)
    assert type(error) is kind
    assert error.status == status
    assert "http://gateway:8080" in str(error)


def test_inner_status_is_kept() -> None:
    """400 with 404 inside: an unknown kind of job."""
    error = error_of(400, "xaction 'nosuchkind' not found", status=404)
    assert (error.status, error.code) == (400, 404)


def test_error_of_head_is_read_of_its_header() -> None:
    """Today's server writes it there, for there is no body."""
    told = json.dumps({"tcode": "ErrBckNotFound", "message": 'bucket "ais://x" does not exist', "status": 404})
    with pytest.raises(BucketNotFound, match="ais://x"):
        raise_error(PUT, answer(404, Hdr_Error=told), ObjectNotFound)


def test_error_without_a_word_names_the_status() -> None:
    """502 and 503 come with no body at all."""
    with pytest.raises(AIStoreError, match="502"):
        raise_error(PUT, answer(502))


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"", Verdict.FINAL),
        (503, b"", Verdict.NOT_NOW),
        (503, b'{"message":"p[p0] is starting up"}', Verdict.NOT_NOW),
        (503, b'{"message":"primary has changed"}', Verdict.OPEN),
        (502, b"", Verdict.OPEN),
        (429, b"", Verdict.NOT_NOW),
        (401, b'{"message":"invalid token"}', Verdict.STALE_CREDENTIALS),
        (401, b'{"message":"insufficient permissions"}', Verdict.FINAL),
        (500, b'{"message":"BAD DATA CHECKSUM"}', Verdict.FINAL),
    ],
)
def test_verdicts(status: int, body: bytes, verdict: Verdict) -> None:
    """What an answer says of the request's fate."""
    assert judge(answer(status, body)) is verdict


def test_time_in_nanoseconds() -> None:
    """Text or number; 0 is none."""
    assert read_time("0") is None
    assert read_time(None) is None
    found = read_time("1795314051309679570")
    assert found is not None
    assert found.isoformat() == "2026-11-22T02:20:51.309679+00:00"
