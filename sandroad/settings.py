"""What an app is told at its start: one frozen dataclass per app, read once, a typo in a name being an error."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

PREFIX = "SANDROAD_"


class SettingsError(Exception):
    """A setting is missing, unknown or not of its type; the text names it and says what would be right."""


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """What every block and use case needs; a block's ``Config`` extends it.

    ``member`` is ``GOV/CIVIL`` without the instance, ``subsystem`` the code alone. ``database`` is an SQLAlchemy URL.
    ``gateway_url`` is the consumer side of the own gateway; ``gateway_secret`` is what the own gateway presents when it calls.
    ``rights`` are the topology's access rights on this app's services, as far as the app has to know them (consent, fields).
    """

    name: str
    instance: str = "SANDBOX"
    member: str
    subsystem: str
    host: str = "127.0.0.1"
    port: int
    public_url: str = ""
    database: str
    gateway_url: str
    gateway_secret: str
    management_token: str
    contracts: Path
    country: Path
    data: Path
    currency: str = "XTS"
    lab: bool = True
    rights: tuple[dict[str, Any], ...] = ()
    threads: int = 8
    check_responses: bool = False

    @property
    def client(self) -> str:
        """The X-Road identifier of this app's subsystem, ``SANDBOX/GOV/CIVIL/REGISTRY``."""
        return f"{self.instance}/{self.member}/{self.subsystem}"

    def check(self) -> None:
        """Read what this app reads from the country's folder; raise ``CountryError`` for what it could not use. Changes nothing."""


C = TypeVar("C")


def read_config(kind: type[C], mapping: Mapping[str, Any]) -> C:
    """Return ``kind`` (a dataclass) read from ``mapping``, whose names are ``SANDROAD_`` and the field in capitals.

    Values are strings as in an environment, or already of the JSON type. Names without the prefix are ignored, so an
    environment can be handed over whole. Raises ``SettingsError`` for unknown names, missing or unreadable values.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    given = {key[len(PREFIX) :].lower(): value for key, value in mapping.items() if key.startswith(PREFIX)}
    if unknown := sorted(given.keys() - fields.keys()):
        known = ", ".join(PREFIX + name.upper() for name in sorted(fields))
        raise SettingsError(f"{PREFIX}{unknown[0].upper()} is not a setting of this app; known are: {known}")
    values = {name: _converted(name, hints[name], value) for name, value in given.items()}
    missing = [name for name, field in fields.items() if name not in values and not _has_default(field)]
    if missing:
        raise SettingsError(f"{PREFIX}{missing[0].upper()} is not set")
    return kind(**values)


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _converted(name: str, hint: Any, value: Any) -> Any:
    """Return ``value`` as the type that the field is annotated with."""
    label = PREFIX + name.upper()
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None:
            return None
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    origin = typing.get_origin(hint) or hint
    try:
        if origin is bool:
            return _boolean(value)
        if origin is int or origin is float:
            return origin(value)
        if origin is Path:
            return Path(value)
        if origin in (tuple, list, dict):
            parsed = json.loads(value) if isinstance(value, str) else value
            if not isinstance(parsed, dict if origin is dict else list | tuple):
                raise ValueError(f"expected a JSON {'object' if origin is dict else 'list'}")
            return origin(parsed)
        if not isinstance(value, str):
            raise ValueError("expected a string")
        return value
    except (ValueError, TypeError) as defect:
        shown = "(hidden)" if "secret" in name or "token" in name else repr(value)
        raise SettingsError(f"{label}={shown}: {defect}") from defect


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    lowered = str(value).strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected true or false")
