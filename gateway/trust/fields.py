"""Reading the configuration's JSON: each value is of its type or the refusal says where it is not."""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from gateway.trust.refusals import ConfigurationMalformed

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
MEMBER = re.compile(r"[A-Za-z0-9._-]{1,64}/[A-Za-z0-9._-]{1,64}")
CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")

T = TypeVar("T")


class Fields:
    """One JSON object of the configuration; ``at`` is its place, for the refusal."""

    def __init__(self, values: Any, at: str) -> None:
        if not isinstance(values, dict):
            raise ConfigurationMalformed(f"{at or 'the configuration'} is not a JSON object")
        self._values = values
        self.at = at

    @classmethod
    def parse(cls, payload: bytes) -> "Fields":
        """Read the configuration's payload."""
        try:
            return cls(json.loads(payload.decode("utf-8")), "")
        except (ValueError, RecursionError) as defect:
            raise ConfigurationMalformed("the configuration is not JSON in UTF-8") from defect

    def text(self, name: str, form: re.Pattern[str] | None = None) -> str:
        """Return a string, which fully matches ``form``."""
        value = self._typed(name, str, "a string")
        if form is not None and not form.fullmatch(value):
            raise self._wrong(name, f"of the form {form.pattern}")
        return value

    def number(self, name: str, least: int) -> int:
        """Return an integer of at least ``least``."""
        value = self._typed(name, int, "an integer")
        if isinstance(value, bool) or value < least:
            raise self._wrong(name, f"an integer of {least} or more")
        return value

    def instant(self, name: str) -> datetime:
        """Return a time, written ``2026-07-22T09:04:47Z``."""
        try:
            return datetime.strptime(self.text(name, INSTANT), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as defect:
            raise self._wrong(name, "a time in UTC, YYYY-MM-DDTHH:MM:SSZ") from defect

    def binary(self, name: str) -> bytes:
        """Return bytes, written in padded base64."""
        return self._decoded(self.text(name), name)

    def binaries(self, name: str) -> list[bytes]:
        """Return a list of bytes, each in padded base64."""
        return [self._decoded(value, name) for value in self.texts(name)]

    def texts(self, name: str, form: re.Pattern[str] | None = None) -> tuple[str, ...]:
        """Return a list of strings, each of which fully matches ``form``."""
        values: list[Any] = self._typed(name, list, "a list")
        if not all(isinstance(value, str) and (form is None or form.fullmatch(value)) for value in values):
            raise self._wrong(name, "a list of strings" + (f" of the form {form.pattern}" if form else ""))
        return tuple(values)

    def settings(self, name: str) -> dict[str, Any]:
        """Return an object as it stands."""
        return dict(self._typed(name, dict, "an object"))

    def objects(self, name: str) -> Iterator["Fields"]:
        """Yield each object of a list."""
        values: list[Any] = self._typed(name, list, "a list")
        for index, value in enumerate(values):
            yield Fields(value, f"{self.at}/{name}/{index}")

    def refuse(self, what: str) -> ConfigurationMalformed:
        """Return the refusal of this object."""
        return ConfigurationMalformed(f"{self.at or 'the configuration'}: {what}")

    def _typed(self, name: str, kind: type[T], what: str) -> T:
        value = self._values.get(name)
        if not isinstance(value, kind):
            raise self._wrong(name, what)
        return value

    def _decoded(self, value: str, name: str) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as defect:
            raise self._wrong(name, "base64") from defect

    def _wrong(self, name: str, what: str) -> ConfigurationMalformed:
        return ConfigurationMalformed(f"{self.at}/{name} is missing or not {what}")
