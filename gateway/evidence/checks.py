"""What a verification says: one line per check, and a check that cannot be made has failed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
MAX_SAID = 600


@dataclass(frozen=True)
class Check:
    """One comparison: ``said`` tells what was compared with what, or in which way it failed."""

    name: str
    ok: bool
    said: str


class Defect(ValueError):
    """A check does not hold; the text says why."""


class Checks:
    """Collects checks in the order in which they are made."""

    def __init__(self) -> None:
        self.made: list[Check] = []

    def make(self, name: str, compare: Callable[[], tuple[T, str]]) -> T | None:
        """Make one check; what it found out, None if it failed, is for the checks that need it."""
        try:
            found, said = compare()
        except Exception as error:  # bytes of a stranger: whatever a parser makes of them is a failed check
            self.made.append(Check(name, False, _printable(str(error)) or f"unreadable ({type(error).__name__})"))
            return None
        self.made.append(Check(name, True, _printable(said)))
        return found


def needed(found: T | None, what: str) -> T:
    """Return what an earlier check found; ``Defect`` if that check failed."""
    if found is None:
        raise Defect(f"not checked, because the {what} does not hold")
    return found


def _printable(said: str) -> str:
    """Keep the container's own words from steering the reader's terminal, or from filling it."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in said[:MAX_SAID]
    )
