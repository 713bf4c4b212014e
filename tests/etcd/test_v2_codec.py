from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetcd._wire.message import Effect, Request, Response
from aetcd.errors import DecodeError, Unsupported
from aetcd.etcd.v2._codec import (
    MAX_TTL,
    decode_keys,
    delete_request,
    get_request,
    key_path,
    post_request,
    put_request,
    refresh_request,
    wait_request,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SEGMENT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1).filter(
    lambda text: text not in {".", ".."}
)


def body_of(request: Any) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True, separator="&", strict_parsing=True))


@given(st.lists(SEGMENT, min_size=1))
def test_every_key_survives_its_path(segments: list[str]) -> None:
    """What the server unquotes is the key as it was written, to the last character."""
    key = "/".join(segments)
    path = key_path(key)
    split = urlsplit(path)
    assert path.isascii()
    assert path.isprintable()
    assert (unquote(split.path), split.query, split.fragment) == (f"/v2/keys/{key}", "", "")


@pytest.mark.parametrize(
    "key", ["a//b", "//a", "a//", "//", "a/./b", "./a", "a/.", ".", "..", "a/../b", "../a", "a/..", "/../a", "/."]
)
def test_key_that_a_server_would_clean_is_refused(key: str) -> None:
    """Nobody reaches another key than the one written."""
    with pytest.raises(ValueError, match="key"):
        key_path(key)


@pytest.mark.parametrize("key", ["a\0b", "\0", "a\ud800b"])
def test_key_that_cannot_travel_is_refused(key: str) -> None:
    """NUL and half characters are refused by name."""
    with pytest.raises(ValueError, match="key"):
        key_path(key)


def test_key_of_another_type_is_refused() -> None:
    """Bytes are no key in v2."""
    with pytest.raises(TypeError, match="key"):
        key_path(b"a")  # type: ignore[arg-type]


def test_slashes_at_the_ends_make_no_difference() -> None:
    """`a`, `/a`, `a/` and `/a/` are one node, and so are `` and `/`."""
    assert {key_path(key) for key in ("a", "/a", "a/", "/a/")} == {"/v2/keys/a"}
    assert {key_path(key) for key in ("", "/")} == {"/v2/keys/"}


def test_dots_within_a_segment_are_kept() -> None:
    """Only a whole segment of dots means something to a server."""
    assert [key_path(key) for key in ("...", "a..b", ".a", "a.", "a/.b")] == [
        "/v2/keys/...",
        "/v2/keys/a..b",
        "/v2/keys/.a",
        "/v2/keys/a.",
        "/v2/keys/a/.b",
    ]


@given(TEXT, TEXT.filter(bool))
def test_values_survive_the_form(value: str, previous: str) -> None:
    """A reader of the form gets the values back, to the last character, and no field more."""
    request = put_request("set", "k", value, previous_value=previous)
    assert body_of(request) == {"value": value, "prevValue": previous}
    assert b"\n" not in (request.body or b"")


@given(TEXT.filter(bool))
def test_compared_value_survives_the_query(previous: str) -> None:
    """A compare-and-delete carries its value in the query, to the last character."""
    request = delete_request("cad", "k", previous_value=previous)
    assert request.path.isascii()
    query = urlsplit(request.path).query
    assert dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) == {"prevValue": previous}


def test_bytes_that_are_text_are_taken() -> None:
    """UTF-8 is stored as the text that it is."""
    assert body_of(put_request("set", "k", "é&=".encode())) == {"value": "é&="}


def test_bytes_that_are_no_text_are_unsupported() -> None:
    """A v2 server would store replacement characters in their place."""
    with pytest.raises(Unsupported, match="value"):
        put_request("set", "k", b"\xff")
    with pytest.raises(Unsupported, match="previous_value"):
        put_request("set", "k", "v", previous_value=b"\xff")


@pytest.mark.parametrize("value", [1, True, 1.5, ["a"], {}])
def test_value_of_another_type_is_refused(value: Any) -> None:
    """Nothing is turned into text behind the caller's back."""
    with pytest.raises(TypeError, match="value"):
        put_request("set", "k", value)


def test_half_characters_in_a_value_are_refused() -> None:
    """A lone surrogate has no bytes to travel as."""
    with pytest.raises(ValueError, match="value"):
        put_request("set", "k", "\udc80")


