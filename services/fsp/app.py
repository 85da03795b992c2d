"""Wiring of one institution, and nothing else."""

from flask import Flask
from sqlalchemy import MetaData, text

from sandroad.clock import BusinessClock
from sandroad.contracts import Contract
from sandroad.faults import Faults
from sandroad.gateway_client import GatewayClient
from sandroad.outbox import Outbox
from sandroad.serving import serving
from sandroad.storage import Database
from sandroad.web import create_web_app, running
from services.fsp.accounts import Accounts
from services.fsp.config import Config
from services.fsp.credits import Credits
from services.fsp.funds import Funds
from services.fsp.late import LateCredits
from services.fsp.routes import make_control, make_routes
from services.fsp.tables import SCHEMA_VERSION, metadata

FAULTS = {
    "down": "answer 503 to payments; `times` ends it after as many calls",
    "close-account": "treat `account` as closed",
    "open-account": "treat `account` as active, whatever was planted",
}


def create_app(config: Config, *, clock: BusinessClock | None = None) -> Flask:
    """Return an institution's Flask application."""
    database, outgoing = Database(config.database), MetaData()
    clock = clock or BusinessClock(database)
    faults = Faults(FAULTS, lab=config.lab)
    outbox = Outbox(
        database, outgoing, GatewayClient(config.gateway_url, config.client), workers=2, longest_wait=5.0,
        give_up_after=30 * 24 * 3600.0,
    )  # fmt: skip
    database.create(metadata, SCHEMA_VERSION)
    database.create(outgoing, SCHEMA_VERSION)
    clock()  # reads its offset now: later it is asked inside transactions, where it must not begin one
    accounts = Accounts(config, database, faults)
    credits = Credits(database, accounts, outbox, clock)
    late = LateCredits(database, credits, clock)
    contract = Contract.load(config.contracts / "fsp" / "openapi.yaml")

    def database_answers() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT 1"))

    app = create_web_app(
        config,
        routes=[make_routes(contract, config)],
        resources=[database, accounts, credits, Funds(database, accounts, clock)],
        control=[make_control(config)],
        clock=clock,
        faults=faults,
        outbox=outbox,
        checks={"database": database_answers},
        exports={"accounts": accounts.export, "credits": credits.export},
    )
    running(app).starting.append(late.start)
    running(app).stopping.insert(0, database.close)
    running(app).stopping.append(late.stop)
    return app


run = serving(create_app, Config)
