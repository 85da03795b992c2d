"""The consent block's application: wiring and nothing else."""

from typing import Any

from flask import Blueprint, Flask, jsonify
from sqlalchemy import MetaData

from sandroad.clock import BusinessClock, system_clock
from sandroad.contracts import Contract
from sandroad.serving import serving
from sandroad.storage import Database
from sandroad.web import create_web_app, resource
from services.consent.agreements import Configuration
from services.consent.config import Config
from services.consent.keys import OwnKeys
from services.consent.records import Records
from services.consent.routes import consent_routes
from services.consent.shapes import Shapes
from services.consent.store import SCHEMA, ConsentStore
from services.consent.verification import Verification, VerificationLog


def create_app(config: Config) -> Flask:
    """Return the consent block. Its times are security times (signatures, logs), so they follow the real clock."""
    database, metadata, keys = Database(config.database), MetaData(), OwnKeys(config.data)
    clock = BusinessClock(database, metadata)
    store, log = ConsentStore(database, metadata), VerificationLog(metadata)
    database.create(metadata, SCHEMA)
    configuration = Configuration(store, system_clock)
    records = Records(store, configuration, keys, system_clock)
    verification = Verification(store, configuration, log, keys, system_clock)
    return create_web_app(
        config,
        routes=[consent_routes(Contract.load(config.contracts / "consent" / "openapi.yaml"))],
        resources=[store, configuration, records, verification, log, keys, Shapes(store)],
        control=[_control()],
        clock=clock,
        checks={"database": lambda: _check_database(store)},
        exports={"consent-records": verification.export_records, "data-agreements": verification.export_agreements},
        max_body=1024 * 1024,
    )


def _control() -> Blueprint:
    control = Blueprint("consent-control", __name__)

    @control.get("/integrity")
    def check_integrity() -> Any:
        """Recompute every hash, chain link and signature."""
        return jsonify(resource(Verification).integrity())

    return control


def _check_database(store: ConsentStore) -> None:
    with store.database.read() as connection:
        store.agreement(connection, "")


run = serving(create_app, Config)
