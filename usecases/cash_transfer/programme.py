"""The programme file: rules, packages, cycle, officers and letters as data, read once and refused by file and line."""

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from sandroad.country.documents import CountryError, Document
from sandroad.money import Money, NotMoney
from usecases.cash_transfer.eligibility import OPERATORS, Condition, Exclusion, Rule, Rules, Score
from usecases.cash_transfer.programme_schema import LETTERS, SCHEMA

# What a case always knows, from the population registry and the business clock; the programme adds its visit and questions.
REGISTRY_ATTRIBUTES = {
    "person.age": "number",
    "person.gender": "text",
    "household.size": "number",
    "household.children": "number",
    "household.children_under_5": "number",
}


@dataclass(frozen=True)
class Officer:
    """Somebody who may decide here. ``email`` is compared without regard to case."""

    email: str
    roles: frozenset[str]


@dataclass(frozen=True)
class VisitItem:
    """One thing that the officer asks or sees. ``kind`` is ``yes-no`` or ``number``."""

    name: str
    ask: str
    kind: str


@dataclass(frozen=True)
class Question:
    """A yes/no question to a registry; ``must_be`` ends the case when the answer differs (None: only a fact for the rules)."""

    id: str
    registry: str
    title: str
    content: Mapping[str, Any]
    must_be: bool | None


@dataclass(frozen=True)
class Package:
    """What a band receives in each cycle."""

    code: str
    band: str
    title: str
    amount: Money
    per_child: Money
    max_children: int

    def amount_for(self, children: int) -> Money:
        """Return the amount of one cycle for a household with so many children."""
        counted = min(max(children, 0), self.max_children)
        return self.amount + Money(self.per_child.amount * counted, self.amount.currency)


@dataclass(frozen=True)
class Programme:
    """One programme as configured."""

    id: str
    name: str
    version: str
    currency: str
    data_agreement: str
    payer: str
    officers: tuple[Officer, ...]
    visit: Mapping[str, VisitItem]
    questions: tuple[Question, ...]
    rules: Rules
    packages: Mapping[str, Package]
    every_months: int
    payday: int
    modalities: Mapping[str, str]
    retries: int
    sender: str
    letters: Mapping[str, str]

    def roles_of(self, email: str) -> frozenset[str]:
        """Return what this e-mail claim may do here; empty for everybody who is not an officer."""
        wanted = email.strip().casefold()
        return next((each.roles for each in self.officers if each.email.casefold() == wanted), frozenset())

    def package_for(self, band: str) -> Package:
        """Return the package of a band; the file was checked to have one for each."""
        return next(each for each in self.packages.values() if each.band == band)

    @property
    def visit_values(self) -> Mapping[str, str]:
        """What each visit item is called and of which kind."""
        return {name: item.kind for name, item in self.visit.items()}


def read_programme(path: Path) -> Programme:
    """Read and check a programme file; raise ``CountryError`` with every complaint as ``CT-01.yaml:12: …``."""
    document = Document(path)
    document.check(SCHEMA)
    complaints = list(_complaints(document))
    if complaints:
        raise CountryError(complaints)
    return _programme(document.data)


def _complaints(document: Document) -> Iterator[str]:
    data = document.data
    kinds = attribute_kinds(data)
    yield from _officer_complaints(document)
    yield from _attribute_name_complaints(document)
    for index, each in enumerate(data["eligibility"].get("exclude", [])):
        yield from _condition_complaints(document, kinds, each, "eligibility", "exclude", index)
    bands = {package["band"] for package in data["packages"].values()}
    seen: set[str] = set()
    for index, rule in enumerate(data["eligibility"]["rules"]):
        place = ("eligibility", "rules", index)
        if rule["id"] in seen:
            yield document.complaint(f"rule id {rule['id']} appears twice; every rule needs an id of its own", *place)
        seen.add(rule["id"])
        if rule["band"] not in bands:
            yield document.complaint(
                f"no package pays band {rule['band']}; packages exist for {_listed(bands)}", *place, "band"
            )
        for number, condition in enumerate(rule.get("all", [])):
            yield from _condition_complaints(document, kinds, condition, *place, "all", number)
        for name in rule.get("score", {}).get("weights", {}):
            if kinds.get(name) not in ("yes-no", "number"):
                yield document.complaint(_unknown_attribute(name, kinds), *place, "score", "weights", name)
    yield from _package_complaints(document)
    yield from _letter_complaints(document)


def _officer_complaints(document: Document) -> Iterator[str]:
    officers = document.data["officers"]
    seen: set[str] = set()
    for index, officer in enumerate(officers):
        if officer["email"].casefold() in seen:
            yield document.complaint(f"officer {officer['email']} appears twice", "officers", index)
        seen.add(officer["email"].casefold())
    for role in ("registration", "payment", "approval"):
        if not any(role in officer["roles"] for officer in officers):
            yield document.complaint(f"no officer has the role {role}; name at least one", "officers")
    approvers = {o["email"].casefold() for o in officers if "approval" in o["roles"]}
    preparers = {o["email"].casefold() for o in officers if "payment" in o["roles"]}
    if approvers == preparers and len(approvers) == 1:
        yield document.complaint(
            "one person alone holds payment and approval: four eyes need a second officer", "officers"
        )


