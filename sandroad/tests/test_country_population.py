"""The generated people: the same everywhere, complete, of plausible shape, and the planted ones among them."""

import hashlib
import json
from collections import Counter
from datetime import date
from functools import cache
from typing import Any

import pytest

from sandroad.country.documents import Document
from sandroad.country.population import Person, Population, dataset_names
from sandroad.country.recipe import Recipe, is_national_id, national_id
from sandroad.testing import ROOT

COUNTRY, SEED = "QZ", 20260101
PLANTED = Document(ROOT / "country" / "planted.yaml").data["people"]
TODAY = date(2026, 1, 1)
SIZES = [50, 71, 72, 100, 777, 2000, 5000]


@cache
def recipe(seed: int = SEED) -> Recipe:
    return Recipe.read(ROOT / "country", COUNTRY, seed)


@cache
def rows(size: int, seed: int = SEED) -> dict[str, list[dict[str, Any]]]:
    return {name: list(dataset) for name, dataset in Population(recipe(seed), size).datasets().items()}


@cache
def persons(size: int) -> list[Person]:
    return Population(recipe(), size).persons


def digest(found: dict[str, list[dict[str, Any]]]) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def age(person: Person) -> int:
    born = date.fromisoformat(person.birth_date)
    return TODAY.year - born.year - ((TODAY.month, TODAY.day) < (born.month, born.day))


@pytest.mark.parametrize("size", SIZES)
def test_the_same_seed_and_size_give_the_same_people(size: int) -> None:
    again = {name: list(dataset) for name, dataset in Population(recipe(), size).datasets().items()}
    assert digest(again) == digest(rows(size))


def test_another_seed_gives_other_people() -> None:
    assert digest(rows(777, SEED + 1)) != digest(rows(777))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_reached_and_the_planted_people_are_always_there(size: int) -> None:
    planted = sum(1 + len(entry.get("members", ())) for entry in PLANTED if entry.get("registered", True))
    assert len(rows(size)["population"]) == max(size, planted)
    known = {row.get("individualId") for row in rows(size)["population"]}
    for entry in PLANTED:
        assert (entry["individual_id"] in known) == entry.get("registered", True), entry["case"]
    names = {(row["firstName"], row["lastName"], row["birthDate"]) for row in rows(size)["population"]}
    for entry in PLANTED:
        for member in entry.get("members", ()):
            assert (member["given"], member["family"], member["birth_date"]) in names


@pytest.mark.parametrize("size", SIZES)
def test_every_row_is_plain_json_of_a_known_dataset(size: int) -> None:
    assert list(rows(size)) == dataset_names(recipe().data)
    assert json.loads(json.dumps(rows(size), allow_nan=False)) == rows(size)