@pytest.mark.parametrize("ttl", [0, -1, MAX_TTL + 1])
def test_ttl_out_of_range_is_refused(ttl: int) -> None:
    """0 expires at once, less is refused, and of more the server would silently make no expiry at all."""
    makes: tuple[Callable[[], Request], ...] = (
        lambda: put_request("set", "k", "v", ttl=ttl),
        lambda: refresh_request("k", ttl),
        lambda: post_request("k", "v", ttl=ttl),
    )
    for make in makes:
        with pytest.raises(ValueError, match="ttl"):
            make()


@pytest.mark.parametrize("ttl", [True, False, 1.5, 1.0, "1"])
def test_ttl_that_is_no_whole_number_is_refused(ttl: Any) -> None:
    """TTLs are whole seconds."""
    with pytest.raises(TypeError, match="ttl"):
        put_request("set", "k", "v", ttl=ttl)
    with pytest.raises(TypeError, match="ttl"):
        refresh_request("k", ttl)


@pytest.mark.parametrize("index", [0, -1, 1 << 64])
def test_index_that_compares_nothing_is_refused(index: int) -> None:
    """An index of 0 would overwrite without condition."""
    makes: tuple[Callable[[], Request], ...] = (
        lambda: put_request("cas", "k", "v", previous_index=index),
        lambda: delete_request("cad", "k", previous_index=index),
        lambda: refresh_request("k", 5, previous_index=index),
    )
    for make in makes:
        with pytest.raises(ValueError, match="previous_index"):
            make()
    with pytest.raises(ValueError, match="wait_index"):
        wait_request("k", wait_index=index)


@pytest.mark.parametrize("index", [True, 1.0, "1"])
def test_index_of_another_type_is_refused(index: Any) -> None:
    """An index is a whole number."""
    with pytest.raises(TypeError, match="previous_index"):
        put_request("cas", "k", "v", previous_index=index)
    with pytest.raises(TypeError, match="wait_index"):
        wait_request("k", wait_index=index)


@pytest.mark.parametrize("empty", ["", b""])
def test_empty_previous_value_is_refused(empty: str | bytes) -> None:
    """The protocol has no way to say it: the server answers 201."""
    makes: tuple[Callable[[], Request], ...] = (
        lambda: put_request("cas", "k", "v", previous_value=empty),
        lambda: delete_request("cad", "k", previous_value=empty),
        lambda: refresh_request("k", 5, previous_value=empty),
    )
    for make in makes:
        with pytest.raises(ValueError, match="previous_value"):
            make()


@pytest.mark.parametrize("compared", [{"previous_value": "x"}, {"previous_index": 5}])
def test_comparison_that_the_server_would_ignore_is_refused(compared: dict[str, Any]) -> None:
    """With prevExist=false the server creates, whatever value or index were to be compared (measured)."""
    with pytest.raises(ValueError, match="previous_exist"):
        put_request("set", "k", "v", previous_exist=False, **compared)
    with pytest.raises(ValueError, match="dir"):
        put_request("set", "k", None, directory=True, **compared)


def test_refresh_of_what_is_not_there_is_refused() -> None:
    """A refresh has something to refresh."""
    with pytest.raises(ValueError, match="previous_exist"):
        refresh_request("k", 5, previous_exist=False)


def test_value_and_directory_exclude_each_other() -> None:
    """The server would drop the value without a word."""
    with pytest.raises(ValueError, match="value"):
        put_request("set", "k", "v", directory=True)
    with pytest.raises(ValueError, match="value"):
        put_request("set", "k", None)
    with pytest.raises(ValueError, match="value"):
        post_request("k", None)


def test_effects() -> None:
    """Reads may be sent again, and refreshes by what does not move; all else is sent once."""
    assert get_request("k").effect is Effect.READ
    assert wait_request("k").effect is Effect.READ
    assert refresh_request("k", 5).effect is Effect.REPEATABLE
    assert refresh_request("k", 5, previous_value="v").effect is Effect.REPEATABLE
    assert refresh_request("k", 5, previous_index=5).effect is Effect.ONCE
    assert refresh_request("k", 5, previous_exist=None).effect is Effect.ONCE
    assert put_request("set", "k", "v").effect is Effect.ONCE
    assert put_request("cas", "k", "v", previous_index=5).effect is Effect.ONCE
    assert post_request("k", "v").effect is Effect.ONCE
    assert delete_request("delete", "k").effect is Effect.ONCE