def _attribute_name_complaints(document: Document) -> Iterator[str]:
    visit = document.data["visit"]
    seen: set[str] = set()
    for index, question in enumerate(document.data["questions"]):
        if question["id"] in visit or question["id"] in seen:
            yield document.complaint(
                f"{question['id']} is asked twice; give the question another id", "questions", index, "id"
            )
        seen.add(question["id"])


def _condition_complaints(
    document: Document, kinds: Mapping[str, str], condition: Mapping[str, Any], *place: Any
) -> Iterator[str]:
    name, operator, value = condition["attribute"], condition["op"], condition["value"]
    if name not in kinds:
        yield document.complaint(_unknown_attribute(name, kinds), *place, "attribute")
        return
    if operator not in OPERATORS:
        yield document.complaint(f"operator {operator!r} is unknown; use one of {_listed(OPERATORS)}", *place, "op")
        return
    kind = kinds[name]
    fits = {
        "yes-no": isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "text": isinstance(value, str),
    }[kind]
    if not fits:
        yield document.complaint(f"{name} is compared with {value!r}, but it is {_described(kind)}", *place, "value")
    elif kind != "number" and operator not in ("==", "!="):
        yield document.complaint(f"{name} is {_described(kind)}: only == and != make sense", *place, "op")


def _package_complaints(document: Document) -> Iterator[str]:
    currency = document.data["currency"]
    bands: dict[str, str] = {}
    for code, package in document.data["packages"].items():
        if package["band"] in bands:
            yield document.complaint(
                f"band {package['band']} has two packages, {bands[package['band']]} and {code}",
                "packages", code, "band",
            )  # fmt: skip
        bands[package["band"]] = code
        for key in ("amount", "per_child"):
            if key not in package:
                continue
            try:
                amount = Money.parse(package[key], currency)
            except NotMoney as defect:
                yield document.complaint(f'{key}: {defect}; write it as "900.00"', "packages", code, key)
                continue
            if amount.amount < 0 or (key == "amount" and amount.amount == 0):
                yield document.complaint(f"{key} {package[key]} must be more than zero", "packages", code, key)


def _letter_complaints(document: Document) -> Iterator[str]:
    for kind, allowed in LETTERS.items():
        text = document.data["letters"][kind]
        try:
            used = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        except ValueError as defect:
            yield document.complaint(f"letter {kind}: {defect}", "letters", kind)
            continue
        for name in sorted(used - allowed):
            yield document.complaint(
                f"letter {kind}: {{{name}}} is unknown; there are {_listed(allowed)}", "letters", kind
            )


def attribute_kinds(data: Mapping[str, Any]) -> dict[str, str]:
    """Return every attribute that rules of this file may use, with its kind."""
    return {
        **REGISTRY_ATTRIBUTES,
        **{name: item["kind"] for name, item in data["visit"].items()},
        **{question["id"]: "yes-no" for question in data["questions"]},
    }


def _unknown_attribute(name: str, kinds: Mapping[str, str]) -> str:
    return f"attribute {name!r} is unknown to this programme; known are {_listed(kinds)}"


def _described(kind: str) -> str:
    return {"yes-no": "a yes or no (true, false)", "number": "a number", "text": "a text"}[kind]


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def _programme(data: Mapping[str, Any]) -> Programme:
    currency = data["currency"]
    eligibility = data["eligibility"]
    return Programme(
        id=data["programme"],
        name=data["name"],
        version=data["version"],
        currency=currency,
        data_agreement=data["data_agreement"],
        payer=data["payer"],
        officers=tuple(Officer(each["email"], frozenset(each["roles"])) for each in data["officers"]),
        visit={name: VisitItem(name, item["ask"], item["kind"]) for name, item in data["visit"].items()},
        questions=tuple(
            Question(each["id"], each["registry"], each["title"], each["content"], each.get("must_be"))
            for each in data["questions"]
        ),
        rules=Rules(
            version=data["version"],
            exclusions=tuple(
                Exclusion(each["id"], _condition(each), each["reason"]) for each in eligibility.get("exclude", [])
            ),
            rules=tuple(_rule(each) for each in eligibility["rules"]),
        ),
        packages={code: _package(code, each, currency) for code, each in data["packages"].items()},
        every_months=data["cycle"]["every_months"],
        payday=data["cycle"]["day"],
        modalities=data["modalities"],
        retries=data["retries"],
        sender=data["letters"]["sender"],
        letters={kind: data["letters"][kind] for kind in LETTERS},
    )


def _condition(data: Mapping[str, Any]) -> Condition:
    return Condition(data["attribute"], data["op"], data["value"])


def _rule(data: Mapping[str, Any]) -> Rule:
    score = data.get("score")
    weights = {name: Decimal(str(weight)) for name, weight in score["weights"].items()} if score else {}
    return Rule(
        id=data["id"],
        title=data["title"],
        band=data["band"],
        conditions=tuple(_condition(each) for each in data.get("all", [])),
        score=Score(weights, Decimal(str(score["cutoff"]))) if score else None,
    )


def _package(code: str, data: Mapping[str, Any], currency: str) -> Package:
    return Package(
        code=code,
        band=data["band"],
        title=data["title"],
        amount=Money.parse(data["amount"], currency),
        per_child=Money.parse(data.get("per_child", "0"), currency),
        max_children=data.get("max_children", 0),
    )
