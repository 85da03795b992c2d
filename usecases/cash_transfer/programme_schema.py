"""The form of a programme file, as a JSON schema; what a schema cannot see is checked in ``programme``."""

from typing import Any

# Each letter, and what its text may mention.
LETTERS: dict[str, frozenset[str]] = {
    "opened": frozenset({"case", "programme"}),
    "granted": frozenset({"case", "programme", "package", "amount", "months", "reason"}),
    "refused": frozenset({"case", "programme", "reason", "appeal"}),
    "enrolled": frozenset({"programme"}),
    "paid": frozenset({"programme", "amount", "cycle"}),
    "failed": frozenset({"programme", "amount", "cycle"}),
}

TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 300}
NAME: dict[str, Any] = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,39}$"}
AMOUNT: dict[str, Any] = {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]+)?$"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": {**required, **(optional or {})},
    }


CONDITION: dict[str, Any] = {"attribute": TEXT, "op": TEXT, "value": {"type": ["boolean", "number", "string"]}}
RULE: dict[str, Any] = {
    **_object(
        {"id": TEXT, "title": TEXT, "band": TEXT},
        {
            "all": {"type": "array", "minItems": 1, "items": _object(CONDITION)},
            "score": _object(
                {
                    "weights": {
                        "type": "object",
                        "minProperties": 1,
                        "additionalProperties": {"type": "number"},
                    },
                    "cutoff": {"type": "number"},
                }
            ),
        },
    ),
    "anyOf": [{"required": ["all"]}, {"required": ["score"]}],
}

SCHEMA: dict[str, Any] = _object(
    {
        "programme": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{2}$"},
        "name": TEXT,
        "version": TEXT,
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "data_agreement": TEXT,
        "payer": {"type": "string", "pattern": "^[A-Z0-9]{12}$"},
        "officers": {
            "type": "array",
            "minItems": 2,
            "items": _object(
                {
                    "email": {"type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$"},
                    "roles": {
                        "type": "array",
                        "minItems": 1,
                        "uniqueItems": True,
                        "items": {"enum": ["registration", "payment", "approval"]},
                    },
                }
            ),
        },
        "visit": {
            "type": "object",
            "propertyNames": NAME,
            "additionalProperties": _object({"ask": TEXT, "kind": {"enum": ["yes-no", "number"]}}),
        },
        "questions": {
            "type": "array",
            "items": _object(
                {
                    "id": NAME,
                    "registry": {"enum": ["population", "tax", "land"]},
                    "title": TEXT,
                    "content": {"type": "object", "minProperties": 1},
                },
                {"must_be": {"type": "boolean"}},
            ),
        },
        "eligibility": _object(
            {"rules": {"type": "array", "minItems": 1, "items": RULE}},
            {"exclude": {"type": "array", "items": _object({"id": TEXT, **CONDITION, "reason": TEXT})}},
        ),
        "packages": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": _object(
                {"band": TEXT, "title": TEXT, "amount": AMOUNT},
                {"per_child": AMOUNT, "max_children": {"type": "integer", "minimum": 0, "maximum": 20}},
            ),
        },
        "cycle": _object(
            {
                "every_months": {"type": "integer", "minimum": 1, "maximum": 12},
                "day": {"type": "integer", "minimum": 1, "maximum": 28},
            }
        ),
        "modalities": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"enum": ["00", "01", "02", "03", "04"]},
        },
        "approval": _object({"batch": {"enum": ["four-eyes"]}}),
        "retries": {"type": "integer", "minimum": 0, "maximum": 9},
        "letters": _object({"sender": TEXT, **dict.fromkeys(LETTERS, TEXT)}),
    }
)
