"""Version 1.0 over HTTP: PascalCase, synchronous, refusals as ResponseCode 01."""

from collections.abc import Sequence
from typing import Any

from flask import Response, g, jsonify, request

from sandroad.callers import caller
from sandroad.contracts import Contract, Routes, body, parameters
from sandroad.problems import Catalogue, Refusal
from sandroad.storage import Database
from sandroad.web import resource, running
from services.payments.batches import Batches, Order
from services.payments.config import Config
from services.payments.domain import Beneficiary, FailedCase, Instruction, checked_callback, minor_units
from services.payments.mapper import Mapper
from services.payments.requests import Answer, digest, first_answer, keep_answer
from services.payments.validations import Validations

# These say that the call never reached payments as such; GovStack's codes would hide that.
KEEP_THEIR_STATUS = frozenset({"caller_unknown", "body_too_large", "unsupported_media_type", "internal_fault"})


def make_routes_v1(contract: Contract, config: Config) -> Routes:
    """Return the operations of version 1.0."""
    routes = Routes(contract, render=refused)
    allowed = config.callback_allow_list

    def callback() -> str:
        address = parameters().get("X-Callback-URL", "")
        return checked_callback(address, caller().client, allowed) if address else ""

    def change_payees(change: Any) -> Any:
        asked = body()
        say = _acknowledging(asked["RequestID"])
        answer, status = change(
            caller().client, asked["RequestID"], digest(asked), _beneficiaries(asked["Beneficiaries"]), callback(), say
        )
        return answer, status

    @routes.operation("registerBeneficiary")
    def register_beneficiary() -> Any:
        return change_payees(resource(Mapper).register)

    @routes.operation("updateBeneficiaryDetails")
    def update_beneficiary_details() -> Any:
        return change_payees(resource(Mapper).update)

    @routes.operation("prepaymentValidation")
    def prepayment_validation() -> Any:
        asked, client, to = body(), caller().client, callback()
        content, wanted = digest(asked), _instructions(asked["CreditInstructions"])
        with resource(Database).begin() as connection:
            answered = first_answer(connection, client, "validate", asked["RequestID"], content)
            if answered is None:
                resource(Validations).begin(connection, client, asked["RequestID"], asked["BatchID"], to, wanted)
                answer = acknowledgement("00", "validation has begun", asked["RequestID"]), 200
                answered = keep_answer(connection, client, "validate", asked["RequestID"], content, answer)
        return answered

    @routes.operation("prepaymentValidationResponse")
    def prepayment_validation_response() -> Any:
        asked = body()
        outcome = resource(Validations).outcome(caller().client, asked["RequestID"], asked["Source_BatchID"])
        return outcome if outcome is not None else (asked, 202)

    @routes.operation("bulkPayment")
    def bulk_payment() -> Any:
        asked, client = body(), caller().client
        content, wanted = digest(asked), _instructions(asked["CreditInstructions"])
        named = parameters().get("X-Program-Id")
        order = Order(client, asked["BatchID"], asked["RequestID"], callback(), named, wanted, keeps_name=True)
        with resource(Database).begin() as connection:
            answered = first_answer(connection, client, "bulk", asked["RequestID"], content)
            if answered is None:
                resource(Batches).accept(connection, order)
                answer = acknowledgement("00", "the batch is accepted", asked["RequestID"]), 200
                answered = keep_answer(connection, client, "bulk", asked["RequestID"], content, answer)
        return answered

    routes.operation("creditInstructions")(bulk_payment)
    return routes


def acknowledgement(code: str, description: str, request_id: str) -> dict[str, Any]:
    """Return an acknowledgement of version 1.0."""
    return {"ResponseCode": code, "ResponseDescription": description[:200], "RequestID": request_id}


def refused(refusal: Refusal) -> Response:
    """Answer a refusal as version 1.0 does: 400, and 200 for pre-payment validation, with ResponseCode 01."""
    catalogue: Catalogue = running().problems
    status = catalogue[refusal.code].status if refusal.code in KEEP_THEIR_STATUS else 400
    if g.operation.operation_id == "prepaymentValidation" and status == 400:
        status = 200
    asked = g.get("body")
    if asked is None:
        asked = _body_as_it_came()
    request_id = asked.get("RequestID") if isinstance(asked, dict) else None
    said = "; ".join(f"{each['at']} {each['what']}".strip() for each in refusal.errors) or refusal.detail
    answer = acknowledgement("01", said or catalogue[refusal.code].title, "")
    del answer["RequestID"]
    if isinstance(request_id, str) and len(request_id) == 12:
        answer["RequestID"] = request_id
    response = jsonify(answer)
    response.status_code = status
    return response


def _body_as_it_came() -> Any:
    """Return the body of a request that broke the contract, as far as it is JSON, to echo its RequestID."""
    return request.get_json(force=True, silent=True)


def _acknowledging(request_id: str) -> Any:
    def say(taken: int, failed: list[FailedCase]) -> Answer:
        if not failed:
            return acknowledgement("00", f"{taken} taken", request_id), 200
        named = ", ".join(f"{each.payee} {each.reason}" for each in failed)
        description = f"{taken} taken, {len(failed)} failed: {named}"
        return (
            (acknowledgement("00", description, request_id), 200)
            if taken
            else (acknowledgement("01", description, request_id), 400)
        )

    return say


def _beneficiaries(items: Sequence[dict[str, Any]]) -> list[Beneficiary]:
    return [
        Beneficiary(
            each["PayeeFunctionalID"],
            each.get("PaymentModality"),
            each.get("FinancialAddress"),
            each.get("BankingInstitutionCode"),
            each.get("PayeeName"),
        )
        for each in items
    ]


def _instructions(items: Sequence[dict[str, Any]]) -> list[Instruction]:
    return [
        Instruction(
            each["InstructionID"],
            each["PayeeFunctionalID"],
            minor_units(each["Amount"], each["Currency"], f"CreditInstructions/{position}/Amount"),
            each["Currency"],
            each.get("Narration") or "",
            each.get("PayeeName", ""),
        )
        for position, each in enumerate(items)
    ]
