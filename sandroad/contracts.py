"""A contract (an OpenAPI 3.1 file) that an app is held to: one compiled validator per operation, on the hot path too."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from flask import Request, g
from jsonschema_rs import Draft202012Validator

from sandroad.problems import Error, InvalidRequest, UnsupportedMediaType

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
MOST_ERRORS = 20


class ContractBroken(Error):
    """The contract file is unusable, or an answer of ours breaks it."""


@dataclass(frozen=True)
class Parameter:
    """One path, query or header parameter."""

    name: str
    where: str
    required: bool
    schema: Mapping[str, Any]
    validator: Draft202012Validator

    def read(self, texts: list[str]) -> Any:
        """Return the value that ``texts`` (as they came over HTTP) stand for by the schema's type."""
        if self.schema.get("type") == "array":
            items = self.schema.get("items", {})
            parts = [part for text in texts for part in text.split(",")] if self.where != "header" else texts
            return [_typed(part, items.get("type")) for part in parts]
        return _typed(texts[-1], self.schema.get("type"))


@dataclass
class Operation:
    """One operation of a contract; ``rule`` is its Flask URL rule, ``is_open`` that anybody may call (``security: []``)."""

    operation_id: str
    method: str
    path: str
    is_open: bool
    parameters: list[Parameter]
    body_required: bool
    body_types: dict[str, Draft202012Validator | None]
    responses: dict[str, dict[str, Draft202012Validator | None]]

    @cached_property
    def rule(self) -> str:
        """The URL rule, with path parameters in snake_case: ``/data/<registry_name>``."""
        return re.sub(r"\{([^}]+)\}", lambda match: f"<{snake_case(match[1])}>", self.path)

    def read_request(self, incoming: Request, path_values: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Return (parameters by their contract name, parsed body or raw bytes or None); raise ``InvalidRequest``."""
        errors: list[dict[str, str]] = []
        values = dict(self._parameters(incoming, path_values, errors))
        body = self._body(incoming, errors)
        if errors:
            first = errors[0]
            raise InvalidRequest(f"{first['where']} {first['at']}: {first['what']}".strip(), errors)
        return values, body

    def check_response(self, status: int, content_type: str, payload: bytes) -> None:
        """Raise ``ContractBroken`` unless the contract documents this answer."""
        named = (str(status), f"{status // 100}XX", "default")
        documented = next((self.responses[name] for name in named if name in self.responses), None)
        if documented is None:
            raise ContractBroken(f"{self.operation_id} answered {status}, which its contract does not document")
        media_type = content_type.split(";")[0].strip()
        if not documented or not payload:
            return
        if media_type not in documented:
            raise ContractBroken(
                f"{self.operation_id} answered {status} as {media_type}, documented: {', '.join(documented)}"
            )
        validator = documented[media_type]
        if validator is not None:
            for error in validator.iter_errors(json.loads(payload)):
                raise ContractBroken(f"{self.operation_id} {status} at {pointer(error.instance_path)}: {error.message}")

    def _parameters(
        self, incoming: Request, path_values: Mapping[str, Any], errors: list[dict[str, str]]
    ) -> Iterator[tuple[str, Any]]:
        for parameter in self.parameters:
            if parameter.where == "path":
                texts = [str(path_values[snake_case(parameter.name)])]
            elif parameter.where == "query":
                texts = incoming.args.getlist(parameter.name)
            else:
                texts = [text for text in [incoming.headers.get(parameter.name)] if text is not None]
            if not texts:
                if parameter.required:
                    errors.append({"where": parameter.where, "at": parameter.name, "what": "is missing"})
                continue
            value = parameter.read(texts)
            for error in parameter.validator.iter_errors(value):
                errors.append({"where": parameter.where, "at": parameter.name, "what": error.message[:300]})
                break
            else:
                yield parameter.name, value

    def _body(self, incoming: Request, errors: list[dict[str, str]]) -> Any:
        if not self.body_types:
            return None
        raw = incoming.get_data(cache=True)
        if not raw:
            if self.body_required:
                errors.append({"where": "body", "at": "", "what": "is missing"})
            return None
        media_type = incoming.mimetype or "application/json"
        if media_type not in self.body_types:
            raise UnsupportedMediaType(f"send the body as {' or '.join(self.body_types)}, not as {media_type[:60]}")
        if not media_type.endswith("json"):
            return raw
        try:
            body = parse_json(raw)
        except ValueError as defect:
            errors.append({"where": "body", "at": "", "what": f"is not JSON in UTF-8: {defect}"})
            return None
        validator = self.body_types[media_type]
        if validator is not None:
            for error in validator.iter_errors(body):
                errors.append({"where": "body", "at": pointer(error.instance_path), "what": _shortened(error.message)})
                if len(errors) >= MOST_ERRORS:
                    break
        return body


class Contract:
    """All operations of one OpenAPI file, by ``operationId``."""

    def __init__(self, document: Mapping[str, Any], source: str = "contract") -> None:
        self.document = document
        self.source = source
        if not str(document.get("openapi", "")).startswith("3.1"):
            raise ContractBroken(f"{source}: contracts are written in OpenAPI 3.1")
        self.operations: dict[str, Operation] = {}
        for path, item in document.get("paths", {}).items():
            for method in METHODS:
                if method in item:
                    operation = self._operation(path, method, item[method], item.get("parameters", []))
                    if operation.operation_id in self.operations:
                        raise ContractBroken(f"{source}: operationId {operation.operation_id} appears twice")
                    self.operations[operation.operation_id] = operation

    @classmethod
    def load(cls, path: Path) -> "Contract":
        """Read a contract file; a file is read and compiled once in a process (and those forked from it)."""
        return _loaded(path)

    def schema(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        """Compile a schema of this document; ``$ref``s into ``#/components/schemas`` work.

        Only the schemas that are needed go along: compiling all of them for each operation costs seconds and megabytes.
        """
        return Draft202012Validator({**schema, **self._components_of(schema)}, validate_formats=True)

    def _components_of(self, schema: Any) -> dict[str, Any]:
        known = self.document.get("components", {}).get("schemas", {})
        needed: dict[str, Any] = {}
        waiting = [schema]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Mapping):
                name = str(node.get("$ref", "")).removeprefix("#/components/schemas/")
                if name in known and name not in needed:
                    needed[name] = known[name]
                    waiting.append(known[name])
                waiting.extend(node.values())
            elif isinstance(node, list):
                waiting.extend(node)
        return {"components": {"schemas": needed}} if needed else {}

    def resolve(self, node: Any) -> Any:
        """Follow ``$ref`` for parameters, bodies and responses."""
        while isinstance(node, Mapping) and "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def _operation(self, path: str, method: str, node: Mapping[str, Any], shared: list[Any]) -> Operation:
        operation_id = node.get("operationId")
        if not operation_id:
            raise ContractBroken(f"{self.source}: {method.upper()} {path} has no operationId")
        body = self.resolve(node.get("requestBody", {}))
        return Operation(
            operation_id=operation_id,
            method=method.upper(),
            path=path,
            is_open=node.get("security", None) == [],
            parameters=[self._parameter(self.resolve(each)) for each in [*shared, *node.get("parameters", [])]],
            body_required=bool(body.get("required", False)),
            body_types={kind: self._media(media) for kind, media in body.get("content", {}).items()},
            responses={
                str(status): {k: self._media(m) for k, m in self.resolve(response).get("content", {}).items()}
                for status, response in node.get("responses", {}).items()
            },
        )

    def _media(self, media: Mapping[str, Any]) -> Draft202012Validator | None:
        return self.schema(media["schema"]) if "schema" in media else None

    def _parameter(self, node: Mapping[str, Any]) -> Parameter:
        schema = self.resolve(node.get("schema", {}))
        return Parameter(node["name"], node["in"], bool(node.get("required")), schema, self.schema(schema))


@cache
def _loaded(path: Path) -> Contract:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Contract(yaml.load(path.read_text(encoding="utf-8"), Loader=loader), f"{path.parent.name}/{path.name}")


class Routes:
    """Functions bound to a contract's operations; paths and methods are the contract's, so they are written once.

    ``render`` answers refusals in the contract's own form (``refusal -> Response``); by default problem+json.
    """

    def __init__(self, contract: Contract, *, prefix: str = "", render: Callable[[Any], Any] | None = None) -> None:
        self.contract = contract
        self.prefix = prefix
        self.render = render
        self.bound: dict[str, Callable[..., Any]] = {}

    def operation(self, operation_id: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Bind the decorated function to an operation; path parameters arrive as snake_case keyword arguments."""
        if operation_id not in self.contract.operations:
            raise ContractBroken(f"{self.contract.source} has no operation {operation_id}")

        def bind(function: Callable[..., Any]) -> Callable[..., Any]:
            self.bound[operation_id] = function
            return function

        return bind

    def unbound(self) -> list[str]:
        """Return the operations of the contract that no function answers."""
        return sorted(self.contract.operations.keys() - self.bound.keys())


def body() -> Any:
    """Return the checked JSON body of the current request (or raw bytes for other media types, None without a body)."""
    return g.body


def parameters() -> dict[str, Any]:
    """Return the checked parameters of the current request, by the contract's names, typed."""
    return g.parameters


def parse_json(raw: bytes) -> Any:
    """Parse JSON strictly: UTF-8, no NaN, no repeated member, no half characters, no NUL, no absurd nesting.

    Raises ``ValueError`` that says why.
    """
    try:
        parsed = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique)
        if b"\\ud" in raw or b"\\uD" in raw:
            _no_lone_surrogates(parsed)
        if b"\\u0000" in raw:
            _no_nul(parsed)
        return parsed
    except UnicodeDecodeError as defect:
        raise ValueError(f"byte {defect.start} is not UTF-8") from defect
    except RecursionError as defect:
        raise ValueError("it is nested too deeply") from defect


