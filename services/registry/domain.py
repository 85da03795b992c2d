"""The words of a registry: its records, who may see what of them, and what it refuses. No Flask, no SQL, no clock."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandroad.problems import Refusal

FUNCTIONAL_ID = re.compile(r"(?=.{20}$)([A-Z0-9]{2,6})-[A-Z0-9]{13,17}")
VIRTUAL_FIELD = "functionalId"


@dataclass(frozen=True)
class Record:
    """One record as it stands; ``subject`` is the id of the person it concerns, as the registry keeps it."""

    id: int
    uuid: str
    key: str
    version: int
    content: dict[str, Any]
    subject: str | None
    created_at: datetime
    valid_from: datetime
    created_digest: str = ""
    deleted_at: datetime | None = None


@dataclass(frozen=True)
class Condition:
    """One condition on one field: ``operator`` is one of ``= != > >= < <= in``; values are of the schema's type."""

    field: str
    operator: str
    value: Any


@dataclass(frozen=True)
class Proof:
    """What consent answered for one person: the signed record and its revision."""

    consent_record_id: str
    revision_id: str


@dataclass(frozen=True)
class Author:
    """Who makes a change: ``source`` is the calling subsystem, ``actor`` the user it names, else the subsystem itself."""

    source: str
    actor: str


@dataclass(frozen=True)
class Reader:
    """Who reads: subsystem identifier, user, and the exchange that both message logs know."""

    client: str
    user_id: str = ""
    request_id: str = ""
    message_id: str = ""


@dataclass(frozen=True)
class Usage:
    """One read of a person's record, or a refused attempt (``outcome`` is then the refusal's code)."""

    at: datetime
    registry: str
    operation: str
    reader: Reader
    fields: tuple[str, ...]
    subject: str | None = None
    functional_id: str | None = None
    record_uuid: str | None = None
    agreement: str | None = None
    consent_record_id: str | None = None
    outcome: str = "answered"
    id: int = 0


@dataclass(frozen=True)
class Persons:
    """The persons a request names: functional id → the id this registry keeps (None: unknown), and their consent."""

    subjects: Mapping[str, str | None] = field(default_factory=dict)
    proofs: Mapping[str, Proof] = field(default_factory=dict)

    def functional_id_of(self, subject: str | None) -> str | None:
        """Return the functional id by which the caller knows this person, None if it named another."""
        return next((key for key, value in self.subjects.items() if value is not None and value == subject), None)


def programme_of(functional_id: str) -> str:
    """Return the programme part of a functional id: ``CT01`` of ``CT01-…``."""
    return functional_id.split("-", 1)[0]


class RegistryUnknown(Refusal):
    """This instance has no such registry."""

    code = "registry_unknown"


class RegistryVersionUnknown(Refusal):
    """The registry has no such version, or it is archived."""

    code = "registry_version_unknown"


class RegistryVersionSuperseded(Refusal):
    """Writing goes through the newest version only."""

    code = "registry_version_superseded"


class RegistryNotHosted(Refusal):
    """Another instance hosts registries of that name."""

    code = "registry_not_hosted"


class SchemaInvalid(Refusal):
    """The schema is not usable; the detail says where and what would be right."""

    code = "schema_invalid"


class SchemaBreaksRecords(Refusal):
    """The new schema would leave existing records without their key."""

    code = "schema_breaks_records"


class ContentInvalid(Refusal):
    """The content breaks the registry's schema; ``errors`` says where."""

    code = "content_invalid"


class QueryInvalid(Refusal):
    """A condition names a field that cannot be asked, or a value of the wrong type."""

    code = "query_invalid"


class RecordNotFound(Refusal):
    """No record answers; the detail is GovStack's."""

    code = "record_not_found"

    def __init__(self) -> None:
        super().__init__("no record found")


class RecordExists(Refusal):
    """Another content is kept under this primary key."""

    code = "record_exists"


class RecordDeleted(Refusal):
    """A record of this key was deleted; keys are not used twice."""

    code = "record_deleted"


class SeveralRecordsMatch(Refusal):
    """The conditions must select one record and select several."""

    code = "several_records_match"


class PrimaryKeyFixed(Refusal):
    """A record keeps its primary key for life."""

    code = "primary_key_fixed"


class PersonNotNamed(Refusal):
    """Under a data agreement persons are named by functional id: there is no fishing."""

    code = "person_not_named"


class FunctionalIdForeign(Refusal):
    """The functional id belongs to another programme than the caller's right."""

    code = "functional_id_foreign"


class FieldNotAllowed(Refusal):
    """The caller's right does not cover this field."""

    code = "field_not_allowed"


class ConsentRequired(Refusal):
    """The person has not consented to this agreement, or has withdrawn."""

    code = "consent_required"


class ConsentUnavailable(Refusal):
    """Consent gave no answer, and no answer is a no."""

    code = "consent_unavailable"


class IdentityUnavailable(Refusal):
    """Identity gave no answer, so the person cannot be found."""

    code = "identity_unavailable"
