"""The X-Road message of one request or response: identifiers, header rules, the bytes that are signed. Pure.

Paragraphs of the X-Road message protocol for REST are in the comments. The target stays the raw text that the caller
sent: what a service receives and what is signed is never decoded and encoded again.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

Headers = list[tuple[str, str]]

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
SKIPPED = frozenset(
    {
        "transfer-encoding", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "upgrade",
        "connection", "user-agent", "host", "content-length", "server", "expect",
    }
)  # fmt: skip
CLIENT = "x-road-client"
CLIENT_ALIASES = frozenset({"information-mediator-client", "x-govstack-client"})
CLIENT_HEADERS = CLIENT_ALIASES | {CLIENT}
MESSAGE_ID = "x-road-id"
REQUEST_ID = "x-road-request-id"
REQUEST_HASH = "x-road-request-hash"
SERVICE = "x-road-service"
ERROR = "x-road-error"
SECURITY_SERVER = "x-road-security-server"
REPRESENTED_PARTY = "x-road-represented-party"
REFUSED = "x-sandroad-refused"
SECRET = "x-sandroad-gateway"

_SET_BY_GATEWAY = frozenset({REQUEST_ID, REQUEST_HASH, SECRET})
_SET_BY_PROVIDER = frozenset({MESSAGE_ID, REQUEST_ID, REQUEST_HASH, CLIENT, SERVICE, ERROR, REFUSED, SECRET})
_NOT_FORWARDED = SKIPPED | _SET_BY_GATEWAY | CLIENT_HEADERS | {MESSAGE_ID, REFUSED}
_NEVER_IN_REQUESTS = CLIENT_ALIASES | {REQUEST_HASH}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SEGMENT = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+")
_TARGET = re.compile(r"/[!-\"$-~]*")  # visible ASCII; a '#' never belongs into a request line
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNESCAPED = "-._~!$'()*,;&=@:+"
_SHOWN_PARTS = 4
_REQUEST_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class MessageDefect(ValueError):
    """Bytes or values are no X-Road message; the text says what is wrong with which part."""


class BadTarget(MessageDefect):
    """The target of a request is not of the form of pr-rest 4.1."""


class BadVersion(MessageDefect):
    """The target's first part is not ``r1``; the text is that part."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """Two to four decoded parts: instance, member class, member code, subsystem.

    Its text encodes each part anew, so that two different identifiers never have one text: a ``/`` inside a part is
    ``%2F`` (otherwise the member ``A/B`` could pass for subsystem ``B`` of ``A``).
    """

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, raw: str, allowed: Sequence[int] = (3, 4)) -> "Identifier":
        """Read percent-encoded parts (pr-rest 4.3); ``MessageDefect`` if there are more, fewer or bad ones."""
        parts = raw.split("/")
        if len(parts) not in allowed:
            raise MessageDefect(f"{len(parts)} parts")
        return cls(tuple(decode_segment(part) for part in parts))

    def __str__(self) -> str:
        return encoded(self.parts)

    @property
    def instance(self) -> str:
        """The instance."""
        return self.parts[0]

    @property
    def member(self) -> str:
        """The member without the instance, ``GOV/CIVIL``."""
        return encoded(self.parts[1:3])

    @property
    def label(self) -> str:
        """As X-Road's messages name a client: ``SUBSYSTEM:I/C/M/S`` or ``MEMBER:I/C/M``."""
        return ("SUBSYSTEM:" if len(self.parts) == _SHOWN_PARTS else "MEMBER:") + "/".join(self.parts)


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of ``/r1/…``: the provider's subsystem, the service, and what goes to the service as it is.

    ``path`` is raw and starts with ``/``, or is empty; ``query`` is raw, None without a ``?``.
    """

    provider: Identifier
    service: str
    path: str
    query: str | None

    @property
    def service_id(self) -> str:
        """``SANDBOX/GOV/CIVIL/REGISTRY/registry``, each part encoded."""
        return f"{self.provider}/{encoded((self.service,))}"

    @property
    def label(self) -> str:
        """As X-Road's messages name a service: ``SERVICE:I/C/M/S/code``."""
        return "SERVICE:" + "/".join((*self.provider.parts, self.service))


