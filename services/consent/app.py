"""The consent block's application: wiring and nothing else."""

from flask import Flask
from sqlalchemy import MetaData

from sandroad.clock import BusinessClock, system_clock
from sandroad.contracts import Contract
from sandroad.serving import serving
from sandroad.storage import Database
from sandroad.web import create_web_app
from services.consent.agreements import Configuration
from services.consent.config import Config
from services.consent.control import control_blueprint
from services.consent.keys import OwnKeys
from services.consent.login import Registration, Registrations, RelyingParty
from services.consent.pages import pages
from services.consent.records import Records
from services.consent.routes import consent_routes
from services.consent.sessions import Sessions
from services.consent.shapes import Shapes
from services.consent.showing import Showing
from services.consent.store import SCHEMA, ConsentStore
from services.consent.verification import Verification, VerificationLog


def create_app(config: Config) -> Flask:
    """Return the consent block. Its times are security times (signatures, logs), so they follow the real clock."""
    database, metadata, keys = Database(config.database), MetaData(), OwnKeys(config.data)
    clock = BusinessClock(database, metadata)
    store, log = ConsentStore(database, metadata), VerificationLog(metadata)
    sessions = Sessions(database, metadata, config.session_seconds)
    registrations = Registrations(database, metadata, Registration(config.oidc_client_id, config.identity_issuer))
    database.create(metadata, SCHEMA)
    configuration = Configuration(store, system_clock)
    records = Records(store, configuration, keys, system_clock)
    verification = Verification(store, configuration, log, keys, system_clock)
    relying_party = RelyingParty(registrations, keys, f"{config.base_url}/oidc/callback", config.identity_url)
    showing = Showing(store, configuration, log)
    return create_web_app(
        config,
        routes=[consent_routes(Contract.load(config.contracts / "consent" / "openapi.yaml"))],
        resources=[
            store,
            configuration,
            records,
            verification,
            keys,
            Shapes(store),
            showing,
            sessions,
            registrations,
            relying_party,
        ],
        blueprints=[pages],
        control=[control_blueprint()],
        clock=clock,
        checks={"database": lambda: _check_database(store)},
        exports={"consent-records": verification.export_records, "data-agreements": verification.export_agreements},
        max_body=1024 * 1024,
    )


def _check_database(store: ConsentStore) -> None:
    with store.database.read() as connection:
        store.agreement(connection, "")


run = serving(create_app, Config)
