"""The contract's operations over HTTP."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from flask import Response, jsonify, request

from sandroad.callers import caller
from sandroad.contracts import Contract, Routes, body
from sandroad.problems import AccessDenied, InvalidRequest, Refusal
from sandroad.web import resource, running
from services.identity.authorization import DISPLAYS, KNOWN_SCOPES
from services.identity.config import Config
from services.identity.domain import (
    GENERATED_CODE,
    KEPT_CLAIMS,
    RelyingParty,
    from_batch_row,
    from_enrollment,
)
from services.identity.exchange import Exchange
from services.identity.keys import KeyRing
from services.identity.operations import Enrolment, FunctionalIds, RegistrationRefused, RelyingParties
from services.identity.pages import begin_login, render_as_page
from services.identity.rights import Rights
from services.identity.tokens import InvalidToken, OAuthRefusal

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
CHANGEABLE = {
    "clientName": "name", "logoUri": "logo_uri", "redirectUris": "redirect_uris", "authContextRefs": "acr_values",
    "userClaims": "user_claims", "programmes": "programmes", "userinfoEncryptedResponseAlg": "userinfo_encryption",
}  # fmt: skip
# Which errorCode GovStack has for a defect in which member.
ERROR_CODES = {
    "clientId": "invalid_client_id", "clientName": "invalid_client_name", "relyingPartyId": "invalid_rp_id",
    "userClaims": "invalid_claim", "authContextRefs": "invalid_acr", "logoUri": "invalid_uri",
    "redirectUris": "invalid_redirect_uri", "grantTypes": "invalid_grant_type",
    "clientAuthMethods": "invalid_client_auth", "publicKey": "invalid_public_key",
}  # fmt: skip


def make_routes(contract: Contract) -> list[Routes]:
    """Return every operation, in groups that tell refusals each in its own form."""
    return [_discovery(contract), _browser(contract), _oauth(contract), _clients(contract), _persons(contract)]


def _discovery(contract: Contract) -> Routes:
    routes = Routes(contract)

    @routes.operation("getConfiguration")
    def get_configuration() -> Any:
        """Tell where everything is."""
        config = running().config
        assert isinstance(config, Config)
        return jsonify(configuration(config.issuer))

    @routes.operation("getKeys")
    def get_keys() -> Any:
        """Tell the public keys."""
        return jsonify(keys=[each.as_jwk() for each in resource(KeyRing).keys])

    return routes


def configuration(issuer: str) -> dict[str, Any]:
    """Return the discovery document (OpenID Connect Discovery 1.0 §3, GovStack's selection)."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "userinfo_endpoint": f"{issuer}/oidc/userinfo",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "registration_endpoint": f"{issuer}/client-mgmt/oidc-client",
        "scopes_supported": [scope for scope in KNOWN_SCOPES if scope != "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "acr_values_supported": [GENERATED_CODE],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "userinfo_signing_alg_values_supported": ["RS256"],
        "userinfo_encryption_alg_values_supported": ["RSA-OAEP-256"],
        "userinfo_encryption_enc_values_supported": ["A256GCM"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
        "code_challenge_methods_supported": ["S256"],
        "display_values_supported": list(DISPLAYS),
        "prompt_values_supported": ["login", "consent", "select_account"],
        "claim_types_supported": ["normal"],
        "claims_supported": ["sub", *KEPT_CLAIMS, "functional_ids"],
        "ui_locales_supported": ["en"],
        "claims_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
    }


def _browser(contract: Contract) -> Routes:
    routes = Routes(contract, render=render_as_page)
    routes.operation("authorize")(begin_login)
    routes.operation("authorizeByForm")(begin_login)
    return routes


def _oauth(contract: Contract) -> Routes:
    routes = Routes(contract, render=_tell_oauth)

    @routes.operation("postToken")
    def post_token() -> Any:
        """Exchange a code for tokens."""
        tokens = resource(Exchange).exchange(_form(body()))
        answer = {"id_token": tokens.id_token, "access_token": tokens.access_token, "token_type": "Bearer",
                  "expires_in": tokens.expires_in, "scope": tokens.scope}  # fmt: skip
        return jsonify(answer), 200, NO_STORE

    @routes.operation("getUserinfo")
    def get_userinfo() -> Any:
        """Return the consented claims."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return Response(status=401, headers={"WWW-Authenticate": "Bearer", **NO_STORE})
        jwt = resource(Exchange).userinfo(token.strip())
        return Response(jwt, content_type="application/jwt", headers=NO_STORE)

    routes.operation("postUserinfo")(get_userinfo)
    return routes


def _form(raw: bytes) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict",
                          max_num_fields=50)  # fmt: skip
    except ValueError as defect:
        raise OAuthRefusal("the body is not a form in UTF-8") from defect
    return [(name, value) for name, value in pairs if value]


def _tell_oauth(refusal: Refusal) -> Response:
    """Answer as RFC 6749 §5.2, and as RFC 6750 §3 for access tokens."""
    entry = running().problems[refusal.code]
    if isinstance(refusal, InvalidToken):
        header = f'Bearer error="invalid_token", error_description="{refusal.detail}"'
        return Response(status=401, headers={"WWW-Authenticate": header, **NO_STORE})
    code = refusal.code if isinstance(refusal, OAuthRefusal) else "invalid_request"
    if entry.status >= 500:
        code = "server_error"
    answer = json.dumps({"error": code, "error_description": refusal.detail[:300]})
    return Response(answer, entry.status, headers=NO_STORE, content_type="application/json")


def _clients(contract: Contract) -> Routes:
    routes = Routes(contract, render=_tell_registration)

    @routes.operation("createClient")
    def create_client() -> Any:
        """Register a relying party."""
        _only_local()
        asked = body()["request"]
        party = RelyingParty(
            client_id=asked["clientId"],
            subject_group=asked["relyingPartyId"],
            public_key=asked["publicKey"],
            **_details(asked),
        )
        return _registered(lambda: resource(RelyingParties).create(party), party.client_id)

    @routes.operation("updateClient")
    def update_client(client_id: str) -> Any:
        """Change a relying party."""
        _only_local()
        asked = body()["request"]
        changed = {**_details(asked), "active": asked["status"] == "active"}
        return _registered(lambda: resource(RelyingParties).update(client_id, changed), client_id)

    return routes


def _details(asked: Mapping[str, Any]) -> dict[str, Any]:
    given = {ours: asked[theirs] for theirs, ours in CHANGEABLE.items() if theirs in asked}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _registered(change: Any, client_id: str) -> Any:
    try:
        change()
    except RegistrationRefused as refused:
        return _registration_reply(refused.errors)
    return jsonify(responseTime=_now(), response={"clientId": client_id}, errors=[])


def _tell_registration(refusal: Refusal) -> Response:
    """Answer a broken contract with HTTP 200 and GovStack's errorCodes; other refusals as problem documents."""
    if not isinstance(refusal, InvalidRequest):
        return running().problems.response(refusal)
    found = [(_error_code(error), f"{error['at']}: {error['what']}"[:300]) for error in refusal.errors]
    return _registration_reply(found or [("invalid_request", refusal.detail)])


def _registration_reply(errors: list[tuple[str, str]]) -> Response:
    return jsonify(
        responseTime=_now(), errors=[{"errorCode": code, "errorMessage": message} for code, message in errors]
    )


def _error_code(error: Mapping[str, str]) -> str:
    missing = re.match(r'"(\w+)" is a required property', error["what"])
    member = missing[1] if missing else error["at"].removeprefix("/request").strip("/").split("/")[0]
    if not error["at"] and not missing:
        return "invalid_input"
    return ERROR_CODES.get(member, "invalid_request")


def _only_local() -> None:
    if not caller().is_local:
        raise AccessDenied("relying parties are registered by this member's administrator, not through the gateway")


def _persons(contract: Contract) -> Routes:
    routes = Routes(contract)

    @routes.operation("putEnrollment")
    def put_enrollment() -> Any:
        """Enrol or update one person."""
        _enrolment_service("PUT", "/enrollment")
        asked = body()["request"]
        process = asked.get("process", "NEW")
        person = from_enrollment(asked)
        is_new = resource(Enrolment).enrol(person, update=process == "UPDATE")
        packet = {"id": person.individual_id, "packetName": "id", "source": asked.get("source", ""), "process": process,
                  "refId": asked.get("refId", ""), "providerName": running().config.client, "creationDate": _now()}  # fmt: skip
        answer = {"id": body().get("id", ""), "version": body().get("version", ""), "responsetime": _now(),
                  "metaData": {}, "response": [packet], "errors": []}  # fmt: skip
        return jsonify(answer), 201 if is_new else 200

    @routes.operation("enrolBatch")
    def enrol_batch() -> Any:
        """Enrol many persons."""
        _enrolment_service("POST", "/enrollment/batch")
        persons = [from_batch_row(row) for row in body()["individuals"]]
        return jsonify(results=resource(Enrolment).enrol_batch(persons))

    @routes.operation("requestFunctionalIds")
    def request_functional_ids() -> Any:
        """Return the functional ids of a programme's list."""
        asked = body()
        if not caller().is_local:
            resource(Rights).require_programme(caller(), "POST", "/functional-ids", asked["programme"])
        return jsonify(results=resource(FunctionalIds).request(asked["programme"], asked["individuals"]))

    @routes.operation("resolveFunctionalIds")
    def resolve_functional_ids() -> Any:
        """Return the persons behind functional ids, for registries."""
        if caller().is_local:
            raise AccessDenied("functional ids are resolved for registries, through the gateway")
        resource(Rights).require(caller(), "POST", "/functional-ids/resolve")
        return jsonify(results=resource(FunctionalIds).resolve(body()["functionalIds"]))

    return routes


def _enrolment_service(method: str, path: str) -> None:
    """Let in the member itself and approved enrolment services (GovStack Identity 6.2)."""
    if not caller().is_local:
        resource(Rights).require(caller(), method, path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
