"""Wiring of identity."""

from pathlib import Path

import yaml
from flask import Flask
from sqlalchemy import select

from sandroad.clock import BusinessClock, Clock, system_clock
from sandroad.contracts import Contract
from sandroad.gateway_client import GatewayClient
from sandroad.serving import serving
from sandroad.storage import Database
from sandroad.web import create_web_app, running
from services.identity.clients import Messaging
from services.identity.config import Config
from services.identity.exchange import Exchange
from services.identity.journey import Journey
from services.identity.keys import KeyRing
from services.identity.operations import Enrolment, FunctionalIds, RelyingParties
from services.identity.pages import Screens, pages
from services.identity.rights import Rights
from services.identity.routes import make_routes
from services.identity.tables import SCHEMA_VERSION, metadata, relying_parties
from services.identity.tokens import TokenMint


def create_app(config: Config, *, now: Clock = system_clock) -> Flask:
    """Return the application. ``now`` is security time: the real clock, but for tests of expiry."""
    database = Database(config.database)
    database.create(metadata, SCHEMA_VERSION)
    clock = BusinessClock(database)
    keys = KeyRing(config.data / "keys", config.issuer, now())
    organisation = organisation_name(config)
    messaging = Messaging(GatewayClient(config.gateway_url, config.client), config.messaging, organisation)
    enrolment, numbers = Enrolment(database, clock), FunctionalIds(database)

    def answers() -> None:
        with database.read() as connection:
            connection.execute(select(relying_parties.c.client_id).limit(1))

    app = create_web_app(
        config,
        routes=make_routes(Contract.load(config.contracts / "identity" / "openapi.yaml")),
        resources=[
            enrolment,
            numbers,
            RelyingParties(database),
            keys,
            Journey(config, database, messaging, now),
            Exchange(config, database, TokenMint(config.issuer, keys), now),
            Screens(config, organisation),
            Rights(config.instance, config.rights),
        ],
        blueprints=[pages],
        clock=clock,
        checks={"database": answers, "signing key": lambda: keys.check(now())},
        exports={"individuals": enrolment.everybody, "functional-ids": numbers.everything},
    )
    running(app).stopping.append(database.close)
    return app


def organisation_name(config: Config) -> str:
    """Return the member's name from the country's topology, its code if that does not name it."""
    path = Path(config.country) / "topology.yaml"
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        members = {each["id"]: each["name"] for each in document["members"]}
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return config.member
    return str(members.get(config.member, config.member))


run = serving(create_app, Config)
