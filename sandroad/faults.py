"""Lab faults: named misbehaviours that the steward switches on and off, to be watched on purpose."""

import threading
from collections.abc import Mapping
from typing import Any

from sandroad.problems import Refusal


class NoSuchFault(Refusal):
    """This app knows no fault of that name; the detail lists those it knows."""

    code = "no_such_fault"


class LabModeOff(Refusal):
    """Faults exist in lab mode only."""

    code = "lab_mode_off"


class Faults:
    """The faults that an app offers: ``{"delay": "hold each call for `seconds`"}``, and those that are on.

    Kept in memory: a restarted app behaves well again.
    """

    def __init__(self, known: Mapping[str, str], *, lab: bool) -> None:
        self.known = dict(known)
        self._lab = lab
        self._on: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def on(self, name: str) -> dict[str, Any] | None:
        """Return the parameters of a fault that is on, None if it is off."""
        return self._on.get(name)

    def take(self, name: str) -> dict[str, Any] | None:
        """As ``on``, counting down ``times``: a fault switched on for one time is off after it was taken."""
        with self._lock:
            parameters = self._on.get(name)
            if parameters is None:
                return None
            times = parameters.get("times")
            if times is not None:
                if times <= 1:
                    del self._on[name]
                else:
                    parameters["times"] = times - 1
            return parameters

    def switch_on(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Switch a fault on with its parameters (``times`` ends it after as many occurrences)."""
        if not self._lab:
            raise LabModeOff("this sandbox runs without lab mode")
        self._check(name)
        with self._lock:
            self._on[name] = dict(parameters)

    def switch_off(self, name: str) -> None:
        """Switch a fault off; one that is off stays off."""
        self._check(name)
        with self._lock:
            self._on.pop(name, None)

    def listing(self) -> list[dict[str, Any]]:
        """Return every known fault with its meaning and, where it is on, its parameters."""
        return [
            {"name": n, "meaning": m, "on": n in self._on, "parameters": self._on.get(n)} for n, m in self.known.items()
        ]

    def _check(self, name: str) -> None:
        if name not in self.known:
            raise NoSuchFault(f"no fault {name!r} here; known are: {', '.join(sorted(self.known)) or 'none'}")
