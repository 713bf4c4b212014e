"""Peers are read in every form in which people write them, and nothing else passes."""

from __future__ import annotations

import pickle
import string
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetcd._routing.peer import Peer, parse_peers
from aetcd.errors import ConfigError

quick = settings(max_examples=100, deadline=None, derandomize=True)

# What a type checker would refuse, too.
untyped: Any = parse_peers


def urls(*peers: Any, **options: Any) -> list[str]:
    return [str(peer) for peer in parse_peers(*peers, **options)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://h:1", ["http://h:1"]),
        ("https://h", ["https://h:2379"]),
        ("h", ["http://h:2379"]),
        ("h:1", ["http://h:1"]),
        ("HTTP://Host.Example:1", ["http://host.example:1"]),
        ("h.:1", ["http://h.:1"]),
        ("etcd_1:1", ["http://etcd_1:1"]),
        ("10.0.0.1", ["http://10.0.0.1:2379"]),
        ("[::1]:1", ["http://[::1]:1"]),
        ("[::1]", ["http://[::1]:2379"]),
        ("https://[2001:DB8:0:0::1]", ["https://[2001:db8::1]:2379"]),
        ("http://h:65535/", ["http://h:65535"]),
        ("http://h:1/etcd/a%20b/", ["http://h:1/etcd/a%20b"]),
        ("http://a:1,b:2,c", ["http://a:1", "http://b:2", "http://c:2379"]),
        ("https://a:1,b:2", ["https://a:1", "https://b:2"]),
        ("http://a:1,http://b:2", ["http://a:1", "http://b:2"]),
        ("a,https://b,c", ["http://a:2379", "https://b:2379", "https://c:2379"]),
        ("http://a:1,[::1]:2/p", ["http://a:1/p", "http://[::1]:2/p"]),
        ("http://a/x,http://b/y", ["http://a:2379/x", "http://b:2379/y"]),
        (("h", 1), ["http://h:1"]),
        (("h", "1"), ["http://h:1"]),
        (("h", 65535), ["http://h:65535"]),
        (("::1", 1), ["http://[::1]:1"]),
        (("https://h", 1), ["https://h:1"]),
        ({"host": "http://host1", "port": 4001}, ["http://host1:4001"]),
        ({"host": "host1", "port": 4001}, ["http://host1:4001"]),
        ({"host": "https://host1"}, ["https://host1:2379"]),
        ({"host": "::1"}, ["http://[::1]:2379"]),
        (Peer("h", 1, tls=True), ["https://h:1"]),
    ],
)
def test_one_peer_in_each_form(given: Any, expected: list[str]) -> None:
    """Each written form means the peers one expects, alone and in a list."""
    assert urls(given) == expected
    assert urls(peers_list=[given]) == expected
    if not isinstance(given, tuple):
        assert urls(peers_list=given) == expected


def test_forms_mix() -> None:
    """All forms stand beside each other, and keep their order."""
    mixed = ["https://a", ("b", 1), {"host": "c", "port": 2}, Peer("d", 3), "e:4,f"]
    assert urls(*mixed) == [
        "https://a:2379",
        "http://b:1",
        "http://c:2",
        "http://d:3",
        "http://e:4",
        "http://f:2379",
    ]


def test_reference_constructors() -> None:
    """What the reference's README shows works as it stands there."""
    assert urls(host="http://localhost", port=4001) == ["http://localhost:4001"]
    assert urls(peers_list=[{"host": "http://host1", "port": 4001}, {"host": "http://host2", "port": 4001}]) == [
        "http://host1:4001",
        "http://host2:4001",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "http://127.0.0.1:2379"),
        ({"default_port": 8080}, "http://127.0.0.1:8080"),
        ({"default_scheme": "https"}, "https://127.0.0.1:2379"),
        ({"port": 4001}, "http://127.0.0.1:4001"),
        ({"port": "4001"}, "http://127.0.0.1:4001"),
        ({"host": "h"}, "http://h:2379"),
        ({"host": "h:1"}, "http://h:1"),
        ({"host": "h", "default_port": 8080}, "http://h:8080"),
        ({"host": "h", "default_scheme": "https"}, "https://h:2379"),
        ({"host": "http://h", "default_scheme": "https"}, "http://h:2379"),
        ({"host": "::1", "port": 1}, "http://[::1]:1"),
        ({"host": "https://[::1]", "port": 1}, "https://[::1]:1"),
    ],
)
def test_host_port_and_defaults(options: dict[str, Any], expected: str) -> None:
    """What is left out is filled in."""
    assert urls(**options) == [expected]


