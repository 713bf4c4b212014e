"""Who asks: basic, cookie session, proxy headers, JWT; the lockout; and who may ask what."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from attrs import define, field
from doubles.couchdb_http import Answer, Call, Problem, User, bad, no_database, parse, reply
from doubles.couchdb_terms import Json, dumps

if TYPE_CHECKING:
    from doubles.couchdb_world import World

WRONG = "Name or password is incorrect."
LOCKED = "Account is temporarily locked due to multiple authentication failures"
METRICS = ("_stats", "_system", "_prometheus")
DATABASE_ADMIN = ("_compact", "_view_cleanup")
SERVER_ADMIN = ("_sync_shards", "_purge", "_purged_infos_limit")
OPEN = ("_up", "_uuids", "_session", "_replicate", "_utils")


@define
class Gate:
    """Passwords and failures of a cluster. Cookies are signed, so that the double need not remember them."""

    failures: dict[tuple[str, str], tuple[int, float]] = field(factory=dict)

    def check(self, call: Call, name: str, password: str) -> User:
        """Raises 401 for a wrong password, 403 for a locked account, whatever the password."""
        known = self.password(call.couch, name)
        key = (call.request.remote or "", name)
        options = call.couch.config.get("chttpd_auth_lockout", {})
        count, first = self.failures.get(key, (0, call.couch.now()))
        if call.couch.now() - first > int(options.get("max_lifetime", "300000")) / 1000:
            count, first = 0, call.couch.now()
        locking = options.get("mode", "enforce") == "enforce"
        if known is not None and locking and count >= int(options.get("threshold", "5")):
            raise Problem(403, "forbidden", LOCKED)
        if known is None or known[0] != password:
            if known is not None:
                self.failures[key] = (count + 1, first)
            raise Problem(401, "unauthorized", WRONG)
        return User(name=name, roles=known[1], by="default")

    def password(self, couch: World, name: str) -> tuple[str, list[str]] | None:
        """The password and the roles of an admin of the configuration, or of a document in `_users`."""
        if name in couch.config["admins"]:
            return couch.config["admins"][name], ["_admin"]
        users = couch.state.databases.get("_users")
        doc = users.documents.get(f"org.couchdb.user:{name}") if users is not None else None
        if doc is None or doc.winner.deleted:
            return None
        body = doc.winner.body
        return couch.passwords.get(body.get("derived_key", ""), ""), list(body["roles"])


def authenticate(call: Call) -> User:
    """Asks the handlers in their order; the first that knows the caller wins."""
    for handler in call.node.handlers:
        if (user := HANDLERS[handler](call)) is not None:
            return user
    return User()


def by_basic(call: Call) -> User | None:
    scheme, _, value = call.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as e:
        raise bad("Authorization header has invalid base64 value") from e
    return call.couch.gate.check(call, name, password)


def by_cookie(call: Call) -> User | None:
    token = call.request.cookies.get("AuthSession") or raw_cookie(call)
    if not token:
        return None
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        name, issued, signature = packed.split(b":", 2)
        at = int(issued, 16)
    except ValueError as e:
        raise bad("Malformed AuthSession cookie. Please clear your cookies.") from e
    if not hmac.compare_digest(signature, sign(call, name.decode(), issued.decode())):
        return None
    left = at + lifetime(call) - call.couch.now()
    known = call.couch.gate.password(call.couch, name.decode())
    if left <= 0 or known is None:
        return None
    if left < lifetime(call) * 0.9:
        call.set_cookie = cookie(call, name.decode())
    return User(name=name.decode(), roles=known[1], by="cookie")


def raw_cookie(call: Call) -> str:
    """What stands in the header where it is too odd for a parser of cookies."""
    for pair in call.headers.get("Cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == "AuthSession":
            return value
    return ""


def lifetime(call: Call) -> float:
    return float(call.couch.config.get("chttpd_auth", {}).get("timeout", "600"))


def sign(call: Call, name: str, issued: str) -> bytes:
    return hmac.digest(call.couch.secret.encode(), f"{name}:{issued}".encode(), "sha256")


def cookie(call: Call, name: str) -> str:
    """The value of `Set-Cookie`; an empty name takes the cookie away."""
    token = ""
    if name:
        issued = f"{int(call.couch.now()):X}"
        packed = f"{name}:{issued}:".encode() + sign(call, name, issued)
        token = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    ends = datetime.fromtimestamp(call.couch.now() + lifetime(call), UTC).strftime("%a, %d-%b-%Y %H:%M:%S GMT")
    age = int(lifetime(call))
    return f"AuthSession={token}; Version=1; Expires={ends}; Max-Age={age}; Path=/; HttpOnly"


def by_proxy(call: Call) -> User | None:
    name = call.headers.get("X-Auth-CouchDB-UserName")
    if name is None:
        return None
    options = call.couch.config.get("chttpd_auth", {})
    if options.get("proxy_use_secret") == "true":
        given = call.headers.get("X-Auth-CouchDB-Token", "")
        secret = options.get("secret", call.couch.secret).encode()
        right = [hmac.new(secret, name.encode(), kind).hexdigest() for kind in ("sha256", "sha1")]
        if given not in right:
            return None
    roles = [role for role in call.headers.get("X-Auth-CouchDB-Roles", "").split(",") if role]
    return User(name=name, roles=roles, by="proxy")


def by_jwt(call: Call) -> User | None:
    scheme, _, token = call.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        head, claims, signature = token.strip().split(".")
        header, payload = loads64(head), loads64(claims)
    except ValueError as e:
        raise bad("Malformed token") from e
    algorithm = header.get("alg")
    if algorithm not in {"HS256", "HS384", "HS512"}:
        raise bad("Invalid alg header parameter")
    check_claims(call, payload)
    key = call.couch.config.get("jwt_keys", {}).get(f"hmac:{header.get('kid', '_default')}")
    if key is None:
        raise bad("Key not found")
    kind = algorithm.replace("HS", "sha")
    right = hmac.digest(base64.b64decode(key), f"{head}.{claims}".encode(), kind)
    if not hmac.compare_digest(base64.urlsafe_b64encode(right).decode().rstrip("="), signature):
        raise bad("Bad HMAC")
    if "sub" not in payload:
        raise Problem(401, "unauthorized", "Token missing sub claim.")
    return User(name=payload["sub"], roles=list(payload.get("_couchdb.roles", [])), by="jwt")


def check_claims(call: Call, payload: Json) -> None:
    # Claims come before the signature: a bad signature without `exp` is reported as the missing claim.
    if "exp" not in payload:
        raise bad("Missing exp claim")
    if payload["exp"] <= call.couch.now():
        raise Problem(401, "unauthorized", "exp not in future")


def loads64(text: str) -> Json:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


HANDLERS = {"cookie": by_cookie, "default": by_basic, "proxy": by_proxy, "jwt": by_jwt}


def authorize(call: Call) -> None:
    """The server's own order of rules, by path alone; what a database allows is asked where it is found."""
    first = call.parts[0]
    if first in {"", "favicon.ico"} or first in OPEN:
        return None
    if first in {"_users", "_replicator"} and len(call.parts) > 1:
        if call.parts[1] in {"_all_docs", "_changes"}:
            call.admin()
        return may_read(call, first)
    if first.startswith("_"):
        if first == "_node" and len(call.parts) > 2 and call.parts[2] in METRICS:
            return metrics(call)
        return call.admin()
    if len(call.parts) == 1 and call.method in {"PUT", "DELETE"}:
        return call.admin()
    if len(call.parts) > 1 and call.parts[1] in SERVER_ADMIN:
        return call.admin()
    return may_read(call, first)