@lru_cache(maxsize=4096)
def encoded(parts: tuple[str, ...]) -> str:
    """Join parts with ``/``, each encoded as ``x-road-client`` and ``x-road-service`` have them in responses."""
    return "/".join(quote(part, safe=_UNESCAPED) for part in parts)


def decode_segment(raw: str) -> str:
    """Decode one part of an identifier; unescaped it may hold only what pr-rest 4.3 lists."""
    if not _SEGMENT.fullmatch(raw):
        raise MessageDefect(f"{raw!r} is empty or has characters that must be percent-encoded")
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise MessageDefect(f"{raw!r} is not UTF-8") from None


@lru_cache(maxsize=1024)
def _provider(raw: tuple[str, ...]) -> tuple[Identifier, str]:
    decoded = tuple(decode_segment(part) for part in raw)
    return Identifier(decoded[:4]), decoded[4]


def parse_target(raw: str) -> Target:
    """Read a request target. Raises ``BadVersion`` or ``BadTarget``.

    X-Road splits at most seven times, so that everything behind the service code stays one raw path.
    """
    if not _TARGET.fullmatch(raw):
        raise BadTarget("the target has bytes that cannot stand in a request line")
    before, mark, query = raw.partition("?")
    parts = before.split("/", 7)
    if parts[1] != "r1":
        raise BadVersion(parts[1]) if parts[1].startswith("r") else BadTarget("the target does not start with /r1/")
    if len(parts) < 7:
        raise BadTarget("the target has fewer parts than /r1/instance/class/member/subsystem/service")
    try:
        provider, service = _provider(tuple(parts[2:7]))
    except MessageDefect as defect:
        raise BadTarget(str(defect)) from None
    return Target(provider, service, "/" + parts[7] if len(parts) == 8 else "", query if mark else None)


