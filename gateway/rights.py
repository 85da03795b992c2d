"""Who may call what: denied unless an access right says otherwise. Pure: rights and a request in, a yes or a no out.

A right is given by a provider to a subject for one of its services, and narrowed by patterns ``METHOD /path``: ``*`` is
any method, or one segment of a path; ``**`` is anything. The path is decoded before it is compared, because the service
will decode it too; one that could mean another path to the service is refused (X-Road's XRDDEV-3054).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway.message import METHODS

ANYTHING = "**"


class PatternInvalid(ValueError):
    """This is no pattern of an access right."""


class UnsafePath(ValueError):
    """The path cannot be compared safely."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """``POST /data/**``, ``* /callbacks/**`` or ``**``."""

    method: str
    path: re.Pattern[str] = field(repr=False)

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> "Pattern":
        """Read a pattern; ``PatternInvalid`` says what would be right."""
        if text == ANYTHING:
            return cls("*", re.compile(".*", re.DOTALL))
        method, _, path = text.partition(" ")
        if (method != "*" and method not in METHODS) or not path.startswith("/") or " " in path:
            raise PatternInvalid(f"{text!r} is not '**' or 'METHOD /path', such as 'POST /data/*/read' or '* /data/**'")
        parts = re.split(r"(\*\*|\*)", path)
        glob = {"**": ".*", "*": "[^/]*"}
        return cls(method, re.compile("".join(glob.get(part) or re.escape(part) for part in parts), re.DOTALL))

    def covers(self, method: str, path: str) -> bool:
        """Tell whether a request with this method and plain path falls under the pattern."""
        return self.method in ("*", method) and self.path.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Right:
    """What ``subject`` (a subsystem's identifier) may do at ``service``; ``allowed`` is False while it is withdrawn.

    ``terms`` holds what else the provider attached to it: data agreement, fields, purpose.
    """

    subject: str
    service: str
    patterns: tuple[str, ...]
    allowed: bool = True
    terms: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def covers(self, method: str, path: str) -> bool:
        """Tell whether the right allows a request with this method and plain path."""
        return self.allowed and any(Pattern.parse(pattern).covers(method, path) for pattern in self.patterns)


class Rights:
    """All access rights of one provider, looked up by subject and service."""

    def __init__(self, rights: Iterable[Right] = ()) -> None:
        self._rights = {(right.subject, right.service): right for right in rights}

    def get(self, subject: str, service: str) -> Right | None:
        """Return the right of a subject on a service, withdrawn ones too."""
        return self._rights.get((subject, service))

    def replace(self, rights: Iterable[Right]) -> None:
        """Take over new or changed rights."""
        self._rights = self._rights | {(right.subject, right.service): right for right in rights}

    def listing(self) -> list[Right]:
        """Return all rights, sorted by service and subject."""
        return sorted(self._rights.values(), key=lambda right: (right.service, right.subject))

    def allows(self, subject: str, service: str, method: str, raw_path: str) -> bool:
        """Tell whether the request is allowed; ``UnsafePath`` if its path cannot be compared."""
        path = plain_path(raw_path)
        right = self.get(subject, service)
        return right is not None and right.covers(method, path)


def plain_path(raw: str) -> str:
    """Return the path as a service may understand it: decoded once, without empty and ``.`` segments.

    Raises ``UnsafePath`` for what servers read differently from each other: ``..`` in any spelling, a backslash, a
    control character, a ``%`` that would be decoded a second time to one of these, and bytes that are not UTF-8.
    """
    path = _decoded(raw)
    again = _decoded(path) if "%" in path else path
    for text in (path, again):
        if any(segment.split(";")[0] == ".." for segment in re.split(r"[/\\]", text)):
            raise UnsafePath("the path contains '..'")
        if "\\" in text or any(character < " " or character == "\x7f" for character in text):
            raise UnsafePath("the path contains a backslash or a control character")
    segments = [segment for segment in path.split("/") if segment not in ("", ".")]
    closing = "/" if path.endswith("/") and segments else ""
    return "/" + "/".join(segments) + closing


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafePath("the path is not UTF-8") from None
