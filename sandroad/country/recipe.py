"""The recipe of a country's people (``population.yaml``) and those planted on purpose (``planted.yaml``), read and checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sandroad.country.documents import CountryError, Document

SHARE = {"type": "number", "minimum": 0, "maximum": 1}
DATE = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$", "description": "a date is YEAR-MONTH-DAY such as 2026-01-31"}
ADDRESS = {
    "type": "string",
    "pattern": r"^[A-Z]+:\S+$",
    "description": "a financial address is INSTITUTION:ACCOUNT such as KITE:+999700000004",
}
SHARES = {"type": "object", "minProperties": 1, "additionalProperties": SHARE}
NAMES = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
RECIPE: dict[str, Any] = {
    "type": "object",
    "required": ["reference_date", "names", "regions", "institutions", "tax_bands", "landholders", "phone_prefix"],
    "additionalProperties": False,
    "properties": {
        "reference_date": DATE,
        "headed_by_women": SHARE,
        "adults_without_national_id": SHARE,
        "adults_without_account": SHARE,
        "children_per_household": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "grandparent_share": SHARE,
        "tax_bands": SHARES,
        "landholders": {
            "type": "object",
            "required": ["share", "hectares"],
            "additionalProperties": False,
            "properties": {
                "share": SHARE,
                "hectares": {"type": "array", "minItems": 1, "items": {"type": "number", "exclusiveMinimum": 0}},
            },
        },
        "institutions": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {
                "pattern": "^[A-Z]+$",
                "description": "an institution's code is capitals, such as HARBOUR",
            },
            "additionalProperties": {
                "type": "object",
                "required": ["app", "kind", "share"],
                "additionalProperties": False,
                "properties": {
                    "app": {"type": "string"},
                    "kind": {"enum": ["bank", "mobile-money", "post-office"]},
                    "share": SHARE,
                },
            },
        },
        "funding": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["institution", "account", "holder", "balance"],
                "additionalProperties": False,
                "properties": {
                    "institution": {"type": "string"},
                    "account": {"type": "string", "minLength": 1},
                    "holder": {"type": "string", "minLength": 1},
                    "balance": {
                        "type": "string",
                        "pattern": r"^\d{1,15}\.\d\d$",
                        "description": 'a balance is text with two decimals, such as "500000.00"',
                    },
                },
            },
        },
        "languages": SHARES,
        "phone_prefix": {"type": "string", "pattern": r"^\+[0-9]{2,8}$"},
        "regions": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "districts"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "districts": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["name", "villages"],
                            "additionalProperties": False,
                            "properties": {"name": {"type": "string", "minLength": 1}, "villages": NAMES},
                        },
                    },
                },
            },
        },
        "names": {
            "type": "object",
            "required": ["female", "male", "family"],
            "additionalProperties": False,
            "properties": {"female": NAMES, "male": NAMES, "family": NAMES},
        },
    },
}
NAME: dict[str, Any] = {
    "type": "object",
    "required": ["given", "family"],
    "additionalProperties": False,
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
                    "address": ADDRESS,
                    "mended_address": ADDRESS,
                    "visit": {"type": "object"},
                    "members": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["given", "family", "birth_date", "role"],
                            "additionalProperties": False,
                            "properties": {
                                **NAME["properties"],
                                "gender": {"enum": ["female", "male", "other"]},
                                "birth_date": DATE,
                                "role": {"enum": ["head", "spouse", "child", "other"]},
                            },
                        },
                    },
                    "tax": {"type": "string"},
                    "land_ha": {"type": "number", "minimum": 0},
                    "account": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "holder": {"type": "string", "minLength": 1},
                            "behaviour": {"type": "string"},
                            "behaviour_seconds": {"type": "integer", "minimum": 0},
                        },
                    },
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
    data, institutions = recipe.data, recipe.data["institutions"]
    if not _is_date(data["reference_date"]):
        yield recipe.complaint(f"{data['reference_date']} is not in the calendar", "reference_date")
    of_institutions = {code: entry["share"] for code, entry in institutions.items()}
    for key, shares in (
        ("tax_bands", data["tax_bands"]),
        ("languages", data.get("languages", {"": 1})),
        ("institutions", of_institutions),
    ):
        total = round(sum(shares.values()), 6)
        if abs(total - 1) > 0.001:
            yield recipe.complaint(f"the shares of {key} add up to {total}, not to 1", key)
    for i, funding in enumerate(data.get("funding", ())):
        if funding["institution"] not in institutions:
            yield recipe.complaint(f"no institution {funding['institution']} here", "funding", i, "institution")
    places: set[str] = set()
    for r, region in enumerate(data["regions"]):
        for d, district in enumerate(region["districts"]):
            for v, village in enumerate(district["villages"]):
                if village in places:
                    yield recipe.complaint(
                        f"the village {village} appears twice", "regions", r, "districts", d, "villages", v
                    )
                places.add(village)
    seen: set[tuple[str, str]] = set()
    for i, person in enumerate(planted.data["people"]):
        yield from (
            planted.complaint(what, "people", i, *where) for what, where in _about(person, data, places, seen, prefix)
        )


Place = tuple[str | int, ...]


def _about(
    person: Mapping[str, Any], recipe: Mapping[str, Any], villages: set[str], seen: set[tuple[str, str]], prefix: str
) -> Iterator[tuple[str, Place]]:
    """Yield what is wrong about one planted person, and where."""
    identity = person["individual_id"]
    for key in ("individual_id", "username", "address", "mended_address"):
        if key in person and (key.removeprefix("mended_"), person[key]) in seen:
            yield f"{person[key]} appears twice", (key,)
        seen.add((key.removeprefix("mended_"), person.get(key, "")))
    if person.get("id_type", "national-id") == "national-id" and not is_national_id(identity, prefix):
        right = national_id(prefix, int(identity[len(prefix) : -1])) if _has_form(identity, prefix) else ""
        wish = (
            f"the check digit is wrong, {right} would be right"
            if right
            else f"a national id is {prefix} and ten digits"
        )
        yield f"{identity}: {wish}", ("individual_id",)
    if person["village"] not in villages:
        yield f"no village {person['village']} in population.yaml", ("village",)
    if person.get("tax", "low") not in recipe["tax_bands"]:
        yield f"no tax band {person.get('tax', 'low')} in population.yaml", ("tax",)
    for key in ("address", "mended_address"):
        if key in person and person[key].split(":")[0] not in recipe["institutions"]:
            yield f"no institution {person[key].split(':')[0]} in population.yaml", (key,)
    dates: list[tuple[str, Place]] = [(person[key], (key,)) for key in ("birth_date", "death_date") if key in person]
    dates += [
        (member["birth_date"], ("members", m, "birth_date")) for m, member in enumerate(person.get("members", ()))
    ]
    for text, where in dates:
        if not _is_date(text):
            yield f"{text} is not in the calendar", where


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def national_id(prefix: str, number: int) -> str:
    """Return the national id of a number: the country's letters, nine digits, a Luhn check digit (ISO/IEC 7812-1)."""
    digits = f"{number:09d}"
    return f"{prefix}{digits}{_luhn(digits)}"


def is_national_id(text: str, prefix: str) -> bool:
    """Tell whether form and check digit are right."""
    return _has_form(text, prefix) and _luhn(text[len(prefix) : -1]) == text[-1]


def _has_form(text: str, prefix: str) -> bool:
    digits = text.removeprefix(prefix)
    return text.startswith(prefix) and len(digits) == 10 and digits.isascii() and digits.isdigit()


def _luhn(digits: str) -> str:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)
