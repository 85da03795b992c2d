"""The report that a person gets: who read my data, when, which fields, by which agreement (GovStack DRS-8, DRS-35, DRS-37)."""

from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sandroad.problems import AccessDenied, InvalidRequest, NotFound
from services.registry.domain import FUNCTIONAL_ID, Usage
from services.registry.release import Inquiry, Release
from services.registry.rights import Access
from services.registry.store import Store
from services.registry.tables import to_text
from services.registry.usage import usage_of


class PersonalUsage:
    """Reads the usage log for one person. ``topology`` (the country's file) says what the readers' organisations are called."""

    def __init__(self, store: Store, release: Release, topology: Path) -> None:
        self._store = store
        self._release = release
        self._topology = topology

    def report(self, access: Access, user_id: str, registry: str) -> list[dict[str, Any]]:
        """Return the report; ``user_id`` is a functional id or, for the member itself, the national id.

        Raises ``InvalidRequest`` for an id that is neither, ``NotFound`` if nobody read anything.
        """
        with self._store.read() as connection:
            published = self._store.newest(connection, registry)
        if FUNCTIONAL_ID.fullmatch(user_id):
            inquiry = Inquiry(access, published, "mypersonalDataUsage", (), (user_id,))
            with self._release.inquiry(inquiry):
                subject = self._release.name_persons(inquiry).subjects[user_id]
            functional_id: str | None = user_id
        elif not access.is_own:
            raise AccessDenied("other members know persons by functional id only: 20 characters, such as CT01-…")
        elif not user_id.isalnum():
            raise InvalidRequest("userId is a functional id or a national id")
        else:
            subject, functional_id = user_id, None
        with self._store.read() as connection:
            found = usage_of(connection, registry, subject, functional_id)
        if not found:
            raise NotFound("nobody has read this person's data here")
        return [self._entry(each) for each in found]

    def _entry(self, usage: Usage) -> dict[str, Any]:
        instance, _, rest = usage.reader.client.partition("/")
        member, _, application = rest.rpartition("/") if rest.count("/") > 1 else (rest, "", "")
        named = usage.reader.user_id
        return {
            "id": str(usage.id),
            "readerId": named or usage.reader.client,
            "readerInitials": "".join(part[0] for part in named.replace(".", " ").split())[:4].upper(),
            "readerInstitutionId": f"{instance}/{member}",
            "readerInstitutionName": self._names.get(member, member),
            "readerApplicationName": application,
            "searchDateTime": to_text(usage.at),
            "refrences": [{"ReferenceId": each} for each in (usage.reader.request_id, usage.reader.message_id) if each],
            "operation": usage.operation,
            "recordId": usage.record_uuid or "",
            "fields": list(usage.fields),
            "dataAgreementId": usage.agreement or "",
            "consentRecordId": usage.consent_record_id or "",
            "outcome": usage.outcome,
        }

    @cached_property
    def _names(self) -> dict[str, str]:
        """Member id → its name, as far as the country tells."""
        if not self._topology.is_file():
            return {}
        members = (yaml.safe_load(self._topology.read_text(encoding="utf-8")) or {}).get("members", [])
        return {str(each.get("id")): str(each.get("name", each.get("id"))) for each in members}
