"""Enrolment, functional ids and relying parties, without HTTP: one transaction per operation."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from sandroad.clock import Clock
from sandroad.problems import NotFound
from sandroad.storage import Database
from services.identity import store
from services.identity.domain import (
    Individual,
    IndividualDiffers,
    RelyingParty,
    UnknownIndividual,
    individual_id_of,
    is_functional_id,
    is_individual_id,
)
from services.identity.tokens import InvalidPublicKey, read_public_key


class RegistrationRefused(Exception):
    """A relying party breaks rules: pairs of GovStack's errorCode and what is wrong."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__(errors[0][1])
        self.errors = list(errors)


class Enrolment:
    """Who is known here."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def enrol(self, person: Individual, *, update: bool) -> bool:
        """Enrol or update one person; True if they are new. The same again changes nothing."""
        enrolled_at = self._clock().isoformat()
        with self._database.begin() as connection:
            known = store.find_individual(connection, person.individual_id)
            if known is None:
                if update:
                    raise UnknownIndividual("nobody is enrolled with this number; process NEW enrols")
                store.add_individuals(connection, [person], enrolled_at)
                return True
            if known.fingerprint != person.fingerprint:
                if not update:
                    raise IndividualDiffers("enrolled with other data; process UPDATE changes them")
                store.change_individual(connection, person)
        return False

    def enrol_batch(self, persons: Sequence[Individual]) -> list[dict[str, str]]:
        """Enrol many; one result per person: enrolled, unchanged, or why not."""
        results, enrolled_at = [], self._clock().isoformat()
        with self._database.begin() as connection:
            known = store.find_individuals(connection, {each.individual_id for each in persons})
            added: dict[str, Individual] = {}
            for person in persons:
                number = person.individual_id
                same = known.get(number) or added.get(number)
                if same is None:
                    added[number] = person
                    results.append({"individualId": number, "status": "enrolled"})
                elif same.fingerprint == person.fingerprint:
                    results.append({"individualId": number, "status": "unchanged"})
                else:
                    error = "individual_differs" if number in known else "appears_twice"
                    results.append({"individualId": number, "error": error})
            store.add_individuals(connection, added.values(), enrolled_at)
        return results

    def everybody(self) -> Iterable[Mapping[str, Any]]:
        """Yield everybody, for the steward's consistency check."""
        with self._database.read() as connection:
            for each in store.all_individuals(connection):
                kept = {key: each.claims.get(key) for key in ("birthdate", "gender", "phone_number", "email")}
                yield {"individual_id": each.individual_id, "name": each.name, **kept}


class FunctionalIds:
    """Numbers that stand for a person within one programme."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def request(self, programme: str, rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """Return the functional ids of a programme's own list, made where missing."""
        numbers = [individual_id_of(row["individualId"]) for row in rows]
        with self._database.begin() as connection:
            known = store.find_individuals(connection, {number for number in numbers if is_individual_id(number)})
            ids = store.functional_ids_of(connection, programme, [number for number in numbers if number in known])
        return [
            {"reference": row["reference"], "functionalId": ids[number]}
            if number in ids
            else {"reference": row["reference"], "error": "unknown_individual"}
            for row, number in zip(rows, numbers, strict=True)
        ]

    def resolve(self, ids: Sequence[str]) -> list[dict[str, str]]:
        """Return the persons behind functional ids."""
        well_formed = {each for each in ids if is_functional_id(each)}
        with self._database.read() as connection:
            found = store.individuals_behind(connection, well_formed)
        results = []
        for each in ids:
            if each in found:
                results.append({"functionalId": each, "individualId": found[each]})
            else:
                error = "unknown_functional_id" if each in well_formed else "malformed_functional_id"
                results.append({"functionalId": each, "error": error})
        return results

    def everything(self) -> Iterable[Mapping[str, str]]:
        """Yield every functional id with its person."""
        with self._database.read() as connection:
            yield from store.all_functional_ids(connection)


class RelyingParties:
    """Who may ask people to log in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, party: RelyingParty) -> None:
        """Register a relying party; the same again changes nothing."""
        errors = list(_broken_rules(party))
        try:
            read_public_key(party.public_key)
        except InvalidPublicKey as refusal:
            errors.append(("invalid_public_key", refusal.detail))
        _refuse(errors)
        with self._database.begin() as connection:
            known = store.find_party(connection, party.client_id)
            if known is None:
                store.put_party(connection, party)
            elif replace(known, active=True) != party:
                _refuse([("duplicate_client_id", f"{party.client_id} is registered with other details: use PUT")])

    def update(self, client_id: str, changed: Mapping[str, Any]) -> None:
        """Change a relying party; its id, its group and its key stay."""
        with self._database.begin() as connection:
            known = store.find_party(connection, client_id)
            if known is None:
                raise RegistrationRefused([("invalid_client_id", f"{client_id} is not registered")])
            party = replace(known, **changed)
            _refuse(list(_broken_rules(party)))
            store.put_party(connection, party)

    def find(self, client_id: str) -> RelyingParty:
        """Return a relying party; raise ``NotFound``."""
        with self._database.read() as connection:
            party = store.find_party(connection, client_id)
        if party is None:
            raise NotFound("no such relying party")
        return party


def _refuse(errors: list[tuple[str, str]]) -> None:
    if errors:
        raise RegistrationRefused(errors)


def _broken_rules(party: RelyingParty) -> Iterable[tuple[str, str]]:
    """Yield what the contract's schema cannot say."""
    for uri in party.redirect_uris:
        if wrong := _wrong_with(uri):
            yield "invalid_redirect_uri", f"{uri[:100]}: {wrong}"
    if urlsplit(party.logo_uri).scheme not in ("https", "http"):
        yield "invalid_uri", "logoUri is an http or https URL"
    if party.userinfo_encryption and party.public_key.get("kty") != "RSA":
        yield "invalid_public_key", "userinfo can be encrypted for an RSA key only"


def _wrong_with(uri: str) -> str:
    """Return what makes a redirect URI unsafe, '' if nothing does (RFC 9700 §2.1, §4.1)."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "is not a URL"
    if not host or any(ord(character) <= 32 or character in "\\*" for character in uri):
        return "is not an absolute URL without wildcards"
    if parts.fragment or "#" in uri:
        return "has a fragment"
    if parts.username is not None:
        return "contains a user name"
    if parts.scheme == "http" and _is_this_machine(host):
        return ""
    return "" if parts.scheme == "https" else "is neither https nor http on this machine"


def _is_this_machine(host: str) -> bool:
    """Tell whether a host is this machine: an address, for a name that merely begins with 127. can be anybody's."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
