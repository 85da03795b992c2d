"""Version 3.0 over HTTP (chapter 8), and what institutions call: names in any case, results by callback."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request

from sandroad.callers import caller
from sandroad.contracts import Contract, Routes, body, parameters, pointer
from sandroad.problems import InvalidRequest, Refusal
from sandroad.storage import Database
from sandroad.web import resource, running
from services.payments.batches import Batches, Order
from services.payments.config import Config
from services.payments.domain import Beneficiary, FailedCase, Instruction, checked_callback, minor_units, spelled
from services.payments.execution import Execution
from services.payments.mapper import Mapper
from services.payments.requests import Answer, digest

PAYEE_NAMES = (
    "requestID", "sourceBBID", "beneficiaries", "payeeIdentity", "paymentModality", "financialAddress",
    "bankingInstitutionCode", "payeeName", "status",
)  # fmt: skip


def make_routes_v3(contract: Contract, config: Config) -> Routes:
    """Return the operations of version 3.0 and of institutions."""
    routes = Routes(contract, render=refused)
    registration = contract.schema({"$ref": "#/components/schemas/PayeeRegistration"})
    update = contract.schema({"$ref": "#/components/schemas/PayeeUpdate"})

    def callback(*, required: bool) -> str:
        address = parameters().get("X-Callback-URL") or request.headers.get("X-CallbackURL", "")
        if address:
            return checked_callback(address, caller().client, config.callback_allow_list)
        if required:
            raise InvalidRequest("header X-Callback-URL is missing: the result is sent there")
        return ""

    def change_payees(change: Any, schema: Any, to: str) -> Any:
        asked: Any = spelled(body(), PAYEE_NAMES)
        for error in schema.iter_errors(asked):
            at = pointer(error.instance_path)
            raise InvalidRequest(
                f"body {at}: {error.message[:200]}", [{"where": "body", "at": at, "what": error.message[:200]}]
            )
        say = _acknowledging(asked["requestID"])
        wanted = _beneficiaries(asked["beneficiaries"])
        return change(caller().client, asked["requestID"], digest(asked), wanted, to, say)

    @routes.operation("registerPayees")
    def register_payees() -> Any:
        return change_payees(resource(Mapper).register, registration, callback(required=True))

    @routes.operation("updatePayees")
    def update_payees() -> Any:
        return change_payees(resource(Mapper).update, update, callback(required=False))

    @routes.operation("handOverBatch")
    def hand_over_batch() -> Any:
        client, name = caller().client, parameters()["X-CorrelationID"]
        to, wanted = callback(required=True), _instructions(body())
        order = Order(client, name, name, to, parameters().get("X-Program-Id"), wanted)
        with resource(Database).begin() as connection:
            batch = resource(Batches).accept(connection, order)
        return {"batchId": batch}, 202

    @routes.operation("batchDetail")
    def batch_detail() -> Any:
        asked = parameters()
        found = resource(Batches).transactions(
            caller().client,
            asked["batchId"],
            page=asked.get("pageNo", 0),
            size=asked.get("pageSize", 100),
            status=asked.get("status"),
            correlation=asked.get("X-CorrelationID"),
        )
        return found, 200

    @routes.operation("batchSummary")
    def batch_summary() -> Any:
        return resource(Batches).summary(caller().client, parameters()["batchId"])

    @routes.operation("receiveSubBatchResults")
    def receive_sub_batch_results(sub_batch_id: str) -> Any:
        told = body()
        if told["subBatchId"] != sub_batch_id:
            raise InvalidRequest("subBatchId and the path name two sub-batches")
        resource(Execution).receive(caller().client, sub_batch_id, told["batchId"], told["results"])
        return {"message": "taken"}

    return routes


def refused(refusal: Refusal) -> Response:
    """Answer a refusal as problem+json with GovStack's response code beside it."""
    problems = running().problems
    description = (refusal.detail or problems[refusal.code].title)[:200]
    refusal.extra |= {"responseCode": "01", "responseDescription": description}
    return problems.response(refusal)


def _acknowledging(request_id: str) -> Any:
    def say(taken: int, failed: list[FailedCase]) -> Answer:
        description = "the result is sent to X-Callback-URL"
        return {"responseCode": "00", "responseDescription": description, "requestID": request_id}, 200

    return say


def _beneficiaries(items: Sequence[Mapping[str, Any]]) -> list[Beneficiary]:
    return [
        Beneficiary(
            each["payeeIdentity"],
            each.get("paymentModality"),
            each.get("financialAddress"),
            each.get("bankingInstitutionCode"),
            each.get("payeeName"),
            {"0": False, "1": True}.get(each.get("status", "")),
        )
        for each in items
    ]


def _instructions(items: Sequence[Mapping[str, Any]]) -> list[Instruction]:
    return [
        Instruction(
            each["requestId"],
            _payee(each["creditParty"], position),
            minor_units(each["amount"], each["currency"], f"body /{position}/amount"),
            each["currency"],
            each.get("descriptionText", ""),
        )
        for position, each in enumerate(items)
    ]


def _payee(party: Sequence[Mapping[str, str]], position: int) -> str:
    named = [each["value"] for each in party if each["key"].lower() == "payeeidentity"]
    if len(named) != 1 or not 0 < len(named[0]) <= 20:
        raise InvalidRequest(
            f"body /{position}/creditParty: one key payeeIdentity, with up to 20 characters, is needed"
        )
    return named[0]