def metrics(call: Call) -> None:
    if not call.user.is_admin and "_metrics" not in call.user.roles:
        raise Problem(401, "unauthorized", "You are not a server admin or read-only metrics user")


def may_read(call: Call, name: str) -> None:
    """403 for a user who is no member, 401 for nobody in particular."""
    if call.user.is_admin:
        return
    database = call.couch.state.databases.get(name)
    if database is None:
        raise no_database()
    if name == "_users" and call.parts[1:] == [f"org.couchdb.user:{call.user.name}"]:
        return
    if len(call.parts) > 1 and call.parts[1] in DATABASE_ADMIN:
        may_rule(call, name)
        return
    allowed = member(call.user, database.security.get("members", {}), empty=True)
    if not allowed and not member(call.user, database.security.get("admins", {}), empty=False):
        if call.user.name is None:
            raise Problem(401, "unauthorized", "You are not authorized to access this db.")
        raise Problem(403, "forbidden", "You are not allowed to access this db.")


def may_rule(call: Call, name: str) -> None:
    database = call.couch.state.databases[name]
    if not call.user.is_admin and not member(call.user, database.security.get("admins", {}), empty=False):
        raise Problem(401, "unauthorized", "You are not a db or server admin.")


def member(user: User, listed: Json, *, empty: bool) -> bool:
    names, roles = listed.get("names", []), listed.get("roles", [])
    if not names and not roles:
        return empty
    return user.name in names or bool(set(user.roles) & set(roles))