def test_options_of_reads() -> None:
    """Only what was asked for is sent."""
    assert get_request("k").path == "/v2/keys/k"
    assert (
        get_request("k", recursive=True, sort=True, quorum=True).path
        == "/v2/keys/k?recursive=true&sorted=true&quorum=true"
    )
    assert wait_request("k").path == "/v2/keys/k?wait=true"
    assert (
        wait_request("k", recursive=True, stream=True, wait_index=7).path
        == "/v2/keys/k?wait=true&recursive=true&stream=true&waitIndex=7"
    )


def answer(body: dict[str, Any] | bytes, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(
        status=200, headers={name.replace("_", "-"): v for name, v in headers.items()}, body=raw, peer="http://p"
    )


FILE = {
    "key": "/a/f",
    "value": "",
    "expiration": "2026-11-22T06:14:07.394929573Z",
    "ttl": 100,
    "modifiedIndex": 18446744073709551615,
    "createdIndex": 4,
}
TREE = {"dir": True, "nodes": [{"key": "/a", "dir": True, "nodes": [FILE], "modifiedIndex": 3, "createdIndex": 3}]}
GONE = {"key": "/a/f", "modifiedIndex": 7, "createdIndex": 4}


@pytest.mark.parametrize(
    "body",
    [
        {"action": "get", "node": TREE},
        {"action": "compareAndSwap", "node": FILE, "prevNode": FILE},
        {"action": "expire", "node": GONE, "prevNode": FILE},
        {"action": "set"},
    ],
    ids=lambda body: str(body["action"]),
)
def test_as_dict_is_what_the_server_sent(body: dict[str, Any]) -> None:
    """No field more or less, each as the server wrote it."""
    assert decode_keys(get_request("k"), answer(body)).as_dict() == body


def test_headers_are_read() -> None:
    """The four that v2 sends, and nothing where a proxy dropped them."""
    headers = {"X_Etcd_Index": "9", "X_Raft_Index": "12", "X_Raft_Term": "3", "X_Etcd_Cluster_Id": "fb3fecd0bfec6faf"}
    read = decode_keys(get_request("k"), answer({"action": "get"}, **headers))
    assert (read.index, read.raft_index, read.raft_term, read.cluster_id) == (9, 12, 3, "fb3fecd0bfec6faf")
    bare = decode_keys(get_request("k"), answer({"action": "get"}))
    assert (bare.index, bare.raft_index, bare.raft_term, bare.cluster_id) == (0, 0, 0, "")


def test_expiration_is_an_aware_time() -> None:
    """To the microsecond, in UTC; the text keeps the nanoseconds."""
    node = decode_keys(get_request("k"), answer({"action": "get", "node": FILE})).the_node
    assert node.expiration is not None
    assert node.expiration.isoformat() == "2026-11-22T06:14:07.394929+00:00"
    assert node.expiration_text == FILE["expiration"]


def test_root_is_a_slash() -> None:
    """The server sends no key for it."""
    root = decode_keys(get_request(""), answer({"action": "get", "node": TREE})).the_node
    assert (root.key, root.dir, root.nodes[0].nodes[0].value) == ("/", True, "")


def test_missing_node_is_said() -> None:
    """An answer that was asked to carry no node has none to give."""
    response = decode_keys(get_request("k"), answer({"action": "set"}))
    assert response.node is None
    with pytest.raises(DecodeError, match="no node"):
        response.the_node


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"node":{}}', b'{"action":"get","node":{"key":7}}'])
def test_answer_that_does_not_read(body: bytes) -> None:
    """What is no answer of the keys API raises DecodeError."""
    with pytest.raises(DecodeError):
        decode_keys(get_request("k"), answer(body))


def test_index_that_does_not_read() -> None:
    """Nor is an index guessed."""
    with pytest.raises(DecodeError, match="no number"):
        decode_keys(get_request("k"), answer({"action": "get"}, X_Etcd_Index="soon"))
