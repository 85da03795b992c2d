"""A registry's schema in GovStack's dialect (4.3), read once and compiled: what content must be, what can be asked, what is shown.

The dialect is JSON Schema with marks: ``primaryKey``, ``readOnly``, ``triggers``, and our extensions ``x-subject``, ``x-secret``,
``x-fulltext``, ``x-searchable`` (``divergences.md``). Pure: dictionaries in, dictionaries out.
"""

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema_rs import Draft202012Validator

from sandroad.contracts import pointer
from services.registry.domain import VIRTUAL_FIELD, ContentInvalid, SchemaInvalid

JSON_TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
NOT_JSON_SCHEMA = ("primaryKey", "readOnly", "triggers", "foreignKeys", "id", "$id", "example", "incrementIndex")
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
LONGEST_KEY = 200
LARGEST_CONTENT = 256 * 1024
LARGEST_NUMBER = 2**53
MOST_ERRORS = 20
WORD = re.compile(r"\w+")
NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Field:
    """One top-level field: ``kind`` is its JSON type (``item_kind`` that of an array's items)."""

    name: str
    kind: str
    format: str = ""
    item_kind: str = ""
    is_secret: bool = False
    is_searchable: bool = False
    is_fulltext: bool = False

    @property
    def asked_kind(self) -> str:
        """The type of a value in a condition."""
        return self.item_kind or self.kind

    @property
    def is_ordered(self) -> bool:
        """Whether more and less mean something: numbers and dates, not amounts or names in text."""
        return self.asked_kind in ("integer", "number") or self.format in ("date", "date-time")


class Schema:
    """One version of a registry's schema."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Read ``document``; raises ``SchemaInvalid`` that names the field and what would be right."""
        self.document = dict(document)
        properties = document["properties"]
        self.fields = {name: _field(name, node) for name, node in properties.items()}
        self.primary_key = _primary_key(properties)
        self.increments = bool(self.primary_key and properties[self.primary_key].get("readOnly"))
        self.key_pattern = _key_pattern(self.primary_key, properties)
        self.subject = document.get("x-subject")
        if self.subject is not None and (self.subject not in self.fields or self.fields[self.subject].kind != "string"):
            raise SchemaInvalid(f"x-subject names {self.subject!r}, which is no field of type string")
        self._nested_secrets = frozenset(_nested_secrets(properties))
        required = document.get("required", [])
        if unknown := sorted(set(required) - self.fields.keys()):
            raise SchemaInvalid(f"required names {unknown[0]!r}, which is no field of the schema")
        self._validator = _validator(document)

    @property
    def keeps_functional_ids(self) -> bool:
        """Whether the registry itself knows persons by functional id, so that nothing has to be resolved."""
        return VIRTUAL_FIELD in self.fields

    def check(self, content: Mapping[str, Any], at: str = "/content") -> str:
        """Return ``content`` as the JSON text that is kept; raise ``ContentInvalid`` that names every failing field."""
        errors = []
        for error in self._validator.iter_errors(content):
            errors.append({"where": "body", "at": at + pointer(error.instance_path), "what": error.message[:300]})
            if len(errors) >= MOST_ERRORS:
                break
        if errors:
            raise ContentInvalid(f"{errors[0]['at']}: {errors[0]['what']}", errors)
        try:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            size = len(text.encode("utf-8"))
        except ValueError as defect:  # UnicodeEncodeError (a lone surrogate) is one
            raise ContentInvalid(f"{at}: a number or character that cannot be kept") from defect
        if size > LARGEST_CONTENT:
            raise ContentInvalid(f"{at}: {size} bytes; a record has at most {LARGEST_CONTENT}")
        if not all(is_storable(leaf) for leaf in _leaves(content)):
            raise ContentInvalid(f"{at}: the character U+0000, or a number beyond 2^53 (write it as a string)")
        return text

    def key_of(self, content: Mapping[str, Any]) -> str | None:
        """Return the value of the primary key as text, None if it is to be made."""
        if self.primary_key is None or self.primary_key not in content:
            return None
        value = content[self.primary_key]
        key = value if isinstance(value, str) else json.dumps(value)
        if not 0 < len(key) <= LONGEST_KEY:
            raise ContentInvalid(f"primary key {self.primary_key}: 1 to {LONGEST_KEY} characters")
        return key

    def subject_of(self, content: Mapping[str, Any]) -> str | None:
        """Return the person that ``content`` concerns."""
        return content.get(self.subject) if self.subject else None

    def index_of(self, content: Mapping[str, Any]) -> set[tuple[str, str]]:
        """Return (field, index value) for all that can be asked of a record."""
        found: set[tuple[str, str]] = set()
        for name, field in self.fields.items():
            value = content.get(name)
            if value is None:
                continue
            if field.is_searchable:
                for each in value if isinstance(value, list) else [value]:
                    text = index_value(each)
                    if len(text) <= LONGEST_KEY:
                        found.add((name, text))
            if field.is_fulltext:
                found.update((fulltext_field(name), word) for word in words(str(value)))
        return found

    def shown(self, content: Mapping[str, Any], allowed: tuple[str, ...] | None, *, to_own: bool) -> dict[str, Any]:
        """Return what of ``content`` a caller may see.

        ``allowed`` is the right's field list (None: all). Other members never see secret fields, nor the subject's id
        wherever it stands, nested too.
        """
        names = [name for name in self.fields if name in content and (allowed is None or name in allowed)]
        if to_own:
            return {name: content[name] for name in names}
        hidden = self._nested_secrets | self._subject_names()
        return {
            name: _without(content[name], hidden)
            for name in names
            if not self.fields[name].is_secret and name not in hidden
        }

    def open_fields(self) -> tuple[str, ...]:
        """Return the fields that another member may ask for by name."""
        return tuple(n for n, f in self.fields.items() if not f.is_secret and n not in self._subject_names())

    def _subject_names(self) -> frozenset[str]:
        """The subject's field, unless it holds the functional id, which is what other members may know."""
        return frozenset({self.subject} - {VIRTUAL_FIELD}) if self.subject else frozenset()


