"""Operational records: one per exchange and side, in X-Road's field names; never a body, a query or a person's id."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from gateway.message import Headers, Identifier, Target, last_value

CLIENT_SIDE = "Client"
PRODUCER_SIDE = "Producer"
VERSION = "sandroad-1"


def now_ms() -> int:
    """Return the real time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Operation:
    """What is noted while an exchange goes on; times are milliseconds, ``None`` where it did not come so far."""

    side: str
    address: str
    fields: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fields |= {
            "securityServerInternalIp": self.address,
            "securityServerType": self.side,
            "xRoadVersion": VERSION,
            "requestInTs": now_ms(),
            "messageProtocolVersion": "1",
            "serviceType": "REST",
            "requestAttachmentCount": 0,
            "responseAttachmentCount": 0,
        }

    def note(self, **fields: Any) -> None:
        """Add fields by X-Road's names."""
        self.fields |= fields

    def client(self, client: Identifier) -> None:
        """Note who calls."""
        names = ("clientXRoadInstance", "clientMemberClass", "clientMemberCode", "clientSubsystemCode")
        self.fields |= dict(zip(names, client.parts, strict=False))

    def service(self, target: Target, method: str) -> None:
        """Note what is called."""
        names = ("serviceXRoadInstance", "serviceMemberClass", "serviceMemberCode", "serviceSubsystemCode")
        self.fields |= dict(zip(names, target.provider.parts, strict=True))
        self.fields |= {"serviceCode": target.service, "restMethod": method}

    def message(self, message_id: str, request_id: str, size: int) -> None:
        """Note the ids and the size of the request."""
        self.fields |= {"messageId": message_id, "xRequestId": request_id, "requestSize": size}

    def personal(self, headers: Headers) -> None:
        """Note what the caller says about itself in the headers that X-Road records; not for services logged as metadata."""
        represented = (last_value(headers, "x-road-represented-party") or "").split("/")
        known = {
            "messageUserId": last_value(headers, "x-road-userid"),
            "messageIssue": last_value(headers, "x-road-issue"),
            "representedPartyClass": represented[0] if len(represented) == 2 else None,
            "representedPartyCode": represented[-1] or None,
        }
        self.fields |= {name: value for name, value in known.items() if value}

    def finish(self, status: int | None, *, fault: tuple[str, str] | None = None, size: int = 0) -> str:
        """Return the finished record as JSON. ``fault`` is type and message of a gateway's error."""
        now = now_ms()
        self.fields |= {
            "monitoringDataTs": now // 1000,
            "responseOutTs": now,
            "responseSize": size,
            "succeeded": fault is None and status is not None and status < 400,
            "statusCode": status,
        }
        if fault is not None:
            self.fields |= {"faultCode": fault[0], "faultString": fault[1]}
        return json.dumps(self.fields, ensure_ascii=False)
