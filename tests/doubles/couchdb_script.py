"""The little of JavaScript that map, filter and validation functions of tests need; all else is refused loudly.

Statements: `if`/`else`, blocks, `return`, `throw`, `var`, calls of `emit`. Expressions: literals, arrays, objects,
members and indices, `!`, comparisons, `&&`, `||`, `+`, `-`, `*`, `?:`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NoReturn

from attrs import define, field
from doubles.couchdb_terms import Json

TOKENS = re.compile(
    r"""\s*(?://[^\n]*\n\s*|/\*.*?\*/\s*)*
    (?P<token>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\d+(?:\.\d+)?|[A-Za-z_$][\w$]*|===|!==|==|!=|<=|>=|&&|\|\||.)""",
    re.VERBOSE | re.DOTALL,
)
BINARY = [["||"], ["&&"], ["===", "!==", "==", "!="], ["<", ">", "<=", ">="], ["+", "-"], ["*"]]


class Unsupported(Exception):
    """JavaScript beyond what the double reads."""


class Thrown(Exception):
    """What the function threw: `{"forbidden": "why"}`."""

    def __init__(self, value: Json) -> None:
        super().__init__(value)
        self.value = value


class Returned(Exception):
    def __init__(self, value: Json) -> None:
        super().__init__()
        self.value = value


Expression = Callable[[dict[str, Json]], Json]


@define
class Script:
    """One function. `run(*arguments)` gives what it returned; `emitted` what it emitted meanwhile."""

    source: str
    emitted: list[tuple[Json, Json]] = field(factory=list)
    tokens: list[str] = field(init=False)
    at: int = 0

    def __attrs_post_init__(self) -> None:
        self.tokens = [match["token"] for match in TOKENS.finditer(self.source.strip()) if match["token"].strip()]

    def run(self, *arguments: Json) -> Json:
        self.at = 0
        self.emitted = []
        self.expect("function")
        if self.peek() != "(":
            self.take()
        scope: dict[str, Json] = dict(zip(self.names(), arguments, strict=False))
        try:
            self.block(scope, live=True)
        except Returned as returned:
            return returned.value
        return None

    def names(self) -> list[str]:
        self.expect("(")
        found = []
        while (token := self.take()) != ")":
            if token != ",":
                found.append(token)
        return found

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def skip(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.at += 1
        return True

    def expect(self, token: str) -> None:
        if not self.skip(token):
            self.refuse(f"expected {token!r}")

    def refuse(self, why: str) -> NoReturn:
        around = " ".join(self.tokens[max(self.at - 5, 0) : self.at + 5])
        raise Unsupported(f"the double does not read this JavaScript ({why}): {around}")

    def block(self, scope: dict[str, Json], *, live: bool) -> None:
        self.expect("{")
        while not self.skip("}"):
            self.statement(scope, live=live)

    def statement(self, scope: dict[str, Json], *, live: bool) -> None:
        """Reads one statement, and does it where it is `live`: the branch not taken is only read."""
        token = self.peek()
        if token == "{":
            return self.block(scope, live=live)
        if self.skip(";"):
            return None
        if self.skip("if"):
            return self.branch(scope, live=live)
        self.simple(token, scope, live=live)
        self.skip(";")
        return None

    def branch(self, scope: dict[str, Json], *, live: bool) -> None:
        self.expect("(")
        truth = bool(self.value(scope))
        self.expect(")")
        self.statement(scope, live=live and truth)
        if self.skip("else"):
            self.statement(scope, live=live and not truth)

    def simple(self, token: str, scope: dict[str, Json], *, live: bool) -> None:
        if token in {"return", "throw"}:
            self.take()
            value = None if self.peek() in {";", "}"} else self.value(scope)
            if live:
                raise Returned(value) if token == "return" else Thrown(value)
        elif token in {"var", "let", "const"}:
            self.take()
            name = self.take()
            self.expect("=")
            scope[name] = self.value(scope)
        elif token == "emit":
            self.take()
            arguments = self.items(scope, "(", ")")
            if live:
                self.emitted.append((arguments[0], arguments[1] if len(arguments) > 1 else None))
        else:
            self.refuse("statement")

    def items(self, scope: dict[str, Json], opening: str, closing: str) -> list[Json]:
        self.expect(opening)
        found: list[Json] = []
        while not self.skip(closing):
            found.append(self.value(scope))
            self.skip(",")
        return found

    def value(self, scope: dict[str, Json]) -> Json:
        test = self.binary(scope, 0)
        if not self.skip("?"):
            return test
        chosen = self.value(scope)
        self.expect(":")
        other = self.value(scope)
        return chosen if test else other

    def binary(self, scope: dict[str, Json], level: int) -> Json:
        if level == len(BINARY):
            return self.unary(scope)
        left = self.binary(scope, level + 1)
        while self.peek() in BINARY[level]:
            sign = self.take()
            left = apply(sign, left, self.binary(scope, level + 1))
        return left

    def unary(self, scope: dict[str, Json]) -> Json:
        if self.skip("!"):
            return not self.unary(scope)
        if self.skip("-"):
            return -self.unary(scope)
        if self.skip("typeof"):
            return kind(self.unary(scope))
        value = self.primary(scope)
        while self.peek() in {".", "["}:
            value = self.member(value, scope)
        return value

    def member(self, value: Json, scope: dict[str, Json]) -> Json:
        if self.skip("."):
            name: Json = self.take()
        else:
            [name] = self.items(scope, "[", "]")
        if name == "length":
            return None if value is None else len(value)
        if isinstance(value, list):
            return value[int(name)] if int(name) < len(value) else None
        return value.get(name) if isinstance(value, dict) else None

    def primary(self, scope: dict[str, Json]) -> Json:
        token = self.peek()
        if token == "[":
            return self.items(scope, "[", "]")
        if token == "{":
            return self.object(scope)
        self.take()
        if token == "(":
            value = self.value(scope)
            self.expect(")")
            return value
        if token[:1] in {'"', "'"}:
            return json.loads('"' + token[1:-1].replace('"', '\\"') + '"')
        if token[:1].isdigit():
            return json.loads(token)
        constants: dict[str, Json] = {"null": None, "undefined": None, "true": True, "false": False}
        if token in constants:
            return constants[token]
        if token not in scope:
            self.refuse(f"name {token!r}")
        return scope[token]

    def object(self, scope: dict[str, Json]) -> Json:
        self.expect("{")
        found = {}
        while not self.skip("}"):
            name = self.take().strip("\"'")
            self.expect(":")
            found[name] = self.value(scope)
            self.skip(",")
        return found


def kind(value: Json) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "undefined"}
    return names.get(type(value), "object")


def apply(sign: str, left: Json, right: Json) -> Json:
    match sign:
        case "||":
            return left or right
        case "&&":
            return left and right
        case "===" | "==":
            return left == right
        case "!==" | "!=":
            return left != right
    if left is None or right is None:
        return None  # undefined in a comparison is false, in a sum NaN
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[sign]
