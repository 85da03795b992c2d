"""Central's wiring."""

from datetime import timedelta

from flask import Flask

from gateway.central.authority import open_authority
from gateway.central.config import Config
from gateway.central.control import steward_control
from gateway.central.ocsp import Responder
from gateway.central.operations import Central
from gateway.central.publication import Publisher
from gateway.central.routes import anchor_of, central_routes, ocsp_paths
from gateway.central.store import Store
from gateway.central.timestamping import TimeStampingAuthority
from sandroad.clock import BusinessClock, Clock, system_clock
from sandroad.serving import serving
from sandroad.storage import Database
from sandroad.web import create_web_app

LARGEST_BODY = 256 * 1024


def create_app(config: Config, *, clock: Clock = system_clock) -> Flask:
    """Return central's application. ``clock`` is security time: the real clock, except in tests of expiry."""
    store = Store(Database(config.database))
    authority = open_authority(config.data, config.instance, config.country_code)
    responder = Responder(authority, timedelta(seconds=config.ocsp_freshness_seconds))
    publisher = Publisher(config, store, authority, responder, clock)
    central = Central(config, store, authority, responder, publisher, clock)
    central.take_over_settings()
    return create_web_app(
        config,
        routes=[central_routes(config.contracts)],
        resources=[central, authority, anchor_of(config, authority), TimeStampingAuthority(authority.tsa, clock)],
        blueprints=[ocsp_paths()],
        control=[steward_control()],
        clock=BusinessClock(store.database),
        checks={"configuration": lambda: _check(central)},
        max_body=LARGEST_BODY,
    )


def _check(central: Central) -> None:
    """Raise if the configuration cannot be published."""
    central.configuration()


run = serving(create_app, Config)
