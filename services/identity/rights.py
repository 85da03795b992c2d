"""What a subsystem may do here by the topology, for the operations where the block itself is the second lock."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sandroad.callers import Caller
from sandroad.problems import AccessDenied


class Rights:
    """The topology's access rights on this block's services; what none of them names is denied."""

    def __init__(self, instance: str, entries: Iterable[Mapping[str, Any]]) -> None:
        self._instance = instance
        self._entries = tuple(entries)

    def require(self, caller: Caller, method: str, path: str) -> None:
        """Refuse a caller whom no entry allows ``method path``."""
        if next(iter(self._matching(caller, method, path)), None) is None:
            raise AccessDenied(f"{caller.client} has no access right that names {method} {path}")

    def require_programme(self, caller: Caller, method: str, path: str, programme: str) -> None:
        """Refuse a caller without a right for this programme; a right without ``programme`` holds for any."""
        self.require(caller, method, path)
        programmes = [entry.get("programme") for entry in self._matching(caller, method, path)]
        if None not in programmes and programme not in programmes:
            raise AccessDenied(f"the access right of {caller.client} is not for programme {programme}")

    def _matching(self, caller: Caller, method: str, path: str) -> Iterable[Mapping[str, Any]]:
        client = caller.client.removeprefix(self._instance + "/")
        for entry in self._entries:
            if str(entry.get("subject", "")).removeprefix(self._instance + "/") != client:
                continue
            if any(_covers(str(pattern), method, path) for pattern in entry.get("allow", ())):
                yield entry


def _covers(pattern: str, method: str, path: str) -> bool:
    """Tell whether ``METHOD /path`` is covered: ``*`` is one segment or any method, ``**`` anything."""
    methods, _, paths = pattern.rpartition(" ")
    if methods not in ("", "*", method):
        return False
    expression = re.escape(paths).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    return bool(re.fullmatch(expression, path))
