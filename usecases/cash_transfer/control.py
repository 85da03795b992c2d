"""What the steward asks: the registration at identity, and the import of a list."""

from typing import Any

from flask import Blueprint, Response, jsonify, request

from sandroad.problems import InvalidRequest
from sandroad.web import control_body, resource
from usecases.cash_transfer.importing.job import Import
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.relying_party import Registration, RelyingParty
from usecases.cash_transfer.store.relying_party import register, registration


def control_of() -> Blueprint:
    """Return the control operations, made anew for each app."""
    control = Blueprint("cash-transfer-control", __name__)

    @control.get("/oidc-client")
    def show_client() -> Any:
        """Show what identity has to know to let people log in here."""
        office, party = resource(Office), resource(RelyingParty)
        with office.store.read() as rows:
            known = registration(rows.connection)
        return jsonify(
            clientId=known.client_id if known else None,
            issuer=known.issuer if known else office.config.identity_issuer,
            suggestedClientId=office.config.oidc_client_id,
            clientName=office.programme.name,
            publicKey=party.public_key,
            redirectUris=[party.redirect_uri],
            userClaims=["name", "email", "phone_number"],
            programmes=[office.programme.id],
        )

    @control.put("/oidc-client")
    def set_client() -> Any:
        """Keep the client id that identity gave: ``{"clientId", "issuer"}``."""
        told = control_body()
        values = [told.get("clientId"), told.get("issuer")]
        if not all(isinstance(value, str) and 0 < len(value) <= 300 for value in values):
            raise InvalidRequest("clientId and issuer are texts")
        with resource(Office).store.begin() as rows:
            register(rows.connection, Registration(str(values[0]), str(values[1])))
        return show_client()

    @control.get("/trace")
    def show_trace() -> Any:
        """Show what was done since a position (``?since=``): the message ids lead to the evidence."""
        since = request.args.get("since", "0")
        if not (since.isascii() and since.isdigit() and len(since) < 16):
            raise InvalidRequest("since is the position of the last line that you have: a whole number")
        with resource(Office).store.read() as rows:
            return jsonify(lines=list(rows.trace.since(int(since))))

    @control.post("/import")
    def import_list() -> Any:
        """Import a list (text/csv); answer one JSON object a line while it goes on, the last one the summary."""
        job = resource(Import)
        rows = job.read(request.get_data())
        return Response(job.run(rows), content_type="application/x-ndjson; charset=utf-8")

    return control
