"""Persons, their numbers and the relying parties in the database; a connection is one transaction."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, insert, select, update

from services.identity.domain import Individual, RelyingParty, new_functional_id
from services.identity.tables import functional_ids, individuals, relying_parties, subjects

STEP = 500
# What strangers send as an id is looked at before a database sees it (PostgreSQL takes no NUL).
PRINTABLE = re.compile(r"[!-~]{1,80}")


def find_individuals(connection: Connection, ids: Iterable[str]) -> dict[str, Individual]:
    """Return those of ``ids`` who are enrolled."""
    found = {}
    for part in _parts(list(ids)):
        for row in connection.execute(select(individuals).where(individuals.c.individual_id.in_(part))):
            found[row.individual_id] = _individual(row)
    return found


def find_individual(connection: Connection, individual_id: str) -> Individual | None:
    """Return one person, None if nobody has that number."""
    return find_individuals(connection, [individual_id]).get(individual_id)


def add_individuals(connection: Connection, added: Iterable[Individual], at: str) -> None:
    """Enrol persons who are not enrolled yet."""
    rows = [{**_individual_row(each), "individual_id": each.individual_id, "enrolled_at": at} for each in added]
    if rows:
        connection.execute(insert(individuals), rows)


def change_individual(connection: Connection, changed: Individual) -> None:
    """Replace what is known of an enrolled person."""
    where = individuals.c.individual_id == changed.individual_id
    connection.execute(update(individuals).where(where).values(**_individual_row(changed)))


def all_individuals(connection: Connection) -> Iterator[Individual]:
    """Yield everybody, by number."""
    for row in connection.execute(select(individuals).order_by(individuals.c.individual_id)):
        yield _individual(row)


def functional_ids_of(connection: Connection, programme: str, ids: Iterable[str]) -> dict[str, str]:
    """Return individual id → functional id of enrolled persons; numbers that are missing are made."""
    wanted = list(dict.fromkeys(ids))
    found: dict[str, str] = {}
    for part in _parts(wanted):
        known = select(functional_ids).where(
            functional_ids.c.programme == programme, functional_ids.c.individual_id.in_(part)
        )
        found |= {row.individual_id: row.functional_id for row in connection.execute(known)}
    made = {each: new_functional_id(programme) for each in wanted if each not in found}
    if made:
        rows = [{"functional_id": f, "programme": programme, "individual_id": i} for i, f in made.items()]
        connection.execute(insert(functional_ids), rows)
    return found | made


def individuals_behind(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Return functional id → individual id."""
    found = {}
    for part in _parts(list(ids)):
        for row in connection.execute(select(functional_ids).where(functional_ids.c.functional_id.in_(part))):
            found[row.functional_id] = row.individual_id
    return found


def all_functional_ids(connection: Connection) -> Iterator[Mapping[str, str]]:
    """Yield every functional id with its person, sorted."""
    for row in connection.execute(select(functional_ids).order_by(functional_ids.c.functional_id)):
        yield {"functional_id": row.functional_id, "individual_id": row.individual_id, "programme": row.programme}


def subject_of(connection: Connection, subject_group: str, individual_id: str, new: str) -> str:
    """Return the pairwise ``sub`` of a person for a group of clients; ``new`` becomes it at the first login."""
    where = (subjects.c.subject_group == subject_group, subjects.c.individual_id == individual_id)
    known = connection.execute(select(subjects.c.sub).where(*where)).scalar_one_or_none()
    if known is None:
        connection.execute(insert(subjects).values(subject_group=subject_group, individual_id=individual_id, sub=new))
    return known or new


def find_party(connection: Connection, client_id: str) -> RelyingParty | None:
    """Return a relying party, active or not."""
    if not PRINTABLE.fullmatch(client_id):
        return None
    where = relying_parties.c.client_id == client_id
    row = connection.execute(select(relying_parties).where(where)).one_or_none()
    if row is None:
        return None
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(row.details).items()}
    return RelyingParty(**{**kept, "active": row.active})


def put_party(connection: Connection, party: RelyingParty) -> None:
    """Add or replace a relying party."""
    details = json.dumps({k: v for k, v in asdict(party).items() if k != "active"}, ensure_ascii=False)
    where = relying_parties.c.client_id == party.client_id
    changed = connection.execute(update(relying_parties).where(where).values(details=details, active=party.active))
    if not changed.rowcount:
        connection.execute(
            insert(relying_parties).values(client_id=party.client_id, details=details, active=party.active)
        )


def _individual(row: Any) -> Individual:
    return Individual(row.individual_id, row.document_type, json.loads(row.claims))


def _individual_row(each: Individual) -> dict[str, str]:
    return {
        "document_type": each.document_type,
        "claims": json.dumps(each.claims, ensure_ascii=False),
        "fingerprint": each.fingerprint,
    }


def _parts(ids: list[str]) -> Iterator[list[str]]:
    """Yield ids in parts: databases limit the parameters of one statement."""
    for start in range(0, len(ids), STEP):
        yield ids[start : start + STEP]
