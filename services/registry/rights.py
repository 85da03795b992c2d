"""Who may do what here: the topology's access rights as a registry reads them. Pure, default deny.

The gateway in front checks rights too. The registry checks again, because only it knows fields, persons and agreements, and because
a gateway that was misconfigured must not be enough to open it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandroad.callers import Caller
from sandroad.problems import AccessDenied


@dataclass(frozen=True)
class Access:
    """What the current caller may do: ``fields`` None means all; ``agreement`` is the data agreement to ask consent for.

    ``is_own`` tells that the caller belongs to the member that owns the registry.
    """

    caller: Caller
    is_own: bool
    fields: tuple[str, ...] | None = None
    agreement: str | None = None
    programme: str | None = None


@dataclass(frozen=True)
class Right:
    """One right of the topology."""

    subject: str
    allow: tuple[tuple[str, re.Pattern[str]], ...]
    fields: tuple[str, ...] | None
    agreement: str | None
    programme: str | None

    def covers(self, client: str, method: str, path: str) -> bool:
        """Tell whether this right lets ``client`` (``GOV/WELFARE/CASH-TRANSFER``) send ``method`` to ``path``."""
        if client != self.subject:
            return False
        return any(verb in ("*", method) and pattern.fullmatch(path) for verb, pattern in self.allow)


class Rights:
    """All rights on this app's services."""

    def __init__(self, entries: Iterable[Mapping[str, Any]], *, instance: str, member: str, subsystem: str) -> None:
        """``entries`` are the topology's; those on services of others are left aside."""
        self._instance, self._member = instance, member
        ours = f"{member}/{subsystem}/"
        self._rights = [
            _right(entry, instance) for entry in entries if _local(entry["service"], instance).startswith(ours)
        ]

    def access(self, caller: Caller, method: str, path: str) -> Access:
        """Return what ``caller`` may do, or raise ``AccessDenied``. The first right that covers the call counts."""
        if caller.is_local:
            return Access(caller, is_own=True)
        client = _local(caller.client, self._instance)
        if client != caller.client:
            for right in self._rights:
                if right.covers(client, method, path):
                    own = client.startswith(self._member + "/")
                    return Access(caller, own, right.fields, right.agreement, right.programme)
        raise AccessDenied(f"{caller.client} has no right to {method} on this path of this registry")


def _right(entry: Mapping[str, Any], instance: str) -> Right:
    fields = entry.get("fields")
    return Right(
        subject=_local(entry["subject"], instance),
        allow=tuple(_rule(text) for text in entry.get("allow", [])),
        fields=None if fields is None else tuple(fields),
        agreement=entry.get("data_agreement"),
        programme=entry.get("programme"),
    )


def _rule(text: str) -> tuple[str, re.Pattern[str]]:
    """Read ``POST /data/population/*/read``: ``*`` is one path segment, ``**`` anything; ``**`` alone is every call."""
    method, _, path = text.partition(" ")
    if not path:
        method, path = "*", text
    parts = re.split(r"(\*\*|\*)", path)
    shaped = "".join(".*" if part == "**" else "[^/]+" if part == "*" else re.escape(part) for part in parts)
    return method.upper(), re.compile(shaped, re.DOTALL)


def _local(identifier: str, instance: str) -> str:
    return identifier.removeprefix(instance + "/")
