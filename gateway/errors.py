"""Why a gateway refuses or fails: X-Road's error types with their literal messages, and how a caller is told.

A body carries X-Road's ``type``, ``message`` and ``detail`` (a uuid that also stands in the gateway's log) and adds
``hint``: what is wrong and who can mend it. Every error that a REST caller meets is ``Server.…`` and so a 500, also
where the caller is at fault: that is X-Road's behaviour, which existing clients rely on.
"""

import json
from collections.abc import Sequence
from uuid import uuid4
from xml.sax.saxutils import escape

CLIENT_PROXY = "Server.ClientProxy"
SERVER_PROXY = "Server.ServerProxy"
XML_TYPES = {"text/xml": "text/xml", "application/xml": "application/xml", "text/*": "text/xml"}

OUTCOME_UNKNOWN = f"{SERVER_PROXY}.ServiceFailed.OutcomeUnknown"
ASK_AGAIN = "whether the request was executed is unknown: repeat it with the same id of its contract, if it has one"


class GatewayError(Exception):
    """One refusal or fault; ``executed`` tells what is known of the service: ``no`` or ``unknown``."""

    def __init__(self, kind: str, message: str, hint: str, *, executed: str = "no") -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.hint = hint
        self.executed = executed
        self.detail = str(uuid4())

    @property
    def status(self) -> int:
        """The HTTP status: 500 for ``Server.…``, else 400."""
        return 500 if self.kind.lower().startswith("server.") else 400

    def render(self, accept: Sequence[str]) -> tuple[str, bytes]:
        """Return content type and body in the format that the values of ``Accept`` ask for."""
        content_type = chosen_format(accept)
        fields = {"type": self.kind, "message": self.message, "detail": self.detail, "hint": self.hint}
        if content_type == "application/json":
            return content_type, json.dumps(fields, ensure_ascii=False).encode()
        inner = "".join(f"<{name}>{escape(_printable(value))}</{name}>" for name, value in fields.items())
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<error>{inner}</error>'
        return f"{content_type};charset=utf-8", text.encode()


def chosen_format(accept: Sequence[str]) -> str:
    """Return the first known XML type among ``Accept``'s members, else JSON; X-Road ignores q-values, and so do we."""
    for member in ",".join(accept).split(","):
        kind = member.split(";")[0].strip().lower()
        if kind in XML_TYPES:
            return XML_TYPES[kind]
    return "application/json"


