"""`/_node/{name}`: configuration, statistics, system, restart. `_local` is the node that was asked."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from doubles.couchdb_http import Answer, Call, Problem, Unknown, bad, not_found, parse, reply
from doubles.couchdb_server import VENDOR
from doubles.couchdb_terms import Json

RECORDED: Json = json.loads((Path(__file__).parent / "couchdb_stats.json").read_bytes())
"""Statistics and system values as they were recorded, shortened; the double counts some of them itself."""

HASHES = ["blake2s", "blake2b", "sha3_512", "sha3_384", "sha3_256", "sha3_224"]
HASHES += ["sha512", "sha384", "sha256", "sha224", "sha", "ripemd160", "md5", "md4"]
CHANNELS = ["upgrade_views", "upgrade_dbs", "slack_views", "slack_dbs", "ratio_views", "ratio_dbs", "index_cleanup"]


async def node(call: Call) -> Answer:
    if len(call.parts) < 2:
        raise bad("Incomplete path to _node request")
    asked, rest = call.parts[1], call.parts[2:]
    name = call.node.name if asked == "_local" else asked
    if name not in call.couch.members:
        raise not_found(f"no such node: {name}")
    if not call.couch.alive([name]):
        raise Problem(412, "nodedown", f"{name} is down")
    if rest and rest[0] in call.couch.lacks:
        raise not_found()
    match rest:
        case []:
            return welcome(call, asked)
        case ["_stats", *path]:
            return stats(call, path)
        case ["_system"]:
            call.allow("GET")
            uptime = int(call.couch.now() - call.node.started)
            return reply(RECORDED["system"] | {"uptime": uptime})
        case ["_config", *path]:
            return config(call, path)
        case ["_nodes", joining]:
            return join(call, joining)
    return simple(call, rest)


def welcome(call: Call, asked: str) -> Answer:
    call.allow("GET")
    if asked == "_local":
        return reply({"name": call.node.name})
    uuid = call.couch.state.uuid
    found = {"couchdb": "Welcome", "uuid": uuid, "version": call.couch.version, "vendor": VENDOR}
    return reply(found, request_id=False)


def simple(call: Call, rest: list[str]) -> Answer:
    match rest:
        case ["_restart"]:
            call.allow("POST")
            call.couch.restarting(call.node)
            return reply({"ok": True})
        case ["_versions"]:
            return reply(versions())
        case ["_smoosh", "status"]:
            waiting = {"size": 0, "min": 0, "max": 0}
            channel = {"waiting": waiting, "starting": 0, "active": 0}
            return reply({"channels": dict.fromkeys(CHANNELS, channel)})
        case ["_prometheus"]:
            return Answer(body=prometheus(call), content_type="text/plain; version=2.0", cache=None)
    raise Unknown


def versions() -> Json:
    collation = {"library_version": "72.1", "collator_version": "153.120", "collation_algorithm_version": "15"}
    return {
        "javascript_engine": {"name": "quickjs"},
        "erlang": {"version": "25.2.3", "supported_hashes": HASHES},
        "collation_driver": {"name": "libicu", **collation},
    }


def counted(call: Call) -> Json:
    """The recorded tree with the double's own counts in it."""
    tree = copy.deepcopy(RECORDED["stats"])
    tree["couchdb"]["httpd"]["requests"]["value"] = len(call.couch.requests)
    tree["couchdb"]["open_databases"]["value"] = len(call.couch.state.databases)
    for method, one in tree["couchdb"]["httpd_request_methods"].items():
        one["value"] = sum(1 for seen in call.couch.requests if seen.method == method)
    running = len(call.couch.replicator.running)
    for one in tree["couch_replicator"]["jobs"].values():
        one["value"] = running
    return tree


def stats(call: Call, path: list[str]) -> Answer:
    """The whole tree or one branch; null where there is none."""
    call.allow("GET")
    found = counted(call)
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return reply(found)


LEVELS = ["alert", "critical", "debug", "emergency", "error", "info", "notice", "report", "report_error", "warning"]


def prometheus(call: Call) -> bytes:
    """A few of the metrics. A carriage return stands between HELP and TYPE, and a newline before all."""
    levels = {f'{{level="{level}"}}': 0 for level in LEVELS}
    requests = {"": len(call.couch.requests)}
    metrics = [
        ("couchdb_couch_log_requests_total", "number of logged messages", levels),
        (
            "couchdb_couch_replicator_changes_manager_deaths_total",
            "number of failed replicator changes managers",
            {"": 0},
        ),
        ("couchdb_httpd_requests_total", "number of HTTP requests", requests),
    ]
    lines = []
    for name, text, values in metrics:
        lines.append(f"\n# HELP {name} {text}\r# TYPE {name} counter")
        lines += [f"{name}{labels} {value}" for labels, value in values.items()]
    return ("\n".join(lines) + "\n").encode()


def config(call: Call, path: list[str]) -> Answer:
    """Sections of text. PUT and DELETE answer the value of before."""
    tree = call.couch.config
    match path:
        case []:
            return reply({name: section for name, section in tree.items() if section})
        case ["_reload"]:
            call.allow("POST")
            return reply({"ok": True})
        case [section]:
            return reply(tree.get(section, {}))
        case [section, key]:
            return setting(call, section, key)
    raise Unknown


def setting(call: Call, section: str, key: str) -> Answer:
    call.allow("GET", "PUT", "DELETE")
    kept = call.couch.config.get(section, {})
    if call.method == "PUT":
        value = parse(call.read())
        if not isinstance(value, str):
            raise bad("Values must be strings")
        before = kept.get(key, "")
        call.couch.config.setdefault(section, {})[key] = value
        return reply(before)
    if key not in kept:
        raise not_found("unknown_config_value")
    return reply(kept.pop(key) if call.method == "DELETE" else kept[key])


def join(call: Call, name: str) -> Answer:
    """The old way to build a cluster: a document for each node."""
    call.allow("PUT", "DELETE")
    nodes = call.couch.node_documents
    call.read()
    old = nodes.documents.get(name)
    rev = nodes.write(name, {}, rev=old.winner.rev if old is not None else None, deleted=call.method == "DELETE")
    if call.method == "DELETE":
        call.couch.members.remove(name)
        return reply({"ok": True, "id": name, "rev": rev}, request_id=False)
    if name not in call.couch.members:
        call.couch.members.append(name)
    location = f"{call.origin}/_nodes/{name.replace('@', '%40')}"
    headers = {"ETag": f'"{rev}"', "Location": location}
    return reply({"ok": True, "id": name, "rev": rev}, 201, headers=headers, request_id=False)
