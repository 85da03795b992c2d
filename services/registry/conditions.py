"""Conditions of a query, read against a schema and a caller's right: which fields may be asked, with values of which type. Pure."""

from collections.abc import Mapping
from typing import Any

from services.registry.domain import (
    FUNCTIONAL_ID,
    VIRTUAL_FIELD,
    Condition,
    FieldNotAllowed,
    QueryInvalid,
)
from services.registry.rights import Access
from services.registry.schema import LONGEST_KEY, Field, Schema, is_storable

OPERATORS = ("=", "!=", ">", ">=", "<", "<=", "in")
MOST_VALUES = 200
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
}


def persons_named(schema: Schema, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the functional id that a query names; raises ``QueryInvalid`` if it is none or the registry knows no persons."""
    value = content.get(VIRTUAL_FIELD)
    if value is None or (schema.keeps_functional_ids and not isinstance(value, str)):
        return ()
    if schema.keeps_functional_ids and schema.subject != VIRTUAL_FIELD:
        return ()
    if schema.subject is None:
        raise QueryInvalid("functionalId: this registry says of no field that it names a person")
    return (checked_functional_id(value),)


def checked_functional_id(value: Any) -> str:
    """Return ``value`` if it has the form of a functional id, else raise ``QueryInvalid``."""
    if not isinstance(value, str) or not FUNCTIONAL_ID.fullmatch(value):
        raise QueryInvalid("functionalId: 20 characters, the programme and the id, such as CT01-ABCDEFGHIJKLMN2")
    return value


def read_conditions(schema: Schema, content: Mapping[str, Any], access: Access) -> list[Condition]:
    """Return the conditions of ``query.content`` but the virtual ``functionalId``.

    A value asks for equality, an object ``{"<": 5}`` compares. Raises ``QueryInvalid`` or ``FieldNotAllowed``.
    """
    found = []
    for name, asked in content.items():
        if name == VIRTUAL_FIELD and not schema.keeps_functional_ids:
            continue
        field = askable(schema, name, access)
        for operator, value in asked.items() if isinstance(asked, dict) else [("=", asked)]:
            found.append(_condition(field, operator, value))
        if asked == {}:
            raise QueryInvalid(f"{name}: no operator; one of {' '.join(OPERATORS)}")
    return found


def read_texts(schema: Schema, texts: Mapping[str, str], access: Access) -> dict[str, Any]:
    """Return ``query.<field>`` parameters as query content, each value of its field's type."""
    found: dict[str, Any] = {}
    for name, text in texts.items():
        if name == VIRTUAL_FIELD and not schema.keeps_functional_ids:
            found[name] = text
        else:
            found[name] = _typed(askable(schema, name, access), text)
    return found


def askable(schema: Schema, name: str, access: Access) -> Field:
    """Return the field if the caller may ask for it."""
    field = schema.fields.get(name)
    known = sorted(schema.fields if access.is_own else schema.open_fields())
    if field is None:
        raise QueryInvalid(f"there is no field {name[:100]!r}; there are: {', '.join(known)}")
    is_open = access.is_own or name in known
    if not is_open or (access.fields is not None and name not in access.fields and name != VIRTUAL_FIELD):
        allowed = known if access.fields is None else access.fields
        raise FieldNotAllowed(f"the right of {access.caller.client} covers {', '.join(allowed)}; not {name}")
    if not field.is_searchable and name != schema.subject:
        raise QueryInvalid(
            f"{name} cannot be asked for: it is secret, not a plain value, or marked x-searchable: false"
        )
    return field


def _condition(field: Field, operator: str, value: Any) -> Condition:
    if operator not in OPERATORS:
        raise QueryInvalid(f"{field.name}: operator {operator[:20]!r} is none of {' '.join(OPERATORS)}")
    if operator in (">", ">=", "<", "<=") and not field.is_ordered:
        raise QueryInvalid(
            f"{field.name}: {operator} needs a number or a date; other texts have no order that means anything"
        )
    if operator == "in":
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_VALUES:
            raise QueryInvalid(f"{field.name}: in takes a list of 1 to {MOST_VALUES} values")
        return Condition(field.name, "in", tuple(_checked(field, each) for each in value))
    return Condition(field.name, operator, _checked(field, value))


def _checked(field: Field, value: Any) -> Any:
    kinds = KINDS[field.asked_kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise QueryInvalid(f"{field.name}: a value of type {field.asked_kind} is asked for")
    if not is_storable(value) or (isinstance(value, str) and len(value) > LONGEST_KEY):
        raise QueryInvalid(f"{field.name}: no text over {LONGEST_KEY} characters, no U+0000, no number beyond 2^53")
    return value


def _typed(field: Field, text: str) -> Any:
    try:
        if field.asked_kind == "integer":
            return int(text[:40])
        if field.asked_kind == "number":
            return float(text[:40])
    except ValueError as defect:
        raise QueryInvalid(f"query.{field.name}: a value of type {field.asked_kind} is asked for") from defect
    if field.asked_kind == "boolean":
        if text not in ("true", "false"):
            raise QueryInvalid(f"query.{field.name}: true or false")
        return text == "true"
    return text
