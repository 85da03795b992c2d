"""Outreach and registration: an officer opens an application, the citizen logs in and agrees, the registry fills the form."""

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sandroad.problems import InvalidRequest
from usecases.cash_transfer.calls import About
from usecases.cash_transfer.domain import Application
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.letters import write_letter
from usecases.cash_transfer.payee import read_payee
from usecases.cash_transfer.refusals import SomebodyElse
from usecases.cash_transfer.store.trace import TraceLine

PHONE = re.compile(r"\+[0-9]{5,15}")
OUTREACH, REGISTRATION = "Outreach", "Registration"


class Registration:
    """Applications until the visit."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def open(self, officer: str, phone: str = "") -> Application:
        """Open an application. Its number cannot be guessed: whoever has it may bind it to themselves by logging in."""
        if phone and not PHONE.fullmatch(phone):
            what = "is a number in international form, such as +999700000001, or left out"
            raise InvalidRequest(f"/phone {what}", [{"where": "body", "at": "/phone", "what": what}])
        number = base64.b32encode(secrets.token_bytes(10)).decode()
        application = Application(number, "opened", officer, self._office.now(), phone=phone)
        with self._office.store.begin() as rows:
            rows.applications.add(application)
            rows.trace.add(TraceLine(number, OUTREACH, "An officer opens an application", officer))
            write_letter(self._office, rows, "opened", phone, number, case=number)
        return application

    def identify(self, number: str, functional_id: str, phone: str) -> Application:
        """Bind the application to the citizen who logged in. Another person on the same application is refused."""
        with self._office.store.begin() as rows:
            application = rows.applications.get(number)
            if application.functional_id not in ("", functional_id):
                raise SomebodyElse("this application was begun by another person; ask the officer for a new one")
            if application.state == "opened":
                application = application.advance(
                    "identified", functional_id=functional_id, phone=application.phone or phone
                )
                rows.applications.put(application)
                rows.trace.add(TraceLine(number, REGISTRATION, "The citizen logs in and the case gets a functional id"))
        return application

    def answered_consent(self, number: str, agreed: bool) -> Application:
        """Note what the citizen said on the consent page. Only a note: each provider asks consent itself."""
        with self._office.store.begin() as rows:
            application = rows.applications.get(number)
            if agreed and application.state == "identified":
                application = application.advance("consented")
            rows.applications.put(application)
            said = "agrees" if agreed else "does not agree"
            rows.trace.add(TraceLine(number, REGISTRATION, f"The citizen {said} on the consent page"))
        return application

    def prefill(self, number: str, actor: str) -> Application:
        """Read the citizen's record from the population registry, which asks consent before it answers.

        Raises ``ProviderRefused`` with the provider's words if consent is missing.
        """
        office = self._office
        with office.store.read() as rows:
            application = rows.applications.get(number)
        application.need("identified", "consented", "registered", to="read the record")
        about = About(number, REGISTRATION, "Fill the form from the population registry", actor)
        content = office.registry("population").read(application.functional_id, about)
        record = {key: value for key, value in content.items() if key != "functionalId"}
        with office.store.begin() as rows:
            application = rows.applications.get(number)
            changed = application.advance(
                "registered",
                record=record,
                household=household_of(record),
                phone=application.phone or str(record.get("phone") or ""),
            )
            rows.applications.put(changed)
        return changed

    def visit(self, number: str, seen: Mapping[str, Any], payee: Mapping[str, str], actor: str) -> Application:
        """Keep what the officer saw and where the household wants its money."""
        answers = checked_visit(self._office.programme.visit_values, seen)
        destination = read_payee(self._office.programme, payee)
        with self._office.store.begin() as rows:
            application = rows.applications.get(number)
            application.need("registered", "visited", to="record the visit")
            application = replace(application.advance("visited"), visit=answers, payee=destination)
            rows.applications.put(application)
            rows.trace.add(TraceLine(number, REGISTRATION, "The officer records the visit", actor))
        return application


def household_of(record: Mapping[str, Any]) -> str:
    """Return the number of the household that a population record shows; empty if it shows none."""
    household = record.get("household")
    return str(household.get("id") or "") if isinstance(household, dict) else ""


def checked_visit(kinds: Mapping[str, str], seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the visit's answers; raise ``InvalidRequest`` that names each one missing, unknown or of the wrong kind."""
    errors = [
        {"where": "body", "at": f"/visit/{name}", "what": "is not asked on this visit"}
        for name in seen
        if name not in kinds
    ]
    answers: dict[str, Any] = {}
    for name, kind in kinds.items():
        value = seen.get(name)
        if (kind == "yes-no" and isinstance(value, bool)) or (
            kind == "number" and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10_000
        ):
            answers[name] = value
        else:
            wanted = "true or false" if kind == "yes-no" else "a whole number from 0"
            errors.append({"where": "body", "at": f"/visit/{name}", "what": f"is needed, as {wanted}"})
    if errors:
        raise InvalidRequest(f"{errors[0]['at']} {errors[0]['what']}", errors)
    return answers