def index_value(value: Any) -> str:
    """Return a value as text whose order is the value's order: numbers as sortable hexadecimal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        bits = struct.unpack(">q", struct.pack(">d", value + 0.0))[0]
        return f"{bits + 2**63 if bits >= 0 else ~bits:016x}"
    return str(value)


def is_storable(value: Any) -> bool:
    """Tell whether a scalar comes back from any database as it was: no U+0000 or lone surrogate, no number beyond 2^53."""
    if isinstance(value, str):
        return NOT_STORABLE.search(value) is None
    if isinstance(value, int | float):
        return abs(value) <= LARGEST_NUMBER
    return True


def fulltext_field(name: str) -> str:
    """Return the name under which a field's words are indexed; no field can bear it."""
    return "~" + name


def words(text: str) -> list[str]:
    """Return the words of a text as they are compared: case folded, at most 100 characters each."""
    return [word[:100] for word in WORD.findall(text.casefold())]


def _field(name: str, node: Mapping[str, Any]) -> Field:
    if not FIELD_NAME.fullmatch(name):
        raise SchemaInvalid(f"field name {name[:100]!r}: letters, digits and _ only, at most 100, not a digit first")
    kinds = node.get("type", "string")
    named = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(named, list) or not named or any(kind not in JSON_TYPES for kind in named):
        raise SchemaInvalid(f"field {name}: type {kinds!r} is none of {', '.join(JSON_TYPES)}")
    main = [kind for kind in named if kind != "null"] or ["null"]
    kind = main[0] if len(main) == 1 else "mixed"
    items = node.get("items", {}) if kind == "array" else {}
    item_kind = items.get("type", "") if isinstance(items, Mapping) else ""
    scalar = (item_kind if kind == "array" else kind) in ("string", "integer", "number", "boolean")
    secret = node.get("x-secret") is True
    return Field(
        name,
        kind,
        format=str(node.get("format", "")),
        item_kind=item_kind if isinstance(item_kind, str) else "",
        is_secret=secret,
        is_searchable=scalar and (node.get("x-searchable", not secret) is True or node.get("primaryKey") is True),
        is_fulltext=node.get("x-fulltext") is True and kind == "string" and not secret,
    )


