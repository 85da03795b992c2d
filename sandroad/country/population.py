"""The one generator of the country's people: from recipe, seed and size always the same persons, for every block.

Nothing here knows a block: it yields *datasets* (rows as plain objects), and ``seed.yaml`` says which block gets which.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sandroad.country.recipe import Recipe, national_id

FIRST_GENERATED = 100_000_000
INFORMAL_ROLES = ("child", "other")


def dataset_names(recipe: Mapping[str, Any]) -> list[str]:
    """Return the names of the datasets that a recipe gives."""
    return ["population", "individuals", "tax", "land", *(f"accounts/{code}" for code in recipe["institutions"])]


@dataclass
class Person:
    """One person, as all blocks know it."""

    number: int
    individual_id: str
    id_type: str
    given: str
    family: str
    gender: str
    birth_date: str
    phone: str
    village: str
    household: str
    role: str
    email: str = ""
    username: str = ""
    language: str = "en"
    tax: str = "low"
    hectares: float = 0.0
    address: str = ""
    further_address: str = ""
    account: Mapping[str, Any] = field(default_factory=dict)
    alive: bool = True
    death_date: str = ""

    @property
    def name(self) -> str:
        """Given and family name, as accounts bear it."""
        return f"{self.given} {self.family}"


class Population:
    """``size`` persons: first the planted ones (all of them, also if they are more), then households until the size is reached."""

    def __init__(self, recipe: Recipe, size: int) -> None:
        self._recipe = recipe
        self._random = random.Random(f"{recipe.seed}:{size}")
        self._today = date.fromisoformat(str(recipe.data["reference_date"]))
        self._places = {
            village: (region["name"], district["name"])
            for region in recipe.data["regions"]
            for district in region["districts"]
            for village in district["villages"]
        }
        self.persons: list[Person] = list(self._planted())
        self._planted_villages = list(self._places)
        self._fill(size)
        self._households: dict[str, list[Person]] = {}
        for person in self.persons:
            self._households.setdefault(person.household, []).append(person)

    def datasets(self) -> dict[str, Iterator[dict[str, Any]]]:
        """Return every dataset by name; each is to be read once."""
        found = {
            "population": self._population(),
            "individuals": self._individuals(),
            "tax": self._tax(),
            "land": self._land(),
        }
        for code in self._recipe.data["institutions"]:
            found[f"accounts/{code}"] = self._accounts(code)
        return found

    def _planted(self) -> Iterator[Person]:
        number = 0
        taken: set[str] = set()
        for entry in self._recipe.planted:
            if not entry.get("registered", True):
                continue
            number += 1
            role = entry.get("role") or ("spouse" if entry["household"] in taken else "head")
            taken.add(entry["household"])
            yield Person(
                number, entry["individual_id"], entry.get("id_type", "national-id"), entry["name"]["given"], entry["name"]["family"],
                entry["gender"], entry["birth_date"], entry["phone"], entry["village"], entry["household"], role,
                entry.get("email", ""), entry.get("username", ""), "en", entry.get("tax", "low"), float(entry.get("land_ha", 0)),
                entry.get("address", ""), entry.get("mended_address", ""), entry.get("account", {}), entry.get("alive", True),
                entry.get("death_date", ""),
            )  # fmt: skip
            for member in entry.get("members", ()):
                number += 1
                yield Person(
                    number, "", "none", member["given"], member["family"], member.get("gender", "female"), str(member["birth_date"]),
                    "", entry["village"], entry["household"], member["role"],
                )  # fmt: skip

    def _fill(self, size: int) -> None:
        household = 0
        while len(self.persons) < size:
            household += 1
            for person in self._household(f"H{household:06d}"):
                if len(self.persons) < size:
                    self.persons.append(person)

    def _household(self, identity: str) -> Iterator[Person]:
        draw, data = self._random, self._recipe.data
        village = draw.choice(self._planted_villages)
        family = draw.choice(data["names"]["family"])
        woman = draw.random() < data.get("headed_by_women", 0.3)
        head_age = min(88, max(19, int(draw.gauss(44, 13))))
        yield self._person(identity, village, family, "female" if woman else "male", head_age, "head")
        if draw.random() < (0.25 if woman else 0.85):
            spouse_age = max(18, head_age + draw.randint(-6, 4))
            yield self._person(identity, village, family, "male" if woman else "female", spouse_age, "spouse")
        for _ in range(draw.choice(data.get("children_per_household", [2])) if head_age < 62 else draw.randint(0, 2)):
            child_age = draw.randint(0, max(0, min(26, head_age - 18)))
            yield self._person(identity, village, family, draw.choice(["female", "male"]), child_age, "child")
        if draw.random() < data.get("grandparent_share", 0.15):
            yield self._person(
                identity, village, family, draw.choice(["female", "male"]), draw.randint(60, 89), "other"
            )

    def _person(self, household: str, village: str, family: str, gender: str, age: int, role: str) -> Person:
        draw, data = self._random, self._recipe.data
        number = len(self.persons) + 1
        adult = age >= 18
        has_id = not adult or draw.random() >= data.get("adults_without_national_id", 0.06)
        person = Person(
            number,
            national_id(self._recipe.prefix, FIRST_GENERATED + number * 7) if has_id else f"DOC-{number:08d}",
            "national-id" if has_id else "other",
            draw.choice(data["names"][gender]),
            family,
            gender,
            (self._birthday(age) - timedelta(days=draw.randint(0, 364))).isoformat(),
            f"{data['phone_prefix']}{number:07d}" if adult else "",
            village,
            household,
            role,
            language=_weighted(draw, data.get("languages", {"en": 1.0})),
        )
        if adult:
            person.tax = _weighted(draw, data["tax_bands"])
            if draw.random() < data["landholders"]["share"]:
                person.hectares = draw.choice(data["landholders"]["hectares"])
            if draw.random() >= data.get("adults_without_account", 0.22):
                person.address = self._address(person)
        return person

    def _birthday(self, age: int) -> date:
        """Return the latest day of birth of somebody who is ``age`` years old today, leap years counted."""
        return date(self._today.year - age, self._today.month, min(self._today.day, 28))

    def _address(self, person: Person) -> str:
        """Return a financial address: a telephone number at a mobile-money operator, ten digits elsewhere."""
        institutions = self._recipe.data["institutions"]
        code = _weighted(self._random, {code: entry["share"] for code, entry in institutions.items()})
        account = person.phone if institutions[code]["kind"] == "mobile-money" else f"01{person.number:08d}"
        return f"{code}:{account}"

    def _population(self) -> Iterator[dict[str, Any]]:
        for person in self.persons:
            region, district = self._places[person.village]
            household = self._households[person.household]
            row: dict[str, Any] = {
                "id": f"P{person.number:07d}",
                "idType": person.id_type,
                "firstName": person.given,
                "lastName": person.family,
                "birthDate": person.birth_date,
                "gender": person.gender,
                "region": region,
                "district": district,
                "municipality": district,
                "village": person.village,
                "alive": person.alive,
                "householdId": person.household,
                "householdRole": person.role,
                "household": {
                    "id": person.household,
                    "role": person.role,
                    "size": len(household),
                    "members": [_as_member(member) for member in household],
                },
            }
            optional = {"individualId": person.individual_id, "phone": person.phone, "deathDate": person.death_date}
            yield row | {key: value for key, value in optional.items() if value}

    def _individuals(self) -> Iterator[dict[str, Any]]:
        """Everybody with a document: identity knows nobody else."""
        for person in self.persons:
            if not person.individual_id:
                continue
            row: dict[str, Any] = {
                "individualId": person.individual_id,
                "documentType": person.id_type,
                "name": {"given_name": person.given, "family_name": person.family},
                "birthdate": person.birth_date,
                "gender": person.gender,
                "locale": person.language,
                "address": {
                    "locality": person.village,
                    "region": self._places[person.village][0],
                    "country": self._recipe.prefix,
                },
            }
            optional = {"phone_number": person.phone, "email": person.email, "preferred_username": person.username}
            yield row | {key: value for key, value in optional.items() if value}

    def _tax(self) -> Iterator[dict[str, Any]]:
        for person in self._adults():
            yield {"individualId": person.individual_id, "incomeBand": person.tax, "year": self._today.year - 1}

    def _land(self) -> Iterator[dict[str, Any]]:
        for person in self._adults():
            if person.hectares:
                letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
                parcel = f"{letters[person.number % 23]}{letters[person.number // 23 % 23]}-{person.number % 10000:04d}"
                yield {"individualId": person.individual_id, "parcel": parcel, "hectares": person.hectares}

    def _adults(self) -> Iterator[Person]:
        for person in self.persons:
            if person.individual_id and person.role not in INFORMAL_ROLES:
                yield person

    def _accounts(self, code: str) -> Iterator[dict[str, Any]]:
        for funding in self._recipe.data.get("funding", ()):
            if funding["institution"] == code:
                yield {"account": funding["account"], "holderName": funding["holder"], "balance": funding["balance"]}
        opened: set[str] = set()
        for person in self.persons:
            for address, special in ((person.address, person.account), (person.further_address, {})):
                institution, _, account = address.partition(":")
                if institution != code or account in opened:
                    continue
                opened.add(account)
                row = {
                    "account": account,
                    "holderName": special.get("holder", person.name),
                    "holderReference": person.individual_id,
                }
                if "behaviour" in special:
                    row["behaviour"] = special["behaviour"]
                if "behaviour_seconds" in special:
                    row["behaviourSeconds"] = special["behaviour_seconds"]
                yield row


def _as_member(person: Person) -> dict[str, str]:
    return {
        "firstName": person.given,
        "lastName": person.family,
        "birthDate": person.birth_date,
        "gender": person.gender,
        "role": person.role,
    }


def _weighted(draw: random.Random, shares: Mapping[str, float]) -> str:
    names: Sequence[str] = list(shares)
    return draw.choices(names, weights=[shares[name] for name in names])[0]
