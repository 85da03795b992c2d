"""What payments calls back: ``contracts/cash_transfer/openapi.yaml``, only for payments and through the own gateway."""

from typing import Any

from flask import jsonify

from sandroad.callers import caller
from sandroad.contracts import Contract, Routes, body
from sandroad.problems import AccessDenied
from sandroad.web import resource, running
from usecases.cash_transfer.config import Config
from usecases.cash_transfer.operations.enrolment import Enrolment
from usecases.cash_transfer.operations.reconciliation import Reconciliation


def callback_routes(contract: Contract) -> Routes:
    """Return the contract's operations bound to what happens on each callback."""
    routes = Routes(contract)

    @routes.operation("receivePayeeResult")
    def receive_payee_result() -> Any:
        """Who could not be registered as a payee."""
        _only_payments()
        told = body()
        failed = {
            str(each.get("payeeIdentity") or each.get("payeeFunctionalID") or ""): str(each.get("failureReason") or "")
            for each in told.get("failedCases", [])
        }
        resource(Enrolment).payee_answered(told["registerRequestID"], failed)
        return _taken()

    @routes.operation("receiveValidationResult")
    def receive_validation_result() -> Any:
        """Which instructions would fail."""
        _only_payments()
        told = body()
        failed = {each["InstructionID"]: each["FailureReason"] for each in told["FailedAccounts"]}
        resource(Reconciliation).validated(told["Source_BatchID"], failed)
        return _taken()

    @routes.operation("receiveBatchStatus")
    def receive_batch_status() -> Any:
        """How far a batch has come."""
        _only_payments()
        resource(Reconciliation).told_status(body()["batchId"], body())
        return _taken()

    return routes


def _only_payments() -> None:
    """Let in payments alone, whatever the access rights say: anybody else could report money that never moved."""
    config = running().config
    assert isinstance(config, Config)
    payments = config.payments.rsplit("/", 1)[0]
    if not caller().is_local and caller().client != payments:
        raise AccessDenied(f"results of payments come from {payments}")


def _taken() -> Any:
    return jsonify(message="taken")