def test_duplicates_go_and_order_stays() -> None:
    """A peer named twice, in whatever form, is one; http and https are two."""
    given = ["http://b", "a", ("B", 2379), "https://b", {"host": "a"}, "[0:0::1]", "[::1]:2379"]
    assert urls(*given) == ["http://b:2379", "http://a:2379", "https://b:2379", "http://[::1]:2379"]


BAD_TEXTS = [
    "",
    "http://",
    "http:///etcd",
    "//h",
    ":2379",
    "h:",
    "a,,b",
    "a,",
    ",a",
    "ftp://h",
    "unix:///run/etcd.sock",
    "://h",
    "http://a,ftp://b",
    "http:h",
    "h:0",
    "h:65536",
    "h:-1",
    "h:x",
    "h:1:2",
    "h:٣",
    "h:" + "9" * 5000,
    "::1",
    "[::1",
    "::1]",
    "[::1]x",
    "[h]:1",
    "[]:1",
    "[fe80::1%eth0]:1",
    "[::1]]:1",
    "http://h?wait=true",
    "http://h/?",
    "http://h#",
    " h",
    "h ",
    "a, b",
    "h\n",
    "h\x00",
    "h\u00a0",
    "h\ud800",
    "http://h/a b",
    "http://h/%2",
    "http://a/x,b",
    "http://h/ä",
    "münchen",
    "\u212aelvin",
    "-h",
    "a..b",
    "h*",
    "a" * 64,
    ".".join(["a" * 60] * 5),
    "2379",
    "127.0.0.256",
    "127.0.0.01",
    "1.2.3",
]


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_bad_text_names_the_argument(text: str) -> None:
    """What is no peer is refused before anything is sent, by the argument's name."""
    with pytest.raises(ConfigError, match=r"^peers: "):
        parse_peers(text)
    with pytest.raises(ConfigError, match=r"^peers: "):
        parse_peers("good", text)
    with pytest.raises(ConfigError, match=r"^host: "):
        parse_peers(host=text + "/" if text == "::1" else text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("http://", "no host"),
        ("ftp://h", "unknown scheme: http and https"),
        ("::1", r"more than one colon: .*\[::1\]"),
        ("h:1:2", "more than one colon"),
        ("[::1", "brackets"),
        ("[fe80::1%eth0]", "without a zone"),
        ("http://h/p?x", "query or a fragment"),
        ("http://h/p#x", "query or a fragment"),
        ("h\n", "whitespace or control"),
        ("a, b", "whitespace or control"),
        ("münchen", "xn--"),
        ("http://a/x,b", "comma"),
        ("h:x", "port that is no number"),
        ("127.0.0.256", "no valid IPv4"),
        ("a..b", "letters, digits"),
    ],
)
def test_error_says_what_is_wrong(text: str, why: str) -> None:
    """The message tells what to change."""
    with pytest.raises(ConfigError, match=why):
        parse_peers(text)


@pytest.mark.parametrize("port", [0, -1, 65536, 10**30, "0", "-1", "65536", "", "x", " 1", "1 ", "1.5", "٣"])
def test_bad_port_names_the_argument(port: int | str) -> None:
    """A port is a number from 1 to 65535, wherever it is written."""
    for host in ("h", None):
        with pytest.raises(ConfigError, match=r"^port: "):
            parse_peers(host=host, port=port)
    with pytest.raises(ConfigError, match=r"^peers: .*port"):
        parse_peers(("h", port))
    with pytest.raises(ConfigError, match=r"^peers: .*port"):
        parse_peers({"host": "h", "port": port})


