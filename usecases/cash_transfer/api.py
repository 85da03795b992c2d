"""The officers' work as a JSON API: each step checks the session, its token and the role, and does one thing."""

from typing import Any

from flask import Blueprint, jsonify, request

from sandroad.problems import InvalidRequest
from sandroad.web import control_body, resource
from usecases.cash_transfer import show
from usecases.cash_transfer.domain import Application, Batch
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.eligibility_decision import EligibilityDecision
from usecases.cash_transfer.operations.enrolment import Enrolment
from usecases.cash_transfer.operations.payment import Payment
from usecases.cash_transfer.operations.reconciliation import Reconciliation
from usecases.cash_transfer.operations.registration import Registration
from usecases.cash_transfer.operations.verification import Verification
from usecases.cash_transfer.sessions import acting, officer, session_token, without_active_content

api = Blueprint("api", __name__, url_prefix="/api")
api.after_request(without_active_content)
SHOWN = 2_000


@api.get("/session")
def show_session() -> Any:
    """Show who is signed in, and the token that every change must bear."""
    who = officer()
    return jsonify(email=who.email, name=who.name, roles=sorted(who.roles), token=session_token())


@api.post("/applications")
def open_application() -> Any:
    """Open an application; with ``phone`` a letter says so."""
    who = acting("registration")
    phone = control_body().get("phone", "")
    if not isinstance(phone, str):
        raise InvalidRequest("phone is a text such as +999700000001, or left out")
    return jsonify(show.application(resource(Registration).open(who.email, phone))), 201


@api.get("/applications")
def list_applications() -> Any:
    """List applications, the newest first."""
    officer()
    with resource(Office).store.read() as rows:
        return jsonify(applications=[show.application(each) for each in rows.applications.listing()])


@api.get("/applications/<number>")
def show_application(number: str) -> Any:
    """Show an application with its trace."""
    officer()
    with resource(Office).store.read() as rows:
        application = rows.applications.get(number)
        return jsonify(show.application(application) | {"trace": rows.trace.of(number)})


@api.post("/applications/<number>/prefill")
def prefill(number: str) -> Any:
    """Fill the form from the population registry."""
    return _shown(resource(Registration).prefill(number, acting("registration").email))


@api.post("/applications/<number>/visit")
def record_visit(number: str) -> Any:
    """Record the visit and the payee: ``{"visit": {…}, "payee": {"modality", "address"}}``."""
    who = acting("registration")
    body = control_body()
    return _shown(resource(Registration).visit(number, _object(body, "visit"), _object(body, "payee"), who.email))


@api.post("/applications/<number>/verification")
def verify(number: str) -> Any:
    """Ask the registries."""
    return _shown(resource(Verification).verify(number, acting("registration").email))


@api.post("/applications/<number>/decision")
def decide(number: str) -> Any:
    """Decide by the programme's rules."""
    return _shown(resource(EligibilityDecision).decide(number, acting("registration").email))


@api.post("/applications/<number>/enrolment")
def enrol(number: str) -> Any:
    """Enrol a granted application."""
    return jsonify(show.beneficiary(resource(Enrolment).enrol(number, acting("registration").email)))


@api.get("/beneficiaries")
def list_beneficiaries() -> Any:
    """List beneficiaries by functional id, with counts by state; ``?source=`` and ``?household=`` narrow the list."""
    officer()
    source, household = request.args.get("source"), request.args.get("household")
    with resource(Office).store.read() as rows:
        listed = [show.beneficiary(each) for each in rows.beneficiaries.listing(source=source, household=household)]
        return jsonify(beneficiaries=listed, counts=rows.beneficiaries.counts())


@api.get("/beneficiaries/<functional_id>")
def show_beneficiary(functional_id: str) -> Any:
    """Show one beneficiary."""
    officer()
    with resource(Office).store.read() as rows:
        return jsonify(show.beneficiary(rows.beneficiaries.get(functional_id)))


@api.put("/beneficiaries/<functional_id>/payee")
def change_payee(functional_id: str) -> Any:
    """Pay a beneficiary elsewhere: ``{"modality", "address"}``."""
    who = acting("payment")
    return jsonify(show.beneficiary(resource(Enrolment).change_payee(functional_id, control_body(), who.email)))


@api.post("/cycles")
def open_cycle() -> Any:
    """Open the cycle that is due by business time."""
    opened = resource(Payment).open_cycle(acting("payment").email)
    return jsonify(batches=[show.batch(each) for each in opened]), 201


@api.post("/cycles/<cycle>/retry")
def retry_cycle(cycle: str) -> Any:
    """Prepare the next attempt for what failed."""
    prepared = resource(Payment).retry(cycle, acting("payment").email)
    return jsonify(batches=[show.batch(each) for each in prepared]), 201


@api.get("/batches")
def list_batches() -> Any:
    """List batches, the newest first."""
    officer()
    with resource(Office).store.read() as rows:
        return jsonify(batches=[show.batch(each, rows.batches.totals(each.id)) for each in rows.batches.listing()])


@api.get("/batches/<batch>")
def show_batch(batch: str) -> Any:
    """Show a batch with its totals, its trace and its first instructions."""
    officer()
    with resource(Office).store.read() as rows:
        found = rows.batches.get(batch)
        shown = show.batch(found, rows.batches.totals(batch))
        content = show.instructions(rows.batches.content(batch)[:SHOWN])
        return jsonify(shown | {"instructions": content, "trace": rows.trace.of(batch)})


@api.post("/batches/<batch>/validation")
def validate(batch: str) -> Any:
    """Send a batch for validation."""
    return _shown_batch(resource(Payment).validate(batch, acting("payment").email))


@api.post("/batches/<batch>/approval")
def approve(batch: str) -> Any:
    """Release a batch; not by who prepared it."""
    return _shown_batch(resource(Payment).approve(batch, acting("approval").email))


@api.post("/batches/<batch>/reconciliation")
def reconcile(batch: str) -> Any:
    """Ask payments once more what became of each instruction."""
    acting("payment", "approval")
    mark = resource(Office).now().strftime("%Y%m%d%H%M%S")
    return _shown_batch(resource(Reconciliation).ask_again(batch, mark))


def _shown(application: Application) -> Any:
    return jsonify(show.application(application))


def _shown_batch(batch: Batch) -> Any:
    return jsonify(show.batch(batch))


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"{name} is a JSON object", [{"where": "body", "at": f"/{name}", "what": "is a JSON object"}]
        )
    return value
