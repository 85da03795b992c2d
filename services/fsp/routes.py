"""HTTP in and out, in the contract's spelling; who may do what is decided here, before anything is read."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, jsonify

from sandroad.callers import caller
from sandroad.contracts import Contract, Routes, body, parameters
from sandroad.money import Money
from sandroad.problems import InvalidRequest
from sandroad.storage import Database
from sandroad.web import resource, running
from services.fsp import books
from services.fsp.accounts import Accounts
from services.fsp.config import Config
from services.fsp.credits import Credits
from services.fsp.domain import InstitutionDown, OnlyAdministrator, OnlyPayments, checked_callback
from services.fsp.funds import Funds

View = Callable[..., Any]


def make_routes(contract: Contract, config: Config) -> Routes:
    """Return the contract's operations bound to their functions."""
    routes = Routes(contract)

    def of_payments(view: View) -> View:
        @wraps(view)
        def guarded(**path: Any) -> Any:
            if caller().client != config.payments_client or caller().is_local:
                raise OnlyPayments(f"only {config.payments_client} may do this, not {caller().client}")
            return _while_up(view, **path)

        return guarded

    def of_administrator(view: View) -> View:
        @wraps(view)
        def guarded(**path: Any) -> Any:
            if not caller().is_local:
                raise OnlyAdministrator("accounts are opened and read by the institution itself")
            return view(**path)

        return guarded

    @routes.operation("openAccounts")
    @of_administrator
    def open_accounts() -> Any:
        clock = running().clock
        assert clock is not None
        created, unchanged = resource(Accounts).open_accounts(body()["accounts"], clock().isoformat())
        return {"created": created, "unchanged": unchanged}

    @routes.operation("readAccount")
    @of_administrator
    def read_account(account: str) -> Any:
        return resource(Accounts).read(account)

    @routes.operation("validateAccounts")
    @of_payments
    def validate_accounts() -> Any:
        asked = body()
        failed = resource(Accounts).failures(asked["destinationDFSPID"], asked["creditInstructions"])
        return {
            "clientCorrelationId": parameters()["X-Client-Correlation-ID"],
            "batchId": asked["batchId"],
            "numberOfFailedCases": len(failed),
            "failedAccountLookups": [{"instructionID": each, "failureReason": why} for each, why in failed],
        }

    @routes.operation("authoriseFunds")
    @of_payments
    def authorise_funds(batch_id: str) -> Any:
        asked = body()
        if asked["batchID"] != batch_id:
            raise InvalidRequest("batchID and the path name two batches")
        amount = Money.parse(asked["amount"], asked["currency"])
        correlation = parameters()["X-Client-Correlation-ID"]
        return resource(Funds).authorise(batch_id, correlation, asked["payerIdentifier"], amount)

    @routes.operation("readAuthorisation")
    @of_payments
    def read_authorisation(batch_id: str) -> Any:
        return resource(Funds).read(batch_id)

    @routes.operation("refund")
    @of_payments
    def refund(batch_id: str, refund_id: str) -> Any:
        amount = Money.parse(body()["amount"], body()["currency"])
        resource(Funds).refund(batch_id, refund_id, amount)
        return {
            "refundId": refund_id,
            "batchId": batch_id,
            "amount": str(amount.amount),
            "currency": amount.currency,
        }

    @routes.operation("creditAccounts")
    @of_payments
    def credit_accounts(sub_batch_id: str) -> Any:
        asked = body()
        callback = checked_callback(parameters()["X-Callback-URL"], caller().client)
        resource(Accounts).check_institution(asked["destinationDFSPID"])
        resource(Credits).take(sub_batch_id, asked["batchId"], callback, asked["creditInstructions"])
        return {"subBatchId": sub_batch_id}, 202

    @routes.operation("readSubBatch")
    @of_payments
    def read_sub_batch(sub_batch_id: str) -> Any:
        return resource(Credits).results(sub_batch_id)

    return routes


def make_control(config: Config) -> Blueprint:
    """Return the institution's ledger for the steward."""
    control = Blueprint("institution", __name__)

    @control.get("/ledger")
    def ledger() -> Any:
        return jsonify(books.ledger(resource(Database), config.code, config.currency))

    return control


def _while_up(view: View, **path: Any) -> Any:
    faults = running().faults
    if faults is not None and faults.take("down") is not None:
        raise InstitutionDown("the institution is down (lab fault)")
    return view(**path)