def test_error_shows_the_value() -> None:
    """The value that is wrong is in the message, and a long one not in full."""
    with pytest.raises(ConfigError, match="'ftp://h'"):
        parse_peers("ftp://h")
    with pytest.raises(ConfigError, match="70000"):
        parse_peers(host="h", port=70000)
    with pytest.raises(ConfigError) as caught:
        parse_peers("h" * 10_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: untyped("a", host="b"), ["positional peers", "`host=` or `port=`"]),
        (lambda: untyped("a", port=1), ["positional peers", "`host=` or `port=`"]),
        (lambda: untyped("a", peers_list=["b"]), ["positional peers", "`peers=`"]),
        (lambda: untyped(host="a", peers_list=["b"]), ["`peers=`", "`host=` or `port=`"]),
        (lambda: untyped(host="h:1", port=2), ["host:", "'h:1'"]),
        (lambda: untyped(("h:1", 1)), ["peers:", "'h:1'"]),
        (lambda: untyped({"host": "h", "prot": 1, "tls": 2}), ["peers:", "'prot'", "'tls'"]),
        (lambda: untyped({}), ["peers:", '"host"']),
        (lambda: untyped({"port": 1}), ["peers:", '"host"']),
        (lambda: untyped(("h",)), ["peers:", "(host, port)"]),
        (lambda: untyped(("h", 1, 2)), ["peers:", "(host, port)"]),
        (lambda: untyped(peers_list=[]), ["peers:", "empty"]),
    ],
)
def test_contradictions_say_which(call: Any, names: list[str]) -> None:
    """Two ways at once, or a form with too much or too little, is refused by name."""
    with pytest.raises(ConfigError) as caught:
        call()
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: untyped(2379), "peers"),
        (lambda: untyped(None), "peers"),
        (lambda: untyped(b"h"), "peers"),
        (lambda: untyped(["a", "b"]), "peers"),
        (lambda: untyped((1, 2)), "peers"),
        (lambda: untyped(("h", 1.5)), "peers"),
        (lambda: untyped(("h", True)), "peers"),
        (lambda: untyped({"host": None}), "peers"),
        (lambda: untyped({"host": "h", "port": b"1"}), "peers"),
        (lambda: untyped(peers_list=("h", 2379)), "peers"),
        (lambda: untyped(peers_list=7), "peers"),
        (lambda: untyped(peers_list=b"h"), "peers"),
        (lambda: untyped(host=b"h"), "host"),
        (lambda: untyped(host=1), "host"),
        (lambda: untyped(host="h", port=True), "port"),
        (lambda: untyped(host="h", port=1.0), "port"),
    ],
)
def test_wrong_type_names_the_argument(call: Any, argument: str) -> None:
    """A value of another type is a TypeError; a bool is no port."""
    with pytest.raises(TypeError, match=rf"^{argument}: "):
        call()


SECRET = "sEcr3t"


@pytest.mark.parametrize(
    "call",
    [
        lambda: untyped(f"http://root:{SECRET}@h:1"),
        lambda: untyped(f"http://{SECRET}@h"),
        lambda: untyped(f"root:{SECRET}@h"),
        lambda: untyped(f"http://root:{SECRET}/x@h:1"),
        lambda: untyped(f"http://root:a,{SECRET}@h:1"),
        lambda: untyped(f"http://root:a b?{SECRET}@h:1"),
        lambda: untyped(f"ftp://root:{SECRET}@h"),
        lambda: untyped(f"http://h?password={SECRET}"),
        lambda: untyped(f"http://h#{SECRET}"),
        lambda: untyped((f"root:{SECRET}@h", 1)),
        lambda: untyped(("h", f"{SECRET}@h")),
        lambda: untyped(("root", SECRET, "h")),
        lambda: untyped({"host": "h", "password": SECRET}),
        lambda: untyped({"host": f"http://root:{SECRET}@h", "port": 1}),
        lambda: untyped({f"http://root:{SECRET}@h": 1}),
        lambda: untyped(host=f"http://root:{SECRET}@h"),
        lambda: untyped(host="h", port=f"{SECRET}@h"),
        lambda: untyped([f"http://root:{SECRET}@h"]),
    ],
)
def test_credentials_are_never_shown(call: Any) -> None:
    """An error about a URL with a password does not carry it into a log, not even by its cause."""
    with pytest.raises((ConfigError, TypeError)) as caught:
        call()
    error = caught.value
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    assert error.__cause__ is None
    assert error.__context__ is None