def pointer(path: Any) -> str:
    """Return a JSON pointer for a validator's path."""
    return "".join(f"/{part}" for part in path)


def snake_case(name: str) -> str:
    """Return ``registryName`` as ``registry_name``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower())


def _typed(text: str, kind: Any) -> Any:
    if kind == "integer" and re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    if kind == "number" and re.fullmatch(r"[+-]?\d{1,18}(\.\d{1,18})?", text):
        return float(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _no_lone_surrogates(parsed: Any) -> None:
    """Refuse an escaped half of a surrogate pair: it is no character, and nothing can store, hash or sign it (RFC 8259 §8.2)."""
    try:
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as defect:
        raise ValueError("an escaped surrogate stands alone: it is no character") from defect


def _no_nul(parsed: Any) -> None:
    """Refuse U+0000 in a text or a name: PostgreSQL cannot keep it, and C programs stop reading there."""
    waiting = [parsed]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str) and "\0" in each:
            raise ValueError("a text contains the character U+0000")
        waiting.extend([*each, *each.values()] if isinstance(each, dict) else each if isinstance(each, list) else [])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse repeated members: two readers could see two different values, one of them unchecked."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"member {twice[:100]!r} appears twice")
    return found


def _shortened(message: str) -> str:
    return message if len(message) <= 300 else message[:140] + " … " + message[-140:]