def last_value(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the value of the last header of this (lower-case) name."""
    found = None
    for header, value in headers:
        if header.lower() == name:
            found = value
    return found


def values_of(headers: Iterable[tuple[str, str]], name: str) -> list[str]:
    """Return all values of the headers of this (lower-case) name."""
    return [value for header, value in headers if header.lower() == name]


def _client_index(headers: Headers) -> int | None:
    """Return where it stands who calls: the last ``X-Road-Client`` (pr-rest 4.3), else the last accepted alias."""
    names = [name.lower() for name, _ in headers]
    exact = [at for at, name in enumerate(names) if name == CLIENT]
    aliased = [at for at, name in enumerate(names) if name in CLIENT_ALIASES]
    found = exact or aliased
    return found[-1] if found else None


def client_value(headers: Headers) -> str | None:
    """Return who calls, as the headers say it; None if they do not."""
    at = _client_index(headers)
    return None if at is None else headers[at][1]


def request_headers(headers: Headers, request_id: str, new_message_id: str) -> tuple[Headers, str]:
    """Return the headers of the request message, and its message id (pr-rest 4.3).

    One client and one id go on, the last of several: a service that reads the first one must not meet another.
    """
    client_at = _client_index(headers)
    ids = [at for at, (name, _) in enumerate(headers) if name.lower() == MESSAGE_ID]
    kept: Headers = []
    for at, (name, value) in enumerate(headers):
        lowered = name.lower()
        if at == client_at:
            kept.append((name if lowered == CLIENT else "X-Road-Client", value))
        elif (ids and at == ids[-1]) or lowered not in _NOT_FORWARDED:
            kept.append((name, value))
    kept.append((REQUEST_ID, request_id))
    if not ids:
        kept.append((MESSAGE_ID, new_message_id))
    return kept, headers[ids[-1]][1] if ids else new_message_id


def response_headers(
    headers: Headers, *, message_id: str, client: str, service: str, request_id: str, request_hash: str
) -> Headers:
    """Return the headers of the response message: the service's, then the gateway's own in X-Road's order (1.4).

    ``X-Road-Error`` and ``x-road-service`` of a service are dropped too, so that it cannot speak in a gateway's name.
    """
    kept: Headers = []
    has_date = False
    for name, value in headers:
        lowered = name.lower()
        if lowered in SKIPPED or lowered in _SET_BY_PROVIDER or (lowered == "date" and has_date):
            continue
        has_date = has_date or lowered == "date"
        kept.append((name, value))
    kept += [
        (MESSAGE_ID, message_id),
        (CLIENT, client),
        (SERVICE, service),
        (REQUEST_ID, request_id),
        (REQUEST_HASH, request_hash),
    ]
    return kept


def by_name(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return all values of each header, by its lower-case name."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def forwarded_headers(headers: Headers) -> Headers:
    """Return what the service sees of a request message's headers: all but the gateway's secret, which is set anew."""
    return [(name, value) for name, value in headers if name.lower() != SECRET]


def render(first: str, second: str, headers: Headers) -> bytes:
    """Return the bytes of a message: two lines (method and target, or status and reason), then the headers.

    Raises ``MessageDefect`` if a value cannot stand in a line of UTF-8.
    """
    lines = [first, second, *(f"{name}:{value}" for name, value in headers), ""]
    for line in lines:
        if _CONTROL.search(line):
            raise MessageDefect("a line of the message would hold a control character")
    try:
        return "\r\n".join(lines).encode()
    except UnicodeEncodeError:
        raise MessageDefect("a header is not UTF-8") from None


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed request message."""

    method: str
    raw_target: str
    target: Target
    client: Identifier
    message_id: str
    request_id: str
    headers: Headers = field(repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """A parsed response message."""

    status: int
    reason: str
    headers: Headers = field(repr=False)

    def value(self, name: str) -> str | None:
        """Return the last value of a header (lower-case name)."""
        return last_value(self.headers, name)


def parse_request(message: bytes) -> Request:
    """Read a request message and check its header rules (1.3). Raises ``MessageDefect``."""
    method, raw_target, headers = _parse(message)
    if method not in METHODS:
        raise MessageDefect(f"Invalid request method: {method}")
    target = parse_target(raw_target)
    named = by_name(headers)
    once = {name: named.get(name, []) for name in (CLIENT, MESSAGE_ID, REQUEST_ID)}
    for name, values in once.items():
        # Two of them could mean one client to the access rights and another to the service.
        if len(values) != 1:
            raise MessageDefect(f"Invalid header: {name} stands {len(values)} times instead of once")
    if not named.keys().isdisjoint(_NEVER_IN_REQUESTS):
        raise MessageDefect("Invalid header: a request message has no alias of X-Road-Client and no request hash")
    if not _REQUEST_ID.fullmatch(once[REQUEST_ID][0]):
        raise MessageDefect("Invalid header: x-road-request-id is not a uuid")
    try:
        client = Identifier.parse(once[CLIENT][0])
    except MessageDefect:
        raise MessageDefect("Invalid Client Id") from None
    return Request(method, raw_target, target, client, once[MESSAGE_ID][0], once[REQUEST_ID][0], headers)


def parse_response(message: bytes) -> Response:
    """Read a response message. Raises ``MessageDefect``."""
    status, reason, headers = _parse(message)
    if not re.fullmatch(r"[1-9][0-9]{2}", status):
        raise MessageDefect("the first line of a response is a status of three digits")
    return Response(int(status), reason, headers)


def _parse(message: bytes) -> tuple[str, str, Headers]:
    try:
        lines = message.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise MessageDefect("the message is not UTF-8") from None
    if len(lines) < 3 or lines.pop():
        raise MessageDefect("a message is two lines and its headers, each ended by CR LF")
    headers: Headers = []
    for line in lines[2:]:
        name, colon, value = line.partition(":")
        # A lone CR or LF would be a second header to the service (response splitting).
        if not colon or not _TOKEN.fullmatch(name) or _CONTROL.search(value):
            raise MessageDefect("a header line is not Name:Value")
        if name.lower() in SKIPPED:
            raise MessageDefect(f"Invalid header: {name}")
        headers.append((name, value))
    if _CONTROL.search(lines[0]) or _CONTROL.search(lines[1]):
        raise MessageDefect("the first two lines hold control characters")
    return lines[0], lines[1], headers
