"""Who plays: the people that the country has planted for stories (``country/planted.yaml``), read and never written here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Person:
    """One planted person, with what an officer would note on the visit and where the household is paid."""

    case: str
    individual_id: str
    name: str
    phone: str
    household: str
    email: str = ""
    address: str = ""
    mended_address: str = ""
    visit: Mapping[str, Any] = field(default_factory=dict)
    children: int = 0


class Cast:
    """The planted people by case."""

    def __init__(self, country: Path) -> None:
        entries = yaml.safe_load((country / "planted.yaml").read_text(encoding="utf-8"))["people"]
        self._people = [_person(entry) for entry in entries]
        self.population: dict[str, Any] = yaml.safe_load((country / "population.yaml").read_text(encoding="utf-8"))

    def all(self, case: str) -> list[Person]:
        """Return everybody planted for a case, in the file's order."""
        return [person for person in self._people if person.case == case]

    def one(self, case: str) -> Person:
        """Return the first person planted for a case."""
        found = self.all(case)
        if not found:
            raise LookupError(f"planted.yaml has nobody for the case {case!r}, which the story needs")
        return found[0]

    def officer(self, emails: Sequence[str]) -> Person:
        """Return the planted officer with the first of these e-mail addresses that anybody has."""
        found = [person for email in emails for person in self.with_email(email)]
        if not found:
            raise LookupError(f"planted.yaml has no officer with the e-mail {', '.join(emails) or '(none)'}")
        return found[0]

    def with_email(self, email: str) -> list[Person]:
        """Return whom the country has planted with this e-mail address: nobody, or one."""
        return [person for person in self._people if person.email.casefold() == email.casefold()]

    def modality(self, address: str) -> str:
        """Return how an address is paid: the kind of its institution."""
        return str(self.population["institutions"][address.split(":")[0]]["kind"])


def _person(entry: Mapping[str, Any]) -> Person:
    name = entry["name"]
    return Person(
        case=entry["case"],
        individual_id=str(entry["individual_id"]),
        name=f"{name['given']} {name['family']}",
        phone=str(entry.get("phone", "")),
        household=str(entry.get("household", "")),
        email=str(entry.get("email", "")),
        address=str(entry.get("address", "")),
        mended_address=str(entry.get("mended_address", "")),
        visit=entry.get("visit", {}),
        children=sum(member.get("role") == "child" for member in entry.get("members", [])),
    )