@pytest.mark.parametrize("size", SIZES)
def test_ids_are_unique_and_their_check_digits_right(size: int) -> None:
    everybody = persons(size)
    ids = [person.individual_id for person in everybody if person.individual_id]
    assert len(set(ids)) == len(ids)
    assert all(is_national_id(p.individual_id, COUNTRY) for p in everybody if p.id_type == "national-id")
    assert not any(is_national_id(p.individual_id, COUNTRY) for p in everybody if p.id_type == "other")
    numbers = [row["id"] for row in rows(size)["population"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("size", SIZES)
def test_every_adult_has_a_telephone_of_their_own_but_the_pair_planted_to_share_one(size: int) -> None:
    generated = [person for person in persons(size) if person.household.startswith("H0")]
    assert all(bool(person.phone) == (age(person) >= 18) for person in generated)
    phones = Counter(person.phone for person in persons(size) if person.phone)
    shared = next(entry["phone"] for entry in PLANTED if entry["case"] == "shared-phone")
    assert {phone: count for phone, count in phones.items() if count > 1} == {shared: 2}


@pytest.mark.parametrize("size", SIZES)
def test_every_account_belongs_to_somebody_and_bears_their_name(size: int) -> None:
    holders = {person.individual_id: person for person in persons(size) if person.individual_id}
    funding = {(entry["institution"], entry["account"]) for entry in recipe().data["funding"]}
    renamed = {
        entry["individual_id"]: entry["account"]["holder"] for entry in PLANTED if "holder" in entry.get("account", {})
    }
    addresses = set()
    for name, accounts in rows(size).items():
        institution = name.removeprefix("accounts/")
        if institution == name:
            continue
        for account in accounts:
            addresses.add(f"{institution}:{account['account']}")
            if (institution, account["account"]) in funding:
                continue
            holder = holders[account["holderReference"]]
            assert account["holderName"] == renamed.get(holder.individual_id, holder.name)
        assert len({account["account"] for account in accounts}) == len(accounts)
    assert {person.address for person in persons(size) if person.address} <= addresses


@pytest.mark.parametrize("size", SIZES)
def test_households_are_told_the_same_to_each_of_their_members(size: int) -> None:
    told: dict[str, str] = {}
    for row in rows(size)["population"]:
        household = row["household"]
        assert household["size"] == len(household["members"])
        shared = json.dumps({key: value for key, value in household.items() if key != "role"})
        assert told.setdefault(row["householdId"], shared) == shared
        me = {key: row[key] for key in ("firstName", "lastName", "birthDate", "gender")} | {
            "role": row["householdRole"]
        }
        assert me in household["members"]
    heads = Counter(p.household for p in persons(size) if p.role == "head" and p.household.startswith("H0"))
    generated = {p.household for p in persons(size) if p.household.startswith("H0")}
    assert heads == Counter(generated), "each generated household has one head"


def test_tax_and_land_know_only_people_who_are_there() -> None:
    found = rows(5000)
    known = {row["individualId"] for row in found["individuals"]}
    for name in ("tax", "land"):
        assert {row["individualId"] for row in found[name]} <= known
    assert {row["incomeBand"] for row in found["tax"]} <= set(recipe().data["tax_bands"])
    parcels = [row["parcel"] for row in found["land"]]
    assert len(set(parcels)) == len(parcels)
    assert all(row["hectares"] > 0 for row in found["land"])


def test_the_shape_of_the_population_is_plausible() -> None:
    generated = [person for person in persons(5000) if person.household.startswith("H0")]
    households = len({person.household for person in generated})
    assert 4.2 <= len(generated) / households <= 5.0
    ages = [age(person) for person in generated]
    assert 0.39 <= sum(a < 15 for a in ages) / len(ages) <= 0.45
    assert 0.02 <= sum(a >= 65 for a in ages) / len(ages) <= 0.08
    assert min(ages) >= 0
    assert max(ages) <= 100
    assert all(age(p) >= 18 for p in generated if p.role in ("head", "spouse"))
    women = [p for p in generated if p.role == "head" and p.gender == "female"]
    assert 0.25 <= len(women) / households <= 0.35


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (national_id("QZ", 4), True),
        ("QZ0000000042", True),
        ("QZ0000000043", False),
        ("AA0000000042", False),
        ("QZ000000042", False),
        ("QZ00000000420", False),
        ("QZ٠000000042", False),
        ("QZ-000000042", False),
        ("", False),
    ],
)
def test_a_national_id_has_nine_digits_and_a_check_digit(text: str, right: bool) -> None:
    assert is_national_id(text, "QZ") is right


def test_a_digit_mistaken_or_two_neighbours_exchanged_is_noticed() -> None:
    right = national_id("QZ", 123456789)
    digits = right.removeprefix("QZ")
    wrong = [f"QZ{digits[:i]}{d}{digits[i + 1 :]}" for i in range(10) for d in "0123456789" if d != digits[i]]
    wrong += [f"QZ{digits[:i]}{digits[i + 1]}{digits[i]}{digits[i + 2 :]}" for i in range(9)]
    assert not any(is_national_id(each, "QZ") for each in wrong)
