"""Enrolment: a granted household becomes a beneficiary, and payments learns where its money goes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from sandroad.gateway_client import Reply
from sandroad.money import Money
from sandroad.outbox import Entry
from usecases.cash_transfer.calls import About, line_of
from usecases.cash_transfer.domain import Application, Beneficiary, request_id
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.letters import write_letter
from usecases.cash_transfer.payee import read_payee
from usecases.cash_transfer.refusals import StepOutOfOrder
from usecases.cash_transfer.store import Rows
from usecases.cash_transfer.store.trace import TraceLine

ENROLMENT = "Enrolment"
RECORD, PAYEE = "beneficiary-record", "payee"
KNOWN = "already_registered"  # payments' word for a payee that it took before; a change never meets it


class Enrolment:
    """Beneficiaries and their registration as payees."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def enrol(self, number: str, actor: str) -> Beneficiary:
        """Enrol a granted application; an enrolled one stays as it is."""
        with self._office.store.begin() as rows:
            application = rows.applications.get(number)
            known = rows.beneficiaries.find(application.functional_id)
            if known is not None and known.source == number:
                return known
            application.need("granted", to="enrol it")
            rows.applications.hold_place(application.household, application.functional_id, number)
            beneficiary = beneficiary_of(application)
            rows.beneficiaries.add(beneficiary)
            rows.applications.put(application.advance("enrolled"))
            rows.trace.add(TraceLine(number, ENROLMENT, "The household is enrolled", actor))
            self.send(rows, [beneficiary])
        return beneficiary

    def send(self, rows: Rows, enrolled: Sequence[Beneficiary]) -> None:
        """Write the beneficiary registry's and payments' part into the outbox, for at most 500 at a time."""
        first = enrolled[0]
        content = [{"content": self._record(each)} for each in enrolled]
        request = request_id("register", *(f"{each.functional_id}.{each.payee_version}" for each in enrolled))
        self._office.outbox.put(
            rows.connection,
            id=f"record:{request}",
            key=f"case:{first.source}",
            kind=RECORD,
            method="POST",
            target=f"/r1/{self._office.config.welfare_registry}/data/beneficiary/1/createEntries",
            headers={"X-Road-Issue": first.source},
            json_body={"write": content},
        )
        self._ask_payments(rows, "register-beneficiary", request, enrolled)

    def change_payee(self, functional_id: str, payee: Mapping[str, str], actor: str) -> Beneficiary:
        """Have a beneficiary paid elsewhere; the same destination again changes nothing."""
        destination = read_payee(self._office.programme, payee)
        with self._office.store.begin() as rows:
            beneficiary = rows.beneficiaries.get(functional_id)
            if beneficiary.state not in ("active", "failed"):
                raise StepOutOfOrder(
                    f"beneficiary {functional_id} is {beneficiary.state}; the payee of an active or failed one can change"
                )
            if (beneficiary.modality, beneficiary.address) == (destination["modality"], destination["address"]):
                return beneficiary
            # A payee that payments never took has to be registered; a known one is changed.
            operation = "register-beneficiary" if beneficiary.state == "failed" else "update-beneficiary-details"
            changed = replace(
                beneficiary,
                modality=destination["modality"],
                address=destination["address"],
                state="registering",
                reason="",
                payee_version=beneficiary.payee_version + 1,
            )
            rows.beneficiaries.put(changed)
            rows.trace.add(TraceLine(changed.source, ENROLMENT, "The beneficiary names another account", actor))
            request = request_id("payee", functional_id, changed.payee_version)
            self._ask_payments(rows, operation, request, [changed])
            self._tell_registry(rows, request, changed)
        return changed

    def payee_answered(self, request: str, failed: Mapping[str, str]) -> None:
        """Take payments' answer: who could not be registered, and why; everybody else is active. Repetitions change nothing."""
        with self._office.store.begin() as rows:
            self._settle(rows, request, failed)

    def on_record_sent(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Note in the trace that the beneficiary registry has the record."""
        self._note(connection, entry, reply, "Write to the beneficiary registry", self._office.config.welfare_registry)

    def on_payee_sent(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Note in the trace that payments took the request; who is accepted comes by callback."""
        self._note(connection, entry, reply, "Give payments the payee's account", self._office.config.payments)

    def on_payee_refused(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Payments took nobody of the request: its words are the reason of each."""
        rows = self._office.store.rows(connection)
        self._note(connection, entry, reply, "Give payments the payee's account", self._office.config.payments)
        request = entry.id.removeprefix("payee:")
        self._settle(rows, request, dict.fromkeys(rows.beneficiaries.asked_under(request), reply.reason()))

    def _settle(self, rows: Rows, request: str, failed: Mapping[str, str]) -> None:
        known: list[Beneficiary] = []
        for functional_id in rows.beneficiaries.asked_under(request):
            beneficiary = rows.beneficiaries.get(functional_id)
            if beneficiary.state != "registering":
                continue
            if KNOWN in failed.get(functional_id, ""):
                known.append(beneficiary)
                said = f"{KNOWN}: the account is changed instead"
            elif functional_id in failed:
                reason = failed[functional_id] or "payments gave no reason"
                rows.beneficiaries.put(replace(beneficiary, state="failed", reason=reason))
                said = f"not accepted: {reason}"
            else:
                rows.beneficiaries.put(replace(beneficiary, state="active", reason=""))
                said = "accepted"
                if beneficiary.payee_version == 1:
                    write_letter(self._office, rows, "enrolled", beneficiary.phone, beneficiary.source)
            line = TraceLine(
                beneficiary.source, ENROLMENT, "Payments answers", "", self._office.config.payments, outcome=said
            )
            rows.trace.add(line)
        rows.beneficiaries.answered(request)
        if known:
            self._ask_payments(rows, "update-beneficiary-details", request_id("known", request), known)

    def _tell_registry(self, rows: Rows, request: str, changed: Beneficiary) -> None:
        self._office.outbox.put(
            rows.connection,
            id=f"record:{request}",
            key=f"case:{changed.source}",
            kind=RECORD,
            method="PUT",
            target=f"/r1/{self._office.config.welfare_registry}/data/beneficiary/1/update",
            headers={"X-Road-Issue": changed.source},
            json_body={
                "query": {"content": {"functionalId": changed.functional_id}},
                "write": {"content": {"financialAddress": changed.address}},
            },
        )

    def _ask_payments(self, rows: Rows, operation: str, request: str, payees: Sequence[Beneficiary]) -> None:
        rows.beneficiaries.ask_payee(request, [each.functional_id for each in payees])
        self._office.outbox.put(
            rows.connection,
            id=f"payee:{request}",
            key=f"case:{payees[0].source}",
            kind=PAYEE,
            method="POST",
            target=f"/r1/{self._office.config.payments}/{operation}",
            headers={
                "X-Callback-URL": f"{self._office.config.own_service}/callbacks/payees",
                "X-Road-Issue": payees[0].source,
            },
            json_body={
                "RequestID": request,
                "SourceBBID": self._office.programme.payer,
                "Beneficiaries": [self._payee(each) for each in payees],
            },
        )

    def _payee(self, each: Beneficiary) -> dict[str, Any]:
        payee = {
            "PayeeFunctionalID": each.functional_id,
            "PaymentModality": self._office.programme.modalities[each.modality],
            "FinancialAddress": each.address,
        }
        # With the name, the institution can say that the account is somebody else's, before money goes there.
        return payee | ({"PayeeName": each.name[:100]} if each.name else {})

    def _record(self, beneficiary: Beneficiary) -> dict[str, Any]:
        return beneficiary_record(self._office.programme.id, beneficiary)

    def _note(self, connection: Connection, entry: Entry, reply: Reply, title: str, service: str) -> None:
        about = About(entry.headers.get("X-Road-Issue", ""), ENROLMENT, title)
        outcome = "answered" if reply.ok else reply.reason()
        self._office.store.rows(connection).trace.add(line_of(about, service, reply, outcome))


def beneficiary_of(application: Application) -> Beneficiary:
    """Return the beneficiary that a granted application becomes."""
    decision = application.decision
    return Beneficiary(
        functional_id=application.functional_id,
        source=application.id,
        state="registering",
        household=application.household,
        package=decision["package"],
        amount=Money.parse(decision["amount"], decision["currency"]),
        modality=application.payee["modality"],
        address=application.payee["address"],
        name=name_of(application.record),
        phone=application.phone,
    )


def name_of(record: Mapping[str, Any]) -> str:
    """Return a person's name as the population registry writes it; empty without a record."""
    return f"{record.get('firstName') or ''} {record.get('lastName') or ''}".strip()


def beneficiary_record(programme: str, beneficiary: Beneficiary) -> dict[str, Any]:
    """Return what the beneficiary registry keeps: no national id."""
    record = {
        "functionalId": beneficiary.functional_id,
        "programme": programme,
        "status": "enrolled",
        "package": beneficiary.package,
        "amount": str(beneficiary.amount.amount),
        "currency": beneficiary.amount.currency,
        "financialAddress": beneficiary.address,
        "lawfulBasis": beneficiary.lawful_basis,
        "externalReference": beneficiary.source,
    }
    known = {"householdId": beneficiary.household, "name": beneficiary.name}
    return record | {name: value for name, value in known.items() if value}
