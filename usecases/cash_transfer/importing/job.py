"""Takes a list row by row: 500 at a time, each chunk one transaction, every result told as soon as it is certain."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from usecases.cash_transfer.calls import About
from usecases.cash_transfer.clients import Consent, Identity
from usecases.cash_transfer.domain import Beneficiary
from usecases.cash_transfer.importing.csv_list import Defect, Listed, Row, read_list
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.enrolment import ENROLMENT, Enrolment, name_of
from usecases.cash_transfer.operations.registration import household_of
from usecases.cash_transfer.refusals import DuplicateHousehold, ProviderRefused, ProviderUnavailable
from usecases.cash_transfer.store import Rows

CHUNK = 500
ENROLLED, PENDING, UNCHANGED, REFUSED = "enrolled", "pending-consent", "unchanged", "refused"


@dataclass(frozen=True)
class Found:
    """What others say about a row's person: the functional id, whether they agree, household and name."""

    functional_id: str
    agrees: bool
    household: str
    name: str


class Import:
    """Imports lists."""

    def __init__(self, office: Office, digest_key: bytes) -> None:
        self._office = office
        self._key = digest_key
        self._enrolment = Enrolment(office)
        self._identity = Identity(office.calls, office.config.identity)
        self._consent = Consent(office.calls, office.config.consent)

    def read(self, content: bytes) -> Listed:
        """Read the file; raise ``ListDefective`` before anything is done."""
        return read_list(content, self._office.programme, self._key)

    def run(self, listed: Listed) -> Iterator[bytes]:
        """Yield one JSON line per row, per chunk (progress), and the summary at the end.

        Stops with a line ``stopped`` if another organisation cannot answer: run the file again, what was taken is unchanged.
        """
        counts: Counter[str] = Counter()
        for defect in listed.defects:
            counts[REFUSED] += 1
            yield _line(vars(defect) | {"result": REFUSED})
        total, done = len(listed.rows) + len(listed.defects), len(listed.defects)
        for start in range(0, len(listed.rows), CHUNK):
            chunk = listed.rows[start : start + CHUNK]
            try:
                results = self._take(chunk)
            except (ProviderRefused, ProviderUnavailable) as stopped:
                yield _line({"stopped": stopped.detail, "rows_left": total - done})
                break
            for result in results:
                counts[result["result"]] += 1
                yield _line(result)
            done += len(chunk)
            yield _line({"progress": done, "of": total})
        summary = {name: counts[name] for name in (ENROLLED, PENDING, UNCHANGED, REFUSED)}
        yield _line({"summary": {"rows": total, **summary}})

    def _take(self, chunk: Sequence[Row]) -> list[dict[str, Any]]:
        with self._office.store.read() as rows:
            known = rows.beneficiaries.by_source([row.external_reference for row in chunk])
        results = {
            row.line: result for row in chunk if (result := _known_result(row, known.get(row.external_reference)))
        }
        wanted = [row for row in chunk if row.line not in results]
        if wanted:
            found, refused = self._look_up(wanted)
            results |= refused
            with self._office.store.begin() as rows:
                results |= self._keep(rows, [row for row in wanted if row.line in found], found)
        return [results[row.line] for row in chunk]

    def _look_up(self, wanted: Sequence[Row]) -> tuple[dict[int, Found], dict[int, dict[str, Any]]]:
        """Ask identity, consent and the population registry about rows; return what is known, and who is refused."""
        about = About(import_number(wanted), ENROLMENT, "Exchange national ids for functional ids")
        individuals = {row.external_reference: row.national_id for row in wanted}
        ids = self._identity.functional_ids(self._office.programme.id, individuals, about)
        consenting = [
            ids[r.external_reference] for r in wanted if r.lawful_basis == "consent" and r.external_reference in ids
        ]
        agreeing = self._agreeing(consenting, about)
        records, left_out = self._records(sorted(agreeing), about)
        found: dict[int, Found] = {}
        refused: dict[int, dict[str, Any]] = {}
        for row in wanted:
            functional_id = ids.get(row.external_reference, "")
            record = records.get(functional_id, {})
            if not functional_id:
                refused[row.line] = _refused(row, "national_id", "identity knows nobody by this number")
            elif record.get("alive") is False:
                refused[row.line] = _refused(
                    row, "national_id", "the population registry says that this person has died"
                )
            elif left_out.get(functional_id) == "record_not_found":
                refused[row.line] = _refused(row, "national_id", "the population registry has no record of this person")
            else:
                found[row.line] = Found(
                    functional_id,
                    functional_id in records,
                    household_of(record) or row.household,
                    name_of(record) or row.name,
                )
        return found, refused

    def _agreeing(self, functional_ids: Sequence[str], about: About) -> set[str]:
        if not functional_ids:
            return set()
        asking = replace(about, title="Who of the list has agreed?")
        return self._consent.agreeing(self._office.programme.data_agreement, functional_ids, asking)

    def _records(self, functional_ids: Sequence[str], about: About) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        if not functional_ids:
            return {}, {}
        asking = replace(about, title="Read the records of those who agreed")
        return self._office.registry("population").read_entries(functional_ids, asking)

    def _keep(self, rows: Rows, wanted: Sequence[Row], found: dict[int, Found]) -> dict[int, dict[str, Any]]:
        results: dict[int, dict[str, Any]] = {}
        enrolled: list[Beneficiary] = []
        for row in wanted:
            beneficiary = self._beneficiary(row, found[row.line])
            try:
                rows.applications.hold_place(beneficiary.household, beneficiary.functional_id, row.external_reference)
            except DuplicateHousehold as duplicate:
                results[row.line] = _refused(row, "national_id", duplicate.detail)
                continue
            before = rows.beneficiaries.find(beneficiary.functional_id)
            if before is None:
                rows.beneficiaries.add(beneficiary)
            elif before.state == PENDING:
                rows.beneficiaries.put(beneficiary)
            else:
                results[row.line] = _result(row, UNCHANGED)
                continue
            results[row.line] = _result(row, PENDING if beneficiary.state == PENDING else ENROLLED)
            if beneficiary.state != PENDING:
                enrolled.append(beneficiary)
        if enrolled:
            self._enrolment.send(rows, enrolled)
        return results

    def _beneficiary(self, row: Row, found: Found) -> Beneficiary:
        waits = row.lawful_basis == "consent" and not found.agrees
        return Beneficiary(
            functional_id=found.functional_id,
            source=row.external_reference,
            state=PENDING if waits else "registering",
            household=found.household,
            package=row.package,
            amount=self._office.programme.packages[row.package].amount_for(row.children),
            modality=row.modality,
            address=row.address,
            name=found.name,
            phone=row.phone,
            lawful_basis=row.lawful_basis,
            digest=row.digest,
        )


def import_number(rows: Sequence[Row]) -> str:
    """Return a subject for the trace of these rows: the same rows have the same."""
    return "IMPORT-" + hashlib.sha256("".join(row.digest for row in rows).encode()).hexdigest()[:12]


def _known_result(row: Row, known: Beneficiary | None) -> dict[str, Any] | None:
    """Return the result of a row that was taken before, None if it has to be looked at."""
    if known is None or (known.digest == row.digest and known.state == PENDING):
        return None
    if known.digest != row.digest:
        return _refused(row, "external_reference", "was taken before with other content; change it in the case")
    return _result(row, UNCHANGED)


def _result(row: Row, result: str) -> dict[str, Any]:
    return {"line": row.line, "external_reference": row.external_reference, "result": result}


def _refused(row: Row, column: str, reason: str) -> dict[str, Any]:
    return vars(Defect(row.line, row.external_reference, column, reason)) | {"result": REFUSED}


def _line(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, ensure_ascii=False) + "\n").encode()
