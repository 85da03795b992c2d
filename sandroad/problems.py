"""Refusals (a rule says no) and how they are told: problem+json (RFC 9457), from one catalogue of codes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import yaml
from flask import Response


class Error(Exception):
    """Something failed that no rule forbids: a fault. Its text may be logged but is not told to callers."""


class Refusal(Exception):
    """A rule said no. Subclasses are named for the broken rule and carry its ``code``; they know no HTTP.

    ``errors`` names failing fields: ``[{"where": "body", "at": "/amount", "what": "…"}]``.
    """

    code: ClassVar[str] = "refused"

    def __init__(self, detail: str = "", errors: Sequence[Mapping[str, str]] = (), **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = [dict(error) for error in errors]
        self.extra = extra


class CallerUnknown(Refusal):
    """Neither the own gateway nor the steward called."""

    code = "caller_unknown"


class InvalidRequest(Refusal):
    """The request breaks the contract; ``errors`` says where."""

    code = "invalid_request"


class NotFound(Refusal):
    """There is no such thing here."""

    code = "not_found"


class MethodNotAllowed(Refusal):
    """The path exists, this method on it does not."""

    code = "method_not_allowed"


class BodyTooLarge(Refusal):
    """The body is over the limit of this app."""

    code = "body_too_large"


class UnsupportedMediaType(Refusal):
    """The body is of a type that the operation does not take."""

    code = "unsupported_media_type"


class IdempotencyConflict(Refusal):
    """The same request id came before with another content."""

    code = "idempotency_conflict"


class AccessDenied(Refusal):
    """This caller may not do this."""

    code = "access_denied"


class InternalFault(Refusal):
    """What a caller is told of a fault: nothing but that there was one."""

    code = "internal_fault"


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue."""

    status: int
    title: str


class Catalogue:
    """``contracts/problems.yaml``: code → status and title."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = dict(entries)

    @classmethod
    def load(cls, path: Path) -> "Catalogue":
        """Read the catalogue; every code must have ``status`` and ``title``."""
        return _load(path)

    def __iter__(self) -> Any:
        return iter(self._entries)

    def __getitem__(self, code: str) -> Entry:
        """Return the entry of a code; an uncatalogued refusal is told as 400, and a test finds it."""
        return self._entries.get(code, Entry(400, code.replace("_", " ").capitalize()))

    def document(self, refusal: Refusal) -> dict[str, Any]:
        """Return the problem document of a refusal."""
        entry = self[refusal.code]
        document: dict[str, Any] = {
            "type": f"https://sandroad.example/problems/{refusal.code}",
            "title": entry.title,
            "status": entry.status,
            "code": refusal.code,
        }
        if refusal.detail:
            document["detail"] = refusal.detail
        if refusal.errors:
            document["errors"] = refusal.errors
        return document | refusal.extra

    def response(self, refusal: Refusal) -> Response:
        """Return the problem document as an HTTP response."""
        document = self.document(refusal)
        return Response(json.dumps(document), document["status"], content_type="application/problem+json")


@cache
def _load(path: Path) -> Catalogue:
    loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return Catalogue({code: Entry(int(entry["status"]), str(entry["title"])) for code, entry in loaded.items()})
