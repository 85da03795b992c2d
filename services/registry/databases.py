"""The schema API: registries are defined, published in versions, listed and archived (GovStack Digital Registries 4.5)."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sandroad.problems import NotFound
from services.registry.changes import author_of
from services.registry.domain import RegistryNotHosted
from services.registry.release import must_read_only_under_agreement
from services.registry.rights import Access
from services.registry.schema import Schema
from services.registry.store import Published, Store
from services.registry.tables import to_text


class Databases:
    """The operations of the schema API."""

    def __init__(self, store: Store, hosted: Sequence[str], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._hosted = hosted
        self._clock = clock

    def modify(self, access: Access, asked: dict[str, Any]) -> dict[str, Any]:
        """Publish a schema as the newest version of its registry; the same again changes nothing."""
        must_read_only_under_agreement(access)
        code = asked["code"]
        if code not in self._hosted:
            raise RegistryNotHosted(f"{code} is none of the registries hosted here: {', '.join(self._hosted)}")
        document = {k: v for k, v in asked["schema"].items() if k not in ("x-databaseId", "x-versionNumber")}
        schema = Schema(document)
        author, now = author_of(access), self._clock()
        with self._store.begin() as connection:
            published = self._store.publish(
                connection, code, schema, asked.get("groupName", ""), asked.get("catalogName", ""), author.actor, now
            )  # fmt: skip
        return _schema(published)

    def read(self, database_id: int) -> dict[str, Any]:
        """Return one version of a registry."""
        return _info(self._one(database_id))

    def archive(self, access: Access, database_id: int) -> None:
        """Archive one version: nothing goes through it any more; records stay."""
        must_read_only_under_agreement(access)
        now = self._clock()
        with self._store.begin() as connection:
            if not self._store.archive(connection, database_id, now):
                raise NotFound(f"no database {database_id} here")

    def list_all(self) -> dict[str, Any]:
        """Return all versions of all registries as one group (GovStack's form of the list)."""
        with self._store.read() as connection:
            versions = self._store.versions(connection)
        return {"id": 1, "name": "registries", "code": "registries", "databases": [_info(each) for each in versions]}

    def _one(self, database_id: int) -> Published:
        with self._store.read() as connection:
            for each in self._store.versions(connection):
                if each.id == database_id:
                    return each
        raise NotFound(f"no database {database_id} here")


def _schema(published: Published) -> dict[str, Any]:
    marks = {"x-databaseId": published.id, "x-versionNumber": str(published.version)}
    return {**published.schema.document, **marks}


def _info(published: Published) -> dict[str, Any]:
    fields = published.schema.fields.values()
    return {
        "id": published.id,
        "version": str(published.version),
        "name": published.code,
        "description": published.catalog_name,
        "institution": published.group_name,
        "schema": _schema(published),
        "schemaTags": [
            {"name": f.name, "path": f.name, "isFulltext": f.is_fulltext}
            for f in fields
            if f.is_searchable or f.is_fulltext
        ],
        "schemaFlags": [{"name": "secret", "path": f.name} for f in fields if f.is_secret],
        "fieldsUniques": [[published.schema.primary_key]] if published.schema.primary_key else [],
        "isDraft": False,
        "isDisabled": False,
        "isArchived": published.archived_at is not None,
        "modifiedAt": to_text(published.modified_at),
        "byUserName": published.modified_by,
        "hasLogo": False,
    }
