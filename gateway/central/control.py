"""Central's steward: who is on the network, approvals, new tokens, revocations. Mounted at ``/-``, management token only."""

from datetime import datetime
from typing import Any

from flask import Blueprint, jsonify

from gateway.central.domain import CertificateRecord, Member
from gateway.central.operations import Central
from sandroad.problems import InvalidRequest
from sandroad.web import control_body, resource


def steward_control() -> Blueprint:
    """Return the control endpoints."""
    control = Blueprint("central_control", __name__)

    @control.get("/members")
    def list_members() -> Any:
        return jsonify([_member(member) for member in resource(Central).directory().members])

    @control.put("/members/<member_class>/<code>")
    def register_member(member_class: str, code: str) -> Any:
        body = control_body()
        subsystems = body.get("subsystems", [])
        if not isinstance(subsystems, list) or not all(isinstance(one, str) for one in subsystems):
            raise InvalidRequest("subsystems is a list of codes")
        member = Member(f"{member_class}/{code}", _text(body, "name"), tuple(dict.fromkeys(subsystems)))
        return jsonify(_member(resource(Central).register_member(member)))

    @control.get("/gateways")
    def list_gateways() -> Any:
        return jsonify(
            [
                {
                    "gateway": one.gateway,
                    "member": one.member,
                    "address": one.address,
                    "queue": one.queue,
                    "approved": one.approved,
                }
                for one in resource(Central).directory().enrolments
            ]
        )

    @control.post("/gateways/<gateway>/approval")
    def approve(gateway: str) -> Any:
        return jsonify(_certificate(resource(Central).approve(gateway)))

    @control.post("/gateways/<gateway>/token")
    def grant_token(gateway: str) -> Any:
        return jsonify(gateway=gateway, token=resource(Central).grant_token(gateway, _text(control_body(), "member")))

    @control.get("/certificates")
    def list_certificates() -> Any:
        return jsonify([_certificate(record) for record in resource(Central).directory().certificates])

    @control.post("/certificates/<x5t>/revocation")
    def revoke(x5t: str) -> Any:
        reason = control_body().get("reason", "unspecified")
        if not isinstance(reason, str):
            raise InvalidRequest("reason is a text")
        return jsonify(_certificate(resource(Central).revoke(x5t.lower(), reason)))

    return control


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{name} is a text that is not empty")
    return value


def _member(member: Member) -> dict[str, Any]:
    return {"id": member.id, "name": member.name, "subsystems": list(member.subsystems)}


def _certificate(record: CertificateRecord) -> dict[str, Any]:
    return {
        "x5t": record.x5t,
        "serial": f"{record.serial:x}",
        "gateway": record.gateway,
        "member": record.member,
        "not_before": _instant(record.not_before),
        "not_after": _instant(record.not_after),
        "status": "revoked" if record.revoked_at else "good",
        "revoked_at": _instant(record.revoked_at) if record.revoked_at else None,
        "reason": record.revocation_reason if record.revoked_at else None,
    }


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
