"""Wiring of a registry instance."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from flask import Blueprint, Flask, jsonify
from sqlalchemy import text

from sandroad.clock import BusinessClock
from sandroad.gateway_client import GatewayClient
from sandroad.problems import NotFound
from sandroad.serving import serving
from sandroad.storage import Database
from sandroad.web import create_web_app, resource
from services.registry.changes import Changes
from services.registry.clients import Consent, Identity
from services.registry.config import Config
from services.registry.databases import Databases
from services.registry.domain import RegistryUnknown
from services.registry.personal_usage import PersonalUsage
from services.registry.reading import Reading
from services.registry.release import Release
from services.registry.rights import Rights
from services.registry.routes import make_routes
from services.registry.store import Store


def create_app(config: Config) -> Flask:
    """Return the Flask application of one registry instance."""
    database = Database(config.database)
    store = Store(database)
    clock = BusinessClock(database)
    gateway = GatewayClient(config.gateway_url, config.client)
    identity = Identity(gateway, config.identity, config.ask_timeout)
    consent = Consent(gateway, config.consent, config.ask_timeout)
    release = Release(store, identity, consent)
    return create_web_app(
        config,
        routes=[make_routes(config.contracts)],
        resources=[
            store,
            Rights(config.rights, instance=config.instance, member=config.member, subsystem=config.subsystem),
            Reading(store, release),
            Changes(store, release, clock),
            Databases(store, config.hosted, clock),
            PersonalUsage(store, release, config.country / "topology.yaml"),
        ],
        control=[_history()],
        clock=clock,
        checks={"database": partial(_ask, database)},
        exports={code: _export(store, code) for code in config.hosted},
    )


def _ask(database: Database) -> None:
    with database.read() as connection:
        connection.execute(text("SELECT 1"))


def _export(store: Store, code: str) -> Callable[[], Iterable[Mapping[str, Any]]]:
    def rows() -> Iterable[Mapping[str, Any]]:
        """Yield the full content of every live record, by key; nothing if the registry is not defined yet."""
        with store.read() as connection:
            try:
                published = store.newest(connection, code)
            except RegistryUnknown:
                return
            for record in store.records(connection, published).walk():
                yield record.content

    return rows


def _history() -> Blueprint:
    history = Blueprint("history", __name__)

    @history.get("/history/<registry>/<key>")
    def versions(registry: str, key: str) -> Any:
        """Show all versions of one record, by primary key or UUID."""
        store = resource(Store)
        with store.read() as connection:
            records = store.records(connection, store.newest(connection, registry))
            record = records.get(key)
            if record is None:
                raise NotFound("no record of this key or UUID was ever kept")
            return jsonify(records.history(record))

    return history


run = serving(create_app, Config)
