"""The recipe of a country's people (``population.yaml``) and those planted on purpose (``planted.yaml``), read and checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandroad.country.documents import CountryError, Document

SHARE = {"type": "number", "minimum": 0, "maximum": 1}
DATE = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}
NAMES = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
RECIPE: dict[str, Any] = {
    "type": "object",
    "required": ["reference_date", "names", "regions", "institutions", "tax_bands", "landholders", "phone_prefix"],
    "additionalProperties": False,
    "properties": {
        "reference_date": {},
        "default_size": {"type": "integer", "minimum": 50},
        "average_household": {"type": "number", "minimum": 1, "maximum": 12},
        "headed_by_women": SHARE,
        "adults_without_national_id": SHARE,
        "adults_without_account": SHARE,
        "children_per_household": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "grandparent_share": SHARE,
        "tax_bands": {"type": "object", "minProperties": 1, "additionalProperties": SHARE},
        "landholders": {
            "type": "object",
            "required": ["share", "hectares"],
            "properties": {"share": SHARE, "hectares": {"type": "array", "minItems": 1, "items": {"type": "number"}}},
        },
        "institutions": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "required": ["app", "kind", "share"],
                "properties": {
                    "app": {"type": "string"},
                    "kind": {"enum": ["bank", "mobile-money", "post-office"]},
                    "share": SHARE,
                },
            },
        },
        "funding": {
            "type": "array",
            "items": {"type": "object", "required": ["institution", "account", "holder", "balance"]},
        },
        "languages": {"type": "object", "additionalProperties": SHARE},
        "phone_prefix": {"type": "string", "pattern": r"^\+[0-9]{2,8}$"},
        "regions": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "districts"],
                "properties": {
                    "districts": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["name", "villages"],
                            "properties": {"villages": NAMES},
                        },
                    }
                },
            },
        },
        "names": {
            "type": "object",
            "required": ["female", "male", "family"],
            "properties": {"female": NAMES, "male": NAMES, "family": NAMES},
        },
    },
}
NAME = {
    "type": "object",
    "required": ["given", "family"],
    "properties": {"given": {"type": "string", "minLength": 1}, "family": {"type": "string", "minLength": 1}},
}
PLANTED: dict[str, Any] = {
    "type": "object",
    "required": ["people"],
    "additionalProperties": False,
    "properties": {
        "people": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["case", "individual_id", "name", "gender", "birth_date", "phone", "village", "household"],
                "additionalProperties": False,
                "properties": {
                    "case": {"type": "string"},
                    "shows": {"type": "string"},
                    "individual_id": {"type": "string", "pattern": "^[A-Z0-9][A-Z0-9-]{3,39}$"},
                    "id_type": {"enum": ["national-id", "other"]},
                    "name": NAME,
                    "gender": {"enum": ["female", "male", "other"]},
                    "birth_date": DATE,
                    "phone": {"type": "string", "pattern": r"^\+[0-9]{5,15}$"},
                    "email": {"type": "string", "pattern": "@"},
                    "username": {"type": "string"},
                    "village": {"type": "string"},
                    "household": {"type": "string"},
                    "role": {"enum": ["head", "spouse", "child", "other"]},
                    "address": {"type": "string", "pattern": r"^[A-Z]+:\S+$"},
                    "mended_address": {"type": "string", "pattern": r"^[A-Z]+:\S+$"},
                    "visit": {"type": "object"},
                    "members": {
                        "type": "array",
                        "items": {"type": "object", "required": ["given", "family", "birth_date", "role"]},
                    },
                    "tax": {"type": "string"},
                    "land_ha": {"type": "number", "minimum": 0},
                    "account": {"type": "object"},
                    "alive": {"type": "boolean"},
                    "death_date": DATE,
                    "moved_to": {"type": "string"},
                    "registered": {"type": "boolean"},
                },
            },
        }
    },
}


@dataclass(frozen=True)
class Recipe:
    """How to make the people of a country; ``planted`` are those with fixed ids."""

    data: Mapping[str, Any]
    planted: tuple[Mapping[str, Any], ...]
    prefix: str
    seed: int

    @classmethod
    def read(cls, folder: Path, prefix: str, seed: int) -> "Recipe":
        """Read both files of a country folder; raise ``CountryError`` naming file and line of each defect."""
        recipe, planted = Document(folder / "population.yaml"), Document(folder / "planted.yaml")
        recipe.check(RECIPE)
        planted.check(PLANTED)
        complaints = [*_complaints(recipe, planted, prefix)]
        if complaints:
            raise CountryError(complaints)
        return cls(recipe.data, tuple(planted.data["people"]), prefix, seed)


def _complaints(recipe: Document, planted: Document, prefix: str) -> Iterator[str]:
    villages = {v for region in recipe.data["regions"] for d in region["districts"] for v in d["villages"]}
    institutions = recipe.data["institutions"]
    if (total := sum(recipe.data["tax_bands"].values())) and abs(total - 1) > 0.001:
        yield recipe.complaint(f"the shares of tax_bands add up to {total}, not to 1", "tax_bands")
    seen: set[str] = set()
    for i, person in enumerate(planted.data["people"]):
        identity = person["individual_id"]
        if identity in seen:
            yield planted.complaint(f"{identity} appears twice", "people", i, "individual_id")
        seen.add(identity)
        if person.get("id_type", "national-id") == "national-id" and not is_national_id(identity, prefix):
            yield planted.complaint(f"{identity}: the check digit is wrong", "people", i, "individual_id")
        if person["village"] not in villages:
            yield planted.complaint(f"no village {person['village']} in population.yaml", "people", i, "village")
        for key in ("address", "mended_address"):
            if key in person and person[key].split(":")[0] not in institutions:
                yield planted.complaint(
                    f"no institution {person[key].split(':')[0]} in population.yaml", "people", i, key
                )


def national_id(prefix: str, number: int) -> str:
    """Return the national id of a number: the country's letters, nine digits, a Luhn check digit (ISO/IEC 7812-1)."""
    digits = f"{number:09d}"
    return f"{prefix}{digits}{_luhn(digits)}"


def is_national_id(text: str, prefix: str) -> bool:
    """Tell whether form and check digit are right."""
    digits = text.removeprefix(prefix)
    return text.startswith(prefix) and len(digits) == 10 and digits.isdigit() and _luhn(digits[:-1]) == digits[-1]


def _luhn(digits: str) -> str:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)
