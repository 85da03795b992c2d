"""Eligibility: the programme's rules over what is known of the household; the decision is kept with its reasons and told."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection

from sandroad.gateway_client import Reply
from sandroad.outbox import Entry
from usecases.cash_transfer.calls import About, line_of
from usecases.cash_transfer.domain import Application, fixed_id
from usecases.cash_transfer.eligibility import Decision, FactMissing, age_on
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.letters import write_letter
from usecases.cash_transfer.programme import Programme
from usecases.cash_transfer.refusals import FactNotKnown
from usecases.cash_transfer.store import Rows
from usecases.cash_transfer.store.trace import TraceLine

ELIGIBILITY = "Eligibility"
SOCIAL = "social-decision"


class EligibilityDecision:
    """Decides applications."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def decide(self, number: str, actor: str) -> Application:
        """Decide a verified application and write the letter; a decided one stays as it was decided."""
        office = self._office
        today = office.now().date()
        with office.store.begin() as rows:
            application = rows.applications.get(number)
            if application.decision:
                return application
            application.need("verified", to="decide it")
            facts = facts_of(office.programme, application, today)
            try:
                decision = office.programme.rules.decide(facts)
            except FactMissing as missing:
                raise FactNotKnown(
                    f"the rules need {missing.attribute}, which neither registry nor visit told"
                ) from missing
            application = self._decided(application, decision, facts)
            if not decision.eligible:
                rows.applications.free_place(number)
            rows.applications.put(application)
            rows.trace.add(
                TraceLine(number, ELIGIBILITY, f"The rules decide: {application.state}", actor, outcome=decision.reason)
            )
            self._tell_registry(rows, application)
            self._tell(rows, application)
        return application

    def _decided(self, application: Application, decision: Decision, facts: Mapping[str, Any]) -> Application:
        kept: dict[str, Any] = {
            "eligible": decision.eligible,
            "rule": decision.rule,
            "band": decision.band,
            "score": decision.score,
            "reasons": list(decision.reasons),
            "rules_version": decision.version,
            "inputs_hash": decision.inputs_hash,
            "facts": dict(facts),
            "decided_at": self._office.now().isoformat(),
        }
        if not decision.eligible:
            kept["appeal"] = fixed_id(8, "appeal", application.id)
            return application.advance("verified", decision=kept).refuse(decision.reason)
        package = self._office.programme.package_for(decision.band)
        amount = package.amount_for(int(facts.get("household.children_under_5") or 0))
        kept |= {"package": package.code, "amount": str(amount.amount), "currency": amount.currency}
        return application.advance("granted", decision=kept)

    def _tell_registry(self, rows: Rows, application: Application) -> None:
        """Write the decision into the social registry, so that other programmes see what this household receives."""
        self._office.outbox.put(
            rows.connection,
            id=f"decision:{application.id}",
            key=f"case:{application.id}",
            kind=SOCIAL,
            method="PUT",
            target=f"/r1/{self._office.config.welfare_registry}/data/social/1/update",
            headers={"X-Road-Issue": application.id},
            json_body={
                "query": {"content": {"applicationId": application.id}},
                "write": {"content": social_decision(application)},
            },
        )

    def on_registry_told(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Note in the trace that the social registry has the decision."""
        about = About(entry.headers["X-Road-Issue"], ELIGIBILITY, "Write the decision into the social registry")
        service = self._office.config.welfare_registry
        outcome = "answered" if reply.ok else reply.reason()
        self._office.store.rows(connection).trace.add(line_of(about, service, reply, outcome))

    def _tell(self, rows: Rows, application: Application) -> None:
        decision = application.decision
        if application.state == "refused":
            words = {"reason": application.reason, "appeal": decision["appeal"]}
            write_letter(self._office, rows, "refused", application.phone, application.id, case=application.id, **words)
            return
        package = self._office.programme.packages[decision["package"]]
        write_letter(
            self._office, rows, "granted", application.phone, application.id,
            case=application.id, package=package.title, amount=f"{decision['amount']} {decision['currency']}",
            months=str(self._office.programme.every_months), reason=decision["reasons"][-1],
        )  # fmt: skip


def social_decision(application: Application) -> dict[str, Any]:
    """Return the decision as the social registry keeps it."""
    decision = application.decision
    told: dict[str, Any] = {
        "status": application.state,
        "reasons": decision["reasons"],
        "ruleVersion": decision["rules_version"],
        "inputsHash": decision["inputs_hash"],
        "decidedAt": decision["decided_at"],
    }
    if decision["score"]:
        told["score"] = float(decision["score"])
    return (
        told
        | {name: decision[name] for name in ("package", "amount", "currency") if name in decision}
        | ({"band": decision["band"]} if decision["band"] else {})
    )


def facts_of(programme: Programme, application: Application, today: date) -> dict[str, Any]:
    """Return everything that rules may look at: registry, visit, answers and the ages on this day."""
    record = application.record
    facts: dict[str, Any] = {"person.gender": record.get("gender")}
    if record.get("birthDate"):
        facts["person.age"] = age_on(date.fromisoformat(str(record["birthDate"])), today)
    facts |= household_facts(record.get("household"), today)
    facts |= {name: application.visit.get(name) for name in programme.visit}
    facts |= {question.id: application.answers.get(question.id) for question in programme.questions}
    return {name: value for name, value in facts.items() if value is not None}


def household_facts(household: Any, today: date) -> dict[str, int]:
    """Return what the registered household says: its size, its children (under 18) and those under five."""
    if not isinstance(household, dict) or not isinstance(household.get("members"), list):
        return {}
    ages = [age_on(date.fromisoformat(str(m["birthDate"])), today) for m in household["members"] if m.get("birthDate")]
    return {
        "household.size": int(household.get("size") or len(household["members"])),
        "household.children": sum(age < 18 for age in ages),
        "household.children_under_5": sum(age < 5 for age in ages),
    }
