"""HTTP in, the contract's spelling out; the same operations at `/` and at `/v1` (GovStack's file and its tests differ)."""

import json
from typing import Any

from flask import Response, jsonify, request

from sandroad.callers import caller
from sandroad.contracts import Contract, Routes, body, parameters
from sandroad.problems import InvalidRequest, Refusal
from sandroad.web import resource, running
from services.messaging.operations import Messaging

ACCEPTED = 'Request successfully accepted. Use "requestUid" to track its status.'


def messaging_routes(contract: Contract, prefix: str = "") -> Routes:
    """Return the contract's operations, bound, below ``prefix``; without one they answer as the published tests want."""
    first_version = not prefix
    routes = Routes(contract, prefix=prefix, render=_tell_first_version if first_version else None)

    @routes.operation("sendSingleEmail")
    def send_single_email() -> Any:
        """Send a single e-mail."""
        return _accepted(resource(Messaging).send_single("email", caller(), body()))

    @routes.operation("sendBatchEmail")
    def send_batch_email() -> Any:
        """Send an e-mail to many."""
        return _accepted(resource(Messaging).send_batch("email", caller(), body()))

    @routes.operation("sendSingleSms")
    def send_single_sms() -> Any:
        """Send a single text message."""
        return _accepted(resource(Messaging).send_single("sms", caller(), body()))

    @routes.operation("sendBatchSms")
    def send_batch_sms() -> Any:
        """Send a text message to many."""
        return _accepted(resource(Messaging).send_batch("sms", caller(), body()))

    @routes.operation("getEmailStatus")
    def get_email_status() -> Any:
        """Say how far the e-mails of a request are."""
        return _status("email", first_version=first_version)

    @routes.operation("getSmsStatus")
    def get_sms_status() -> Any:
        """Say how far the text messages of a request are."""
        return _status("sms", first_version=first_version)

    return routes


def _accepted(request_uid: str) -> Any:
    """Both spellings of the id: the file says ``requestUid``, the published tests ``requestUID`` (5.5.4)."""
    return jsonify(response=ACCEPTED, requestUid=request_uid, requestUID=request_uid)


def _status(channel: str, *, first_version: bool) -> Any:
    asked = parameters()
    counts = resource(Messaging).status(channel, caller(), asked["requestUid"], asked["status"])
    if first_version and "notSent" in counts:
        counts["not sent"] = counts["notSent"]
    return jsonify(counts)


def _tell_first_version(refusal: Refusal) -> Response:
    """Tell a refusal as the published tests want it: 405 for every bad request, all bodies ``application/json``."""
    problems = running().problems
    if not isinstance(refusal, InvalidRequest):
        return problems.response(refusal)
    response = Response(json.dumps(problems.document(refusal) | {"status": 405}), 405, content_type="application/json")
    response.headers["Allow"] = request.method
    return response