def _printable(text: str) -> str:
    """XML 1.0 has no form at all for most control characters, and for halves of surrogate pairs."""
    return "".join(c if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff") else "\ufffd" for c in text)


def client_error(code: str, message: str, hint: str, *, executed: str = "no") -> GatewayError:
    """Return an error of the consumer's side."""
    return GatewayError(f"{CLIENT_PROXY}.{code}", message, hint, executed=executed)


def server_error(code: str, message: str, hint: str, *, executed: str = "no") -> GatewayError:
    """Return an error of the provider's side."""
    return GatewayError(f"{SERVER_PROXY}.{code}", message, hint, executed=executed)


def invalid_uri() -> GatewayError:
    """The target is not ``/r1/instance/class/member/subsystem/service[/path][?query]``."""
    return client_error(
        "InternalError",
        "Invalid request URI",
        "the caller must send /r1/{instance}/{memberClass}/{memberCode}/{subsystem}/{service}[/path][?query], "
        "each part percent-encoded as UTF-8",
    )


def invalid_version(part: str) -> GatewayError:
    """The first part of the target is not ``r1``."""
    numbered = len(part) == 2 and part[0] == "r" and part[1].isascii() and part[1].isdigit()
    message = f"Unsupported protocol version {part[1]}" if numbered else f"Invalid protocol version {part}"
    return client_error("InternalError", message, "the caller must use /r1/…, the only version of the REST protocol")


def missing_client() -> GatewayError:
    """No ``X-Road-Client``."""
    return client_error(
        "InvalidClientIdentifier",
        "The client identifier is missing",
        "the caller must name its subsystem in the header X-Road-Client: {instance}/{class}/{member}/{subsystem}",
    )


def invalid_client() -> GatewayError:
    """``X-Road-Client`` is not an identifier of three or four parts."""
    return client_error(
        "InternalError",
        "Invalid Client Id",
        "X-Road-Client must be {instance}/{memberClass}/{memberCode}[/{subsystem}], each part percent-encoded",
    )


def unknown_client(label: str, own_member: str) -> GatewayError:
    """The client is not a subsystem of this gateway's member, or not registered."""
    return client_error(
        "UnknownMember",
        f"Client '{label}' not found",
        f"this is the gateway of {own_member}: call the gateway of your own organisation, "
        "or ask central's steward to register the subsystem",
    )


def unknown_provider(label: str) -> GatewayError:
    """No gateway in the global configuration serves the provider."""
    return client_error(
        "UnknownMember",
        f'Could not find addresses for service provider "{label}"',
        "the caller must check the spelling of the service's identifier; "
        "if it is right, its organisation has to register the subsystem and start its gateway",
    )


def unknown_security_server(value: str, *, exists: bool) -> GatewayError:
    """``X-Road-Security-Server`` names no gateway, or one that does not serve the provider."""
    if exists:
        return client_error(
            "InvalidSecurityServer",
            f'Invalid security server "{value}"',
            "that gateway does not serve the provider: the caller must name another, or leave the header out",
        )
    return client_error(
        "InvalidSecurityServer",
        f'Could not find security server "{value}"',
        "the caller must name a gateway of the global configuration in X-Road-Security-Server, or leave it out",
    )


def outdated_configuration(prefix: str, since: str) -> GatewayError:
    """The gateway's global configuration has expired, or it never had one."""
    return GatewayError(
        f"{prefix}.OutdatedGlobalConf",
        "Global configuration is expired",
        f"{since}; the gateway's operator must see that it reaches central, whose steward must see that it runs",
    )


def not_enrolled(prefix: str) -> GatewayError:
    """The gateway has no certificate yet."""
    return GatewayError(
        f"{prefix}.SslAuthenticationFailed",
        "Security server has no authentication certificate",
        "the gateway waits for its certificate: its operator must see that it reaches central, "
        "whose steward may have to approve it",
    )


def unreachable(addresses: str) -> GatewayError:
    """Nobody listens at the provider's gateway."""
    return client_error(
        "NetworkError",
        f"Could not connect to any target host ({addresses})",
        "the provider's gateway is not running or cannot be reached; the request was not delivered, "
        "the provider's operator must start it",
    )


def body_too_large(prefix: str, limit: int, *, executed: str = "no") -> GatewayError:
    """A body is over what the message log keeps."""
    whose = "the caller must send less, in several calls" if executed == "no" else "the service must answer with less"
    return GatewayError(
        f"{prefix}.IOError",
        "LoggingFailed: Message size exceeds maximum loggable size",
        f"a body may have at most {limit} bytes here; {whose}",
        executed=executed,
    )


def header_defect(prefix: str, message: str, hint: str) -> GatewayError:
    """A header breaks a rule of the message protocol."""
    return GatewayError(f"{prefix}.InternalError", message, hint)


def unknown_service(label: str) -> GatewayError:
    """The provider has no such service."""
    return server_error(
        "UnknownService",
        f"Unknown service: {label}",
        "the caller must check the service code; if it is right, the provider has to declare the service",
    )


def provider_not_here(label: str, own_member: str) -> GatewayError:
    """The message came to the gateway of another member, or for a subsystem that it does not have."""
    return server_error(
        "UnknownMember",
        f"Client '{label}' not found",
        f"this is the gateway of {own_member}, which has no such subsystem: the provider's operator must check it",
    )


def access_denied(label: str) -> GatewayError:
    """No access right covers the request."""
    return server_error(
        "AccessDenied",
        f"Request is not allowed: {label}",
        "the provider has given the calling subsystem no right to this method and path; only the provider can give it",
    )


def unsafe_path(label: str) -> GatewayError:
    """The path could mean another one to the service than to the access rights."""
    return server_error(
        "AccessDenied",
        f"Request is not allowed: {label}",
        "the path contains '..', or bytes that are not UTF-8, so no right can be checked on it; "
        "the caller must send a plain one",
    )


def service_disabled(label: str, notice: str) -> GatewayError:
    """The provider has switched the service off."""
    return server_error(
        "ServiceDisabled",
        f"Service {label} is disabled: {notice}",
        "the provider has switched the service off for now; its notice says why",
    )


def missing_url(label: str) -> GatewayError:
    """The service has no address."""
    return server_error(
        "ServiceMissingUrl",
        f"Service address not specified for '{label}'",
        "the provider's operator must set the service's url",
    )


def too_late() -> GatewayError:
    """The deadline passed before the service was called."""
    hint = "the caller's deadline passed before the service had a free place: the request was not executed, it may be repeated"
    return server_error("IOError", "Read timed out", hint)


def outcome_unknown() -> GatewayError:
    """The gateway stopped while the service was called."""
    hint = (
        "the provider's gateway stopped while it called the service: whether the request was executed is unknown; "
        "repeat it with the same id of its contract, which the service recognises, or ask the provider"
    )
    return GatewayError(OUTCOME_UNKNOWN, "The outcome of the request is unknown", hint, executed="unknown")


def replayed(request_id: str) -> GatewayError:
    """The same envelope came a second time."""
    hint = "this envelope came before: it was copied on the way, or the calling gateway repeats itself; nothing was executed"
    return server_error("InvalidRequest.Replayed", f"Request {request_id} was received before", hint)


def logging_failed(prefix: str, executed: str) -> GatewayError:
    """The message log cannot be written."""
    known = "the request was not executed" if executed == "no" else ASK_AGAIN
    hint = f"the gateway's operator must look at its database (is the disk full?); {known}"
    return GatewayError(f"{prefix}.LoggingFailed", "The message log cannot be written", hint, executed=executed)
