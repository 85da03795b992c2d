"""What administrators set up: policies, data agreements, individuals; every change a revision."""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from sandroad.callers import Caller
from sandroad.clock import Clock
from services.consent.domain import (
    Agreement,
    DataAgreementUnknown,
    IdTaken,
    IndividualUnknown,
    PolicyInUse,
    PolicyUnknown,
    canonical,
    terms_of,
)
from services.consent.revisions import Revision, stamp
from services.consent.store import ConsentStore

POLICY_MEMBERS = (
    "name", "version", "url", "jurisdiction", "industrySector", "dataRetentionPeriodDays", "geographicRestriction",
    "storageLocation",
)  # fmt: skip
AGREEMENT_MEMBERS = (
    "version", "controller", "policy", "purpose", "lawfulBasis", "dataUse", "dpia", "active", "forgettable",
    "compatibleWithVersion", "lifecycle", "attributes", "programme", "managedBy", "signaturesRequired",
)  # fmt: skip
INDIVIDUAL_MEMBERS = ("externalId", "externalIdType", "identityProviderId")
Versioned = tuple[dict[str, Any], Revision]


class Configuration:
    """Policies, data agreements and individuals. The member's own administrator may choose ids; others are given one."""

    def __init__(self, store: ConsentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def create_policy(self, caller: Caller, policy: Mapping[str, Any]) -> Versioned:
        """Create a policy with its first revision; the same again under a chosen id gives the first answer."""
        policy_id = _chosen_id(caller, policy)
        body = {"id": policy_id, **_known(policy, POLICY_MEMBERS)}
        with self._store.database.begin() as connection:
            table = self._store.policies
            if known := connection.execute(select(table).where(table.c.id == policy_id)).mappings().first():
                _require_same(policy_id, json.loads(known["body"]), body, deleted=known["deleted"])
                return body, self._revision(connection, known["revision_id"])
            revision = self._revise(connection, caller, "Policy", policy_id, body)
            connection.execute(
                insert(table).values(id=policy_id, body=canonical(body), revision_id=revision.id, deleted=False)
            )
        return body, revision

    def read_policy(self, policy_id: str, revision_id: str = "") -> Versioned:
        """Return a policy with its latest revision, or as it was at ``revision_id``."""
        with self._store.database.read() as connection:
            body = self._policy(connection, policy_id)
            if not revision_id:
                return body, self._revision(connection, body["_revision"])
            revision = self._store.revisions.get(connection, revision_id)
        if revision is None or (revision.schema_name, revision.object_id) != ("Policy", policy_id):
            raise PolicyUnknown(f"policy {policy_id} has no revision {revision_id[:60]}")
        return json.loads(revision.snapshot)["objectData"], revision

    def update_policy(self, caller: Caller, policy_id: str, policy: Mapping[str, Any]) -> Versioned:
        """Write a new revision; agreements keep the revision that people saw."""
        body = {"id": policy_id, **_known(policy, POLICY_MEMBERS)}
        with self._store.database.begin() as connection:
            known = self._policy(connection, policy_id)
            if {name: value for name, value in known.items() if name != "_revision"} == body:
                return body, self._revision(connection, known["_revision"])
            revision = self._revise(connection, caller, "Policy", policy_id, body)
            self._put_policy(connection, policy_id, body=canonical(body), revision_id=revision.id)
        return body, revision

    def delete_policy(self, caller: Caller, policy_id: str) -> Revision:
        """Delete a policy, as a revision; refused while an active agreement is governed by it."""
        table = self._store.agreements
        with self._store.database.begin() as connection:
            self._policy(connection, policy_id)
            used = select(table.c.id).where(
                table.c.policy_id == policy_id, table.c.active.is_(True), table.c.deleted.is_(False)
            )
            if agreement_id := connection.execute(used).scalar():
                raise PolicyInUse(f"the active data agreement {agreement_id} is governed by policy {policy_id}")
            revision = self._revise(connection, caller, "Policy", policy_id, {"id": policy_id, "deleted": True})
            self._put_policy(connection, policy_id, deleted=True, revision_id=revision.id)
        return revision

    def policy_revisions(self, policy_id: str, offset: int, limit: int) -> tuple[dict[str, Any], list[Revision]]:
        """Return a policy and its revisions, the oldest first."""
        with self._store.database.read() as connection:
            body = self._policy(connection, policy_id)
            return body, self._store.revisions.history(connection, "Policy", policy_id, offset, limit)

    def list_policies(self, offset: int, limit: int) -> list[dict[str, Any]]:
        """Return the policies by id."""
        table = self._store.policies
        query = select(table.c.body).where(table.c.deleted.is_(False)).order_by(table.c.id).offset(offset).limit(limit)
        with self._store.database.read() as connection:
            return [json.loads(body) for body in connection.execute(query).scalars()]

    def create_agreement(self, caller: Caller, agreement: Mapping[str, Any]) -> tuple[Agreement, Revision]:
        """Create a data agreement with its first revision; the same again under a chosen id gives the first answer."""
        agreement_id = _chosen_id(caller, agreement)
        with self._store.database.begin() as connection:
            body = self._agreement_body(connection, agreement)
            if known := self._store.agreement(connection, agreement_id):
                _require_same(agreement_id, known.body, body, deleted=known.deleted)
                return known, self._revision(connection, known.revision_id)
            return self._write_agreement(connection, caller, agreement_id, body, new=True)

    def read_agreement(self, agreement_id: str) -> tuple[Agreement, Revision]:
        """Return an agreement with its latest revision."""
        with self._store.database.read() as connection:
            agreement = self.existing(connection, agreement_id)
            return agreement, self._revision(connection, agreement.revision_id)

    def update_agreement(
        self, caller: Caller, agreement_id: str, agreement: Mapping[str, Any]
    ) -> tuple[Agreement, Revision]:
        """Write a new revision. Who agreed to other terms is asked anew; opening and closing changes no terms."""
        with self._store.database.begin() as connection:
            known = self.existing(connection, agreement_id)
            body = self._agreement_body(connection, agreement)
            if body == known.body:
                return known, self._revision(connection, known.revision_id)
            return self._write_agreement(connection, caller, agreement_id, body, new=False)

    def delete_agreement(self, caller: Caller, agreement_id: str) -> Revision:
        """Terminate an agreement, as a revision: from now on no consent to it counts."""
        table = self._store.agreements
        with self._store.database.begin() as connection:
            self.existing(connection, agreement_id)
            gone = {"id": agreement_id, "deleted": True}
            revision = self._revise(connection, caller, "DataAgreement", agreement_id, gone)
            connection.execute(
                update(table)
                .where(table.c.id == agreement_id)
                .values(deleted=True, active=False, revision_id=revision.id, revision_hash=revision.hash)
            )
        return revision

    def existing(self, connection: Connection, agreement_id: str) -> Agreement:
        """Return an agreement that is not deleted; raise ``DataAgreementUnknown``."""
        agreement = self._store.agreement(connection, agreement_id)
        if agreement is None or agreement.deleted:
            raise DataAgreementUnknown(f"there is no data agreement {agreement_id[:100]}")
        return agreement

    def create_individual(self, caller: Caller, individual: Mapping[str, Any]) -> dict[str, Any]:
        """Bind a person to the consent service: the id is the given one, else the external id, else a new one."""
        individual_id = individual.get("id") or individual.get("externalId") or secrets.token_hex(16)
        body = {"id": individual_id, **_known(individual, INDIVIDUAL_MEMBERS)}
        with self._store.database.begin() as connection:
            if known := self._store.individual(connection, individual_id):
                if known not in (body, _bound(individual_id)) or not self._serves(connection, caller, individual_id):
                    raise IdTaken(f"individual {individual_id[:100]} is here with other values; change it by PUT")
                self._put_individual(connection, individual_id, body)
                return body
            self.add_individual(connection, caller.client, body)
        return body

    def read_individual(self, caller: Caller, individual_id: str) -> dict[str, Any]:
        """Return an individual; raise ``IndividualUnknown``, also for those whom another organisation serves."""
        with self._store.database.read() as connection:
            found = self._store.individual(connection, individual_id)
            if found is None or not self._serves(connection, caller, individual_id):
                raise IndividualUnknown(f"there is no individual {individual_id[:100]}")
        return found

    def update_individual(self, caller: Caller, individual_id: str, individual: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an individual's values; the id stays. Raises as ``read_individual``."""
        body = {"id": individual_id, **_known(individual, INDIVIDUAL_MEMBERS)}
        with self._store.database.begin() as connection:
            if not self._serves(connection, caller, individual_id):
                raise IndividualUnknown(f"there is no individual {individual_id[:100]}")
            self._put_individual(connection, individual_id, body)
        return body

    def list_individuals(self, caller: Caller, offset: int, limit: int) -> list[dict[str, Any]]:
        """Return the individuals that the caller bound (all, for the member itself): whom others serve is none of its business."""
        table = self._store.individuals
        query = select(table.c.body).order_by(table.c.id).offset(offset).limit(limit)
        if not caller.is_local:
            query = query.where(table.c.client == caller.client)
        with self._store.database.read() as connection:
            return [json.loads(body) for body in connection.execute(query).scalars()]

    def _serves(self, connection: Connection, caller: Caller, individual_id: str) -> bool:
        """Tell whether the caller bound this person, or nobody did: the person was here first, on this block's own page."""
        client = self._store.client_of(connection, individual_id)
        return client is not None and (caller.is_local or client in ("", caller.client))

    def bind(self, connection: Connection, client: str, individual_id: str) -> None:
        """Add an individual of whom only the functional id is known, unless it is there."""
        if self._store.individual(connection, individual_id) is None:
            self.add_individual(connection, client, _bound(individual_id))

    def add_individual(self, connection: Connection, client: str, body: Mapping[str, Any]) -> None:
        """Add an individual."""
        connection.execute(
            insert(self._store.individuals).values(id=body["id"], body=canonical(dict(body)), client=client)
        )

    def _put_individual(self, connection: Connection, individual_id: str, body: Mapping[str, Any]) -> None:
        table = self._store.individuals
        connection.execute(update(table).where(table.c.id == individual_id).values(body=canonical(dict(body))))

    def _policy(self, connection: Connection, policy_id: str) -> dict[str, Any]:
        body = self._store.policy(connection, policy_id)
        if body is None:
            raise PolicyUnknown(f"there is no policy {policy_id[:100]}")
        return body

    def _put_policy(self, connection: Connection, policy_id: str, **values: Any) -> None:
        table = self._store.policies
        connection.execute(update(table).where(table.c.id == policy_id).values(**values))

    def _agreement_body(self, connection: Connection, agreement: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is stored: without id, with the policy by reference, which must exist."""
        body = _known(agreement, AGREEMENT_MEMBERS)
        body.setdefault("active", True)
        if "policy" in body:
            body["policy"] = {"id": self._policy(connection, body["policy"]["id"])["id"]}
        return body

    def _write_agreement(
        self, connection: Connection, caller: Caller, agreement_id: str, body: dict[str, Any], *, new: bool
    ) -> tuple[Agreement, Revision]:
        table, policy = self._store.agreements, body.get("policy", {}).get("id", "")
        snapshot = {"id": agreement_id, **body}
        if policy:
            snapshot["policy"] = {k: v for k, v in self._policy(connection, policy).items() if k != "_revision"}
        revision = self._revise(connection, caller, "DataAgreement", agreement_id, snapshot)
        agreement = Agreement(
            agreement_id,
            body,
            revision.id,
            revision.hash,
            terms_of(snapshot),
            body["active"],
            body.get("programme", ""),
        )
        values = {**vars(agreement), "body": canonical(body), "policy_id": policy}
        statement = insert(table) if new else update(table).where(table.c.id == agreement_id)
        connection.execute(statement.values(**values))
        return agreement, revision

    def _revise(
        self, connection: Connection, caller: Caller, schema_name: str, object_id: str, data: Mapping[str, Any]
    ) -> Revision:
        return self._store.revisions.add(
            connection, schema_name, object_id, data, stamp(self._clock()), other=caller.client
        )

    def _revision(self, connection: Connection, revision_id: str) -> Revision:
        revision = self._store.revisions.get(connection, revision_id)
        assert revision is not None
        return revision


def _known(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the members that the contract knows; others are ignored, as a tolerant reader does."""
    return {name: given[name] for name in names if name in given}


def _bound(individual_id: str) -> dict[str, Any]:
    return {"id": individual_id, "externalId": individual_id, "externalIdType": "functional-id"}


def _chosen_id(caller: Caller, given: Mapping[str, Any]) -> str:
    """Return the id that the member's administrator chose; everybody else is given one (GovStack Consent 6.7.7)."""
    return str(given.get("id") or "") if caller.is_local and given.get("id") else secrets.token_hex(16)


def _require_same(object_id: str, known: Mapping[str, Any], given: Mapping[str, Any], *, deleted: bool) -> None:
    if deleted or known != given:
        raise IdTaken(f"{object_id} is here with other values{' and was deleted' if deleted else ''}; change it by PUT")
