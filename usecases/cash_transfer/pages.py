"""The officers' screens: cases with their trace, batches with the two signatures; forms do what the API does."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, redirect, render_template, request

from sandroad.problems import Refusal
from sandroad.web import resource, running
from usecases.cash_transfer.domain import APPLICATION_STATES
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.eligibility_decision import EligibilityDecision
from usecases.cash_transfer.operations.enrolment import Enrolment
from usecases.cash_transfer.operations.payment import Payment
from usecases.cash_transfer.operations.reconciliation import Reconciliation
from usecases.cash_transfer.operations.registration import Registration
from usecases.cash_transfer.operations.verification import Verification
from usecases.cash_transfer.refusals import NotLoggedIn
from usecases.cash_transfer.sessions import acting, officer, session_token, without_active_content

pages = Blueprint("pages", __name__, template_folder="templates")
pages.after_request(without_active_content)
Step = tuple[tuple[str, ...], Callable[[str, str], Any]]

CASE_STEPS: Mapping[str, Step] = {
    "prefill": (("registration",), lambda number, who: resource(Registration).prefill(number, who)),
    "verification": (("registration",), lambda number, who: resource(Verification).verify(number, who)),
    "decision": (("registration",), lambda number, who: resource(EligibilityDecision).decide(number, who)),
    "enrolment": (("registration",), lambda number, who: resource(Enrolment).enrol(number, who)),
}
BATCH_STEPS: Mapping[str, Step] = {
    "validation": (("payment",), lambda batch, who: resource(Payment).validate(batch, who)),
    "approval": (("approval",), lambda batch, who: resource(Payment).approve(batch, who)),
    "reconciliation": (
        ("payment", "approval"),
        lambda batch, who: resource(Reconciliation).ask_again(batch, f"{resource(Office).now():%Y%m%d%H%M%S}"),
    ),
}


@pages.errorhandler(Refusal)
def show_refusal(refusal: Refusal) -> Any:
    """Show a refusal on a page, with the way on."""
    entry = running().problems[refusal.code]
    return render_template("refusal.html", title=entry.title, detail=refusal.detail), entry.status


@pages.get("/")
def list_cases() -> Any:
    """Show the cases; somebody who is not signed in is shown the door in."""
    try:
        who = officer()
    except NotLoggedIn:
        return render_template("welcome.html", programme=resource(Office).programme)
    with resource(Office).store.read() as rows:
        cases, counts = rows.applications.listing(100), rows.beneficiaries.counts()
    return _page("cases.html", who, cases=cases, counts=counts)


@pages.post("/cases")
def open_case() -> Any:
    """Open an application."""
    who = acting("registration")
    opened = resource(Registration).open(who.email, request.form.get("phone", "").strip()[:16])
    return redirect(f"/cases/{opened.id}", 303)


@pages.get("/cases/<number>")
def show_case(number: str) -> Any:
    """Show a case with its trace."""
    who = officer()
    with resource(Office).store.read() as rows:
        case, trace = rows.applications.get(number), rows.trace.of(number)
    return _page("case.html", who, case=case, trace=trace, states=APPLICATION_STATES)


@pages.post("/cases/<number>/visit")
def record_visit(number: str) -> Any:
    """Keep the visit's form."""
    who = acting("registration")
    seen = {name: _answer(item.kind, name) for name, item in resource(Office).programme.visit.items()}
    payee = {"modality": request.form.get("modality", ""), "address": request.form.get("address", "").strip()}
    resource(Registration).visit(number, seen, payee, who.email)
    return redirect(f"/cases/{number}", 303)


@pages.post("/cases/<number>/<step>")
def take_case_step(number: str, step: str) -> Any:
    """Take one step of a case."""
    return _take(CASE_STEPS, step, number, f"/cases/{number}")


@pages.get("/batches")
def list_batches() -> Any:
    """Show the batches."""
    who = officer()
    with resource(Office).store.read() as rows:
        listed = [(each, rows.batches.totals(each.id)) for each in rows.batches.listing()]
    return _page("batches.html", who, batches=listed)


@pages.post("/cycles")
def open_cycle() -> Any:
    """Open the cycle that is due."""
    resource(Payment).open_cycle(acting("payment").email)
    return redirect("/batches", 303)


@pages.post("/cycles/<cycle>/retry")
def retry_cycle(cycle: str) -> Any:
    """Prepare what failed once more."""
    resource(Payment).retry(cycle, acting("payment").email)
    return redirect("/batches", 303)


@pages.get("/batches/<batch>")
def show_batch(batch: str) -> Any:
    """Show a batch, its totals and its first instructions."""
    who = officer()
    with resource(Office).store.read() as rows:
        found, totals = rows.batches.get(batch), rows.batches.totals(batch)
        content, trace = rows.batches.content(batch)[:200], rows.trace.of(batch)
    return _page("batch.html", who, batch=found, totals=totals, content=content, trace=trace)


@pages.post("/batches/<batch>/<step>")
def take_batch_step(batch: str, step: str) -> Any:
    """Take one step of a batch."""
    return _take(BATCH_STEPS, step, batch, f"/batches/{batch}")


@pages.post("/beneficiaries/<functional_id>/payee")
def change_payee(functional_id: str) -> Any:
    """Pay a beneficiary elsewhere."""
    who = acting("payment")
    payee = {"modality": request.form.get("modality", ""), "address": request.form.get("address", "").strip()}
    resource(Enrolment).change_payee(functional_id, payee, who.email)
    return redirect("/batches", 303)


def _take(steps: Mapping[str, Step], step: str, subject: str, back: str) -> Any:
    if step not in steps:
        return render_template("refusal.html", title="There is no such step", detail=step[:40]), 404
    roles, act = steps[step]
    act(subject, acting(*roles).email)
    return redirect(back, 303)


def _page(template: str, who: Any, **shown: Any) -> str:
    return render_template(template, who=who, programme=resource(Office).programme, token=session_token(), **shown)


def _answer(kind: str, name: str) -> Any:
    given = request.form.get(name, "")
    if kind == "yes-no":
        return {"yes": True, "no": False}.get(given)
    return int(given) if given.isascii() and given.isdigit() and len(given) < 6 else None
