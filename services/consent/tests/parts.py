"""The block's operations on a database, without HTTP: for the store suites."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData

from sandroad.callers import Caller
from sandroad.clock import system_clock
from sandroad.storage import Database
from services.consent.agreements import Configuration
from services.consent.keys import OwnKeys
from services.consent.records import Records
from services.consent.sessions import Sessions
from services.consent.shapes import Shapes
from services.consent.signatures import Signer, as_contract
from services.consent.store import SCHEMA, ConsentStore
from services.consent.tests.conftest import AGREEMENT, CIVIL, DATA_AGREEMENT, POLICY, WELFARE
from services.consent.verification import Verification, VerificationLog

ADMINISTRATOR = Caller("SANDBOX/GOV/DIGITAL/CONSENT", "local")
PROVIDER = Caller(CIVIL, "gateway")
LOGGED_IN = Signer("ES256", '{"subject":"p"}', "individual")


@dataclass
class Parts:
    """The wired operations; what a programme, a person and a provider do with them."""

    database: Database
    store: ConsentStore
    configuration: Configuration
    records: Records
    verification: Verification
    sessions: Sessions

    def draft(self, individual: str) -> tuple[dict[str, Any], dict[str, Any]]:
        record, signature = self.records.draft(WELFARE, AGREEMENT, individual)
        with self.database.read() as connection:
            shape = Shapes(self.store).record(connection, record)
        form = {"verificationMethod": "officer-attestation", "verificationSignedBy": "officer"}
        return shape, as_contract(signature) | form

    def post(self, draft: tuple[dict[str, Any], dict[str, Any]]) -> Any:
        return self.records.create_from_draft(WELFARE, *draft)[0]

    def decide(self, individual: str, opt_in: bool) -> Any:
        agreement, _ = self.configuration.read_agreement(AGREEMENT)
        return self.records.decide(
            AGREEMENT, agreement.revision_id, individual, opt_in, LOGGED_IN, lambda connection, record: None
        )

    def withdraw(self, individual: str) -> Any:
        record = self.records.current(AGREEMENT, individual)
        return self.records.update(WELFARE, record.id, individual, False)[0]

    def consents(self, *individuals: str) -> set[str]:
        return {each.individual_id for each in self.verification.consent_of(PROVIDER, AGREEMENT, individuals)}

    def set_agreement(self, **changed: Any) -> None:
        self.configuration.update_agreement(ADMINISTRATOR, AGREEMENT, DATA_AGREEMENT | changed)


def parts_on(database_url: str, keys: Path) -> Parts:
    """Wire the operations on an empty database and describe the agreement."""
    database, metadata, own_keys = Database(database_url, full_sync=False), MetaData(), OwnKeys(keys)
    store, log, sessions = (
        ConsentStore(database, metadata),
        VerificationLog(metadata),
        Sessions(database, metadata, 900),
    )
    database.create(metadata, SCHEMA)
    configuration = Configuration(store, system_clock)
    records = Records(store, configuration, own_keys, system_clock)
    verification = Verification(store, configuration, log, own_keys, system_clock)
    configuration.create_policy(ADMINISTRATOR, POLICY)
    configuration.create_agreement(ADMINISTRATOR, DATA_AGREEMENT)
    return Parts(database, store, configuration, records, verification, sessions)
