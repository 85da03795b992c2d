"""Verification: is this household here already, and what do other organisations say to the programme's yes/no questions?"""

from typing import Any

from usecases.cash_transfer.calls import About
from usecases.cash_transfer.domain import Application
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.programme import Question
from usecases.cash_transfer.refusals import DuplicateHousehold
from usecases.cash_transfer.store.trace import TraceLine

VERIFICATION = "Verification"


class Verification:
    """Questions to others, each answered with yes or no and nothing else."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def verify(self, number: str, actor: str) -> Application:
        """Take the household's place, ask every question, and put the household into the social registry.

        May be repeated after a crash or a refusal: the place is the same, questions change nothing, and the social registry
        knows the application by its number. Raises ``DuplicateHousehold`` after refusing the application.
        """
        application = self._take_place(number, actor)
        answers = {
            question.id: self._ask(application, question, actor) for question in self._office.programme.questions
        }
        failing = next((q for q in self._office.programme.questions if q.must_be not in (None, answers[q.id])), None)
        if failing is None:
            self._write_social(application, actor)
        with self._office.store.begin() as rows:
            application = rows.applications.get(number)
            application.need("visited", "verified", to="verify it")
            application = application.advance("verified", answers=answers)
            if failing is not None:
                application = application.refuse(f"{failing.title} The answer was {_word(answers[failing.id])}.")
                rows.applications.free_place(number)
                rows.trace.add(
                    TraceLine(number, VERIFICATION, "The application is refused", actor, outcome=application.reason)
                )
            rows.applications.put(application)
        return application

    def _take_place(self, number: str, actor: str) -> Application:
        with self._office.store.read() as rows:
            application = rows.applications.get(number)
        application.need("visited", "verified", to="verify it")
        holder = self._holder_elsewhere(application, actor)
        with self._office.store.begin() as rows:
            application = rows.applications.get(number)
            application.need("visited", "verified", to="verify it")
            try:
                if holder:
                    raise DuplicateHousehold("the social registry knows the household by another application")
                rows.applications.hold_place(application.household, application.functional_id, number)
            except DuplicateHousehold as refusal:
                duplicate: DuplicateHousehold | None = refusal
                rows.applications.put(application.refuse(f"duplicate household: {refusal.detail}"))
                rows.trace.add(
                    TraceLine(
                        number, VERIFICATION, "The household is in the programme already", actor, outcome=refusal.detail
                    )
                )
            else:
                duplicate = None
        if duplicate is not None:
            raise duplicate
        return application

    def _holder_elsewhere(self, application: Application, actor: str) -> bool:
        """Ask the social registry, which other programmes write to as well, whether the household has another application."""
        if not application.household:
            return False
        content = {
            "householdId": application.household,
            "programme": self._office.programme.id,
            "applicationId": {"!=": application.id},
            "status": {"in": ["verified", "granted"]},
        }
        about = About(application.id, VERIFICATION, "Does the social registry know this household?", actor)
        return self._office.registry("social").exists(content, about)

    def _ask(self, application: Application, question: Question, actor: str) -> bool:
        content = {"functionalId": application.functional_id, **question.content}
        about = About(application.id, VERIFICATION, question.title, actor)
        return self._office.registry(question.registry).exists(content, about)

    def _write_social(self, application: Application, actor: str) -> None:
        about = About(application.id, VERIFICATION, "Put the household into the social registry", actor)
        self._office.registry("social").create(social_record(self._office.programme.id, application), about)


def social_record(programme: str, application: Application) -> dict[str, Any]:
    """Return what the social registry keeps of an application: no name, no national id."""
    return {
        "applicationId": application.id,
        "programme": programme,
        "functionalId": application.functional_id,
        "householdId": application.household,
        "status": "verified",
        "visit": dict(application.visit),
        "appliedAt": application.opened_at.isoformat(),
    }


def _word(answer: bool) -> str:
    return "yes" if answer else "no"