def test_userinfo_is_told_where_to_go() -> None:
    """Who writes credentials into a URL learns where they belong."""
    with pytest.raises(ConfigError, match="username= and password="):
        parse_peers("http://root:pw@h")


def test_peer_is_a_value() -> None:
    """Equal peers are one key, also after a copy through pickle; the URL is not built again."""
    peer, same = Peer("h", 1, prefix="/p"), Peer("h", 1, prefix="/p")
    assert peer == same
    assert {peer: 1}[same] == 1
    assert {peer: 1}[pickle.loads(pickle.dumps(peer))] == 1
    assert peer.url is peer.url
    assert peer != Peer("h", 1, tls=True, prefix="/p")
    assert Peer("::1", 1).url == "http://[::1]:1"
    assert repr(peer) == "Peer(host='h', port=1, tls=False, prefix='/p')"


labels = st.lists(st.sampled_from(string.ascii_letters + string.digits + "_"), min_size=1, max_size=10).map("".join)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda host: not host[-1].isdecimal()),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address.exploded}]"),
)
prefixes = st.lists(labels, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))


@quick
@given(hosts, st.integers(1, 65535), st.sampled_from(["http", "https"]), prefixes)
def test_round_trip(host: str, port: int, scheme: str, prefix: str) -> None:
    """What a peer says of itself reads back as the same peer."""
    (peer,) = parse_peers(f"{scheme}://{host}:{port}{prefix}")
    assert (peer.port, peer.tls, peer.prefix) == (port, scheme == "https", prefix)
    assert parse_peers(str(peer)) == (peer,)


@quick
@given(st.lists(st.tuples(hosts, st.integers(1, 65535)), min_size=1, max_size=5))
def test_one_url_with_hosts_is_as_many_urls(places: list[tuple[str, int]]) -> None:
    """Hosts in one URL, URLs in one text, and separate arguments mean the same."""
    texts = [f"{host}:{port}" for host, port in places]
    separate = parse_peers(*(f"https://{text}" for text in texts))
    assert parse_peers("https://" + ",".join(texts)) == separate
    assert parse_peers(",".join(f"https://{text}" for text in texts)) == separate
    assert parse_peers(*texts, default_scheme="https") == separate


# Not st.text(): it would build its table of Unicode categories first, for seconds in a fresh checkout.
texts = st.lists(st.integers(0, 0x17F).map(chr) | st.integers(0, 0x10FFFF).map(chr), max_size=12).map("".join)
near_urls = st.lists(
    st.sampled_from(
        ["http", "https", "://", ":", "/", "@", "[", "]", "::1", ",", "h", "1", "2379", "?", "#", "%", " ", "."]
    )
    | texts,
    max_size=12,
).map("".join)


@quick
@given(texts | near_urls)
def test_arbitrary_text_is_read_or_refused(text: str) -> None:
    """Whatever the text, it is peers that read back as themselves, or a ConfigError with a short message."""
    try:
        peers = parse_peers(text)
    except ConfigError as e:
        message, peers = str(e), None
    if peers is None:
        assert message.startswith("peers: ")
        assert len(message) < 1000
    else:
        assert peers
        assert parse_peers(*map(str, peers)) == peers


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from(["host", "port", "x"]) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@quick
@given(plain_values)
def test_arbitrary_values_are_read_or_refused(value: Any) -> None:
    """Whatever the value, no exception but those two comes out."""
    for arguments, options in (
        ((value,), {}),
        ((), {"peers_list": value}),
        ((), {"host": value}),
        ((), {"port": value}),
    ):
        try:
            parse_peers(*arguments, **options)
        except (ConfigError, TypeError) as e:
            message = str(e)
        else:
            message = "peers: are read"
        assert message.split(":")[0] in {"peers", "host", "port"}


@quick
@given(near_urls, near_urls, st.sampled_from(["", "http://", "https://", "ftp://", "h:1,"]))
def test_no_password_is_ever_shown(before: str, after: str, scheme: str) -> None:
    """However broken the URL about it, what stands before an @ is not shown."""
    with pytest.raises(ConfigError) as caught:
        parse_peers(f"{scheme}{before}root:{SECRET}@{after}")
    assert SECRET not in "".join(traceback.format_exception_only(caught.value))
