"""Who calls: the own gateway on behalf of a subsystem, or the member itself. Nobody else gets in."""

import hmac
import re
from dataclasses import dataclass

from flask import Request, g

from sandroad.problems import CallerUnknown, InvalidRequest
from sandroad.settings import AppConfig

GATEWAY_SECRET_HEADER = "X-Sandroad-Gateway"
CLIENT_HEADERS = ("X-Road-Client", "Information-Mediator-Client", "X-GovStack-Client")
CLIENT_FORM = re.compile(r"[^/\s]+/[^/\s]+/[^/\s]+(/[^/\s]+)?")


@dataclass(frozen=True)
class Caller:
    """``client`` is an X-Road identifier of 3 or 4 parts; ``via`` is ``gateway`` or ``local`` (the member's own administrator)."""

    client: str
    via: str
    request_id: str = ""
    message_id: str = ""
    user_id: str = ""
    issue: str = ""

    @property
    def is_local(self) -> bool:
        """Whether the member itself calls, past the gateway."""
        return self.via == "local"


def identify(config: AppConfig, incoming: Request) -> Caller:
    """Return who calls, or raise ``CallerUnknown``.

    Without the gateway's secret a client header is worth nothing: anybody on the network could write one.
    """
    secret = incoming.headers.get(GATEWAY_SECRET_HEADER, "")
    if secret:
        if not hmac.compare_digest(secret.encode(), config.gateway_secret.encode()):
            raise CallerUnknown(
                "the gateway's secret is wrong: only this member's own gateway may call on behalf of others"
            )
        client = incoming.headers.get("X-Road-Client", "")
        if not CLIENT_FORM.fullmatch(client):
            raise InvalidRequest("X-Road-Client is missing or not INSTANCE/CLASS/MEMBER[/SUBSYSTEM]")
        return Caller(
            client,
            "gateway",
            request_id=incoming.headers.get("X-Road-Request-Id", ""),
            message_id=incoming.headers.get("X-Road-Id", ""),
            user_id=incoming.headers.get("X-Road-UserId", ""),
            issue=incoming.headers.get("X-Road-Issue", ""),
        )
    if is_steward(config, incoming):
        return Caller(config.client, "local")
    if any(header in incoming.headers for header in CLIENT_HEADERS):
        raise CallerUnknown("this call did not come through the gateway: a client header alone proves nothing")
    raise CallerUnknown("call through the gateway (/r1/…), or as this member's administrator with its management token")


def is_steward(config: AppConfig, incoming: Request) -> bool:
    """Tell whether the request bears this app's management token."""
    given = incoming.headers.get("Authorization", "")
    expected = f"Bearer {config.management_token}"
    return bool(config.management_token) and hmac.compare_digest(given.encode(), expected.encode())


def caller() -> Caller:
    """Return the caller of the current request; only in operations that were let in."""
    return g.caller
