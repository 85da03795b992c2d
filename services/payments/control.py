"""Control for the steward: the ledger, and who is where."""

from typing import Any

from flask import Blueprint, jsonify

from sandroad.storage import Database
from sandroad.web import control_body, resource
from services.payments.config import Config
from services.payments.ledger import ledger
from services.payments.wiring import Wiring


def make_control(config: Config) -> Blueprint:
    """Return payments' own control endpoints."""
    control = Blueprint("payments_control", __name__)

    @control.get("/ledger")
    def show_ledger() -> Any:
        return jsonify(ledger(resource(Database), config.currency))

    @control.get("/institutions")
    def show_institutions() -> Any:
        return jsonify(resource(Wiring).institutions)

    @control.put("/institutions")
    def set_institutions() -> Any:
        resource(Wiring).set_institutions(control_body())
        return show_institutions()

    @control.get("/programmes")
    def show_programmes() -> Any:
        found = resource(Wiring).programmes
        return jsonify(
            {client: {"programme": each.code, "funding_account": str(each.account)} for client, each in found.items()}
        )

    @control.put("/programmes")
    def set_programmes() -> Any:
        resource(Wiring).set_programmes(control_body())
        return show_programmes()

    return control
