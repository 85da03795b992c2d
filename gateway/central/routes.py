"""Central over HTTP: its contract's operations, and the OCSP form that carries its request in the path."""

import base64
import binascii
import urllib.parse
from pathlib import Path
from typing import Any

from cryptography import x509
from flask import Blueprint, Response, jsonify

from gateway.central.authority import Authority, pem
from gateway.central.config import Config
from gateway.central.operations import Central, EnrolmentRequest
from gateway.central.timestamping import TimeStampingAuthority
from gateway.trust.anchor import Anchor
from sandroad.contracts import Contract, Routes, body
from sandroad.web import resource

CONFIGURATION_TYPE = "application/vnd.sandroad.configuration"
OCSP_TYPE = "application/ocsp-response"
TIMESTAMP_TYPE = "application/timestamp-reply"


def central_routes(contracts: Path) -> Routes:
    """Return the bound operations of ``gateway/central.yaml``."""
    routes = Routes(Contract.load(contracts / "gateway" / "central.yaml"))

    @routes.operation("enrolGateway")
    def enrol_gateway() -> Any:
        """Certify a gateway, or say that it waits."""
        record = resource(Central).enrol(EnrolmentRequest(**body()))
        if record is None:
            return jsonify(status="pending"), 202
        authority = resource(Authority)
        return jsonify(
            status="enrolled",
            member=record.member,
            certificate=pem(x509.load_der_x509_certificate(record.der)),
            ca_certificates=[pem(authority.ca.certificate)],
        )

    @routes.operation("getConfiguration")
    def get_configuration() -> Any:
        """Publish the signed global configuration."""
        answer = Response(resource(Central).configuration(), content_type=CONFIGURATION_TYPE)
        answer.headers["Cache-Control"] = "no-cache"
        return answer

    @routes.operation("getAnchor")
    def get_anchor() -> Any:
        """Give the trust anchor out; whoever takes it from here has to compare it with one that came another way."""
        return Response(resource(Anchor).render(), content_type="application/json")

    @routes.operation("askOcsp")
    def ask_ocsp() -> Any:
        """Answer RFC 6960 over POST."""
        return _ocsp(body() or b"")

    @routes.operation("askOcspByGet")
    def ask_ocsp_by_get(request: str) -> Any:
        """Answer RFC 6960 over GET."""
        return _ocsp(_decoded(request))

    @routes.operation("stampTime")
    def stamp_time() -> Any:
        """Answer RFC 3161."""
        return Response(resource(TimeStampingAuthority).answer(body() or b""), content_type=TIMESTAMP_TYPE)

    return routes


def ocsp_paths() -> Blueprint:
    """Return the rule for OCSP requests whose base64 has a slash in it, which a contract's path cannot express."""
    paths = Blueprint("ocsp_paths", __name__)

    @paths.get("/ocsp/<path:request>")
    def ask(request: str) -> Any:
        return _ocsp(_decoded(request))

    return paths


def anchor_of(config: Config, authority: Authority) -> Anchor:
    """Return the anchor of this instance."""
    return Anchor(
        instance=config.instance,
        configuration_url=config.configuration_url,
        configuration_certificate=authority.configuration.certificate,
        ca_certificates=(authority.ca.certificate,),
        tsa_certificates=(authority.tsa.certificate,),
        ocsp_freshness_seconds=config.ocsp_freshness_seconds,
    )


def _ocsp(request: bytes) -> Response:
    return Response(resource(Central).answer_ocsp(request), content_type=OCSP_TYPE)


def _decoded(request: str) -> bytes:
    """Return the request in a path (RFC 6960 §A.1); what is not base64 becomes an empty, malformed request."""
    try:
        return base64.b64decode(urllib.parse.unquote(request), validate=True)
    except (binascii.Error, ValueError):
        return b""