def _primary_key(properties: Mapping[str, Any]) -> str | None:
    keys = [name for name, node in properties.items() if node.get("primaryKey") is True]
    if len(keys) > 1:
        raise SchemaInvalid(f"two primary keys, {keys[0]} and {keys[1]}; a record has one")
    if keys and properties[keys[0]].get("type", "string") not in ("string", "integer"):
        raise SchemaInvalid(f"primary key {keys[0]}: type is string or integer")
    return keys[0] if keys else None


def _key_pattern(primary_key: str | None, properties: Mapping[str, Any]) -> str:
    """Return how a key is made (``{code}{indexNoByCode}``); refuse triggers that nobody here would carry out."""
    pattern = "{code}{indexNoByCode}"
    for name, node in properties.items():
        triggers = node.get("triggers", [])
        values = [_set_value(trigger) for trigger in triggers] if isinstance(triggers, list) else [""]
        if values and (name != primary_key or any("{indexNoByCode}" not in value for value in values)):
            raise SchemaInvalid(
                f"field {name}: the only trigger carried out here is set-value with {{indexNoByCode}} on the primary key"
            )
        pattern = values[-1] if values else pattern
    return pattern


def _set_value(trigger: Any) -> str:
    """Return the value of a trigger that does nothing but set one, else the empty string."""
    actions = trigger.get("actions") if isinstance(trigger, Mapping) else None
    if not isinstance(actions, list) or len(actions) != 1 or not isinstance(actions[0], Mapping):
        return ""
    return str(actions[0].get("value", "")) if actions[0].get("type") == "set-value" else ""


def _validator(document: Mapping[str, Any]) -> Draft202012Validator:
    plain = _json_schema({"type": "object", **document})
    plain.setdefault("additionalProperties", False)
    try:
        return Draft202012Validator(plain, validate_formats=True)
    except Exception as defect:
        raise SchemaInvalid(f"not a JSON Schema: {str(defect)[:300]}") from defect


def _json_schema(node: Any) -> Any:
    """Return a schema node without the dialect's marks. References are refused: they would be fetched from elsewhere."""
    if isinstance(node, list):
        return [_json_schema(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    found: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("$ref", "$dynamicRef", "$schema"):
            raise SchemaInvalid(f"{key} is not used here: write the schema out")
        if key in NOT_JSON_SCHEMA or key.startswith("x-") or (key == "required" and isinstance(value, bool)):
            continue
        if key in ("properties", "patternProperties", "$defs", "dependentSchemas") and isinstance(value, Mapping):
            found[key] = {name: _json_schema(each) for name, each in value.items()}
        elif key in ("enum", "const", "default", "examples"):
            found[key] = value
        else:
            found[key] = _json_schema(value)
    return found


def _nested_secrets(properties: Mapping[str, Any]) -> Iterator[str]:
    for name, node in properties.items():
        if not isinstance(node, Mapping):
            continue
        if node.get("x-secret") is True:
            yield name
        for inner in (node, node.get("items", {})):
            if isinstance(inner, Mapping) and isinstance(inner.get("properties"), Mapping):
                yield from _nested_secrets(inner["properties"])


def _without(value: Any, hidden: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(each, hidden) for name, each in value.items() if name not in hidden}
    if isinstance(value, list):
        return [_without(each, hidden) for each in value]
    return value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    else:
        yield value