async def session(call: Call) -> Answer:
    call.allow("GET", "HEAD", "POST", "DELETE", request_id=False)
    match call.method:
        case "POST":
            return log_in(call)
        case "DELETE":
            return reply({"ok": True}, headers={"Set-Cookie": cookie(call, "")}, request_id=False)
    context: Json = {"name": call.user.name, "roles": call.user.roles}
    info: Json = {"authentication_handlers": list(call.node.handlers)}
    if call.user.by is not None:
        info["authenticated"] = call.user.by
    return reply({"ok": True, "userCtx": context, "info": info}, request_id=False)


def log_in(call: Call) -> Answer:
    kind = call.headers.get("Content-Type", "").split(";")[0]
    if kind == "application/x-www-form-urlencoded":
        form: Json = dict(parse_qsl(call.read().decode()))
    elif kind == "application/json":
        form = parse(call.read())
    else:
        call.consumed = True
        wanted = "Content-Type must be 'application/x-www-form-urlencoded' or 'application/json'"
        raise Problem(415, "bad_content_type", wanted)
    name = form.get("name") or form.get("username")
    if not name:
        raise bad("request body must contain a username")
    try:
        user = call.couch.gate.check(call, name, form.get("password", ""))
    except Problem as problem:
        if problem.answer.status == 401:
            gone = {"Set-Cookie": cookie(call, "")}
            return Answer(status=401, body=problem.answer.body, headers=gone, request_id=False)
        raise
    body = {"ok": True, "name": user.name if user.by else None, "roles": user.roles}
    headers = {"Set-Cookie": cookie(call, name)}
    if "next" in call.query:
        location = call.origin + call.query["next"]
        return reply(body, 302, headers={**headers, "Location": location}, request_id=False)
    return reply(body, headers=headers, request_id=False)


def unauthorized_headers(call: Call, answer: Answer) -> Answer:
    """A 401 to a browser becomes a 302 to the page of Fauxton where one logs in."""
    asked = call.headers.get("X-CouchDB-WWW-Authenticate")
    if asked is not None:
        return Answer(status=401, body=answer.body, headers={**answer.headers, "WWW-Authenticate": asked})
    if "text/html" not in call.headers.get("Accept", ""):
        return answer
    reason = quote(json.loads(answer.body)["reason"], safe=".")
    back = quote(call.request.raw_path, safe="")
    location = f"{call.origin}/_utils/session.html?return={back}&reason={reason}"
    return Answer(status=302, body=answer.body, headers={**answer.headers, "Location": location})


def hash_password(call: Call, body: dict[str, Json]) -> dict[str, Json]:
    """What the server makes of a user's document: the password leaves, a derived key comes."""
    if "password" not in body:
        return body
    salt = call.couch.state.next_uuid("random")
    key = hashlib.pbkdf2_hmac("sha256", body["password"].encode(), salt.encode(), 1).hex()
    call.couch.passwords[key] = body["password"]
    kept = {name: value for name, value in body.items() if name != "password"}
    return kept | {
        "password_scheme": "pbkdf2",
        "pbkdf2_prf": "sha256",
        "salt": salt,
        "iterations": 600000,
        "derived_key": key,
    }


def bearer(key: str, claims: Json) -> str:
    """A token signed with HS256, for tests: `key` is what stands in `config["jwt_keys"]`, base64."""
    parts = [{"typ": "JWT", "alg": "HS256"}, claims]
    packed = ".".join(base64.urlsafe_b64encode(dumps(part)).decode().rstrip("=") for part in parts)
    signed = hmac.digest(base64.b64decode(key), packed.encode(), "sha256")
    return f"{packed}.{base64.urlsafe_b64encode(signed).decode().rstrip('=')}"
