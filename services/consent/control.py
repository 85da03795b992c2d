"""Control of the consent block: its registration at identity, and an audit of its own tables."""

from typing import Any

import yaml
from flask import Blueprint, jsonify

from sandroad.problems import InvalidRequest
from sandroad.web import control_body, resource, running
from services.consent.keys import OwnKeys
from services.consent.login import Registration, Registrations, RelyingParty
from services.consent.store import ConsentStore
from services.consent.verification import Verification


def control_blueprint() -> Blueprint:
    """Return the endpoints; made anew for each app, because the app guards them."""
    control = Blueprint("consent-control", __name__)

    @control.get("/integrity")
    def check_integrity() -> Any:
        """Recompute every hash, chain link and signature."""
        return jsonify(resource(Verification).integrity())

    @control.get("/oidc-client")
    def wanted_registration() -> Any:
        """Say how this block wants to be registered at identity."""
        return jsonify(
            clientName="Consent",
            publicKey=resource(OwnKeys).client_jwk(),
            redirectUris=[resource(RelyingParty).redirect_uri],
            userClaims=["name"],
            programmes=_programmes(),
        )

    @control.put("/oidc-client")
    def keep_registration() -> Any:
        """Keep what identity registered this block as."""
        given = control_body()
        client_id, issuer = given.get("clientId"), given.get("issuer")
        if not isinstance(client_id, str) or not 0 < len(client_id) <= 100:
            raise InvalidRequest("clientId is what identity registered this block as")
        if not isinstance(issuer, str) or not issuer.startswith(("http://", "https://")) or len(issuer) > 500:
            raise InvalidRequest("issuer is the identity provider's URL")
        resource(Registrations).put(Registration(client_id, issuer))
        return jsonify(clientId=client_id, issuer=issuer)

    return control


def _programmes() -> list[str]:
    """Return the programmes whose numbers this block needs: the country's, and those of the agreements that are here."""
    store = resource(ConsentStore)
    with store.database.read() as connection:
        found = {each.programme for each in store.list_agreements(connection, 0, 1000)}
    for path in sorted((running().config.country / "programmes").glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found.add(str(document.get("programme", "")) if isinstance(document, dict) else "")
    return sorted(found - {""})
