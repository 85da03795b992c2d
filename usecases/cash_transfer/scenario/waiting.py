"""Waiting for what arrives by callback: the story looks again until it is there, as a person would."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 90.0


class NeverCame(Exception):
    """What the story waited for did not come in time."""


def until(look: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Return the first true result of ``look``; raise ``NeverCame`` after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    pause = 0.02
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NeverCame(f"waited {patience:.0f} s for {what}")
        time.sleep(pause)  # between two looks at a screen; nothing tells a browser that something has changed
        pause = min(0.25, pause * 1.5)
