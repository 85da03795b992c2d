"""Wiring of the payments block, and nothing else."""

from flask import Flask
from sqlalchemy import MetaData, text

from sandroad.clock import BusinessClock
from sandroad.contracts import Contract
from sandroad.outbox import Outbox
from sandroad.serving import serving
from sandroad.storage import Database
from sandroad.web import create_web_app, running
from services.payments.batches import Batches
from services.payments.callbacks import CallingBack
from services.payments.config import Config
from services.payments.control import make_control
from services.payments.execution import Execution
from services.payments.mapper import Mapper
from services.payments.routes_v1 import make_routes_v1
from services.payments.routes_v3 import make_routes_v3
from services.payments.tables import SCHEMA_VERSION, metadata
from services.payments.validations import Validations
from services.payments.watch import Watch
from services.payments.wiring import Wiring

LARGEST_BODY = 64 * 1024 * 1024
GIVE_UP_AFTER = 30 * 24 * 3600.0


def create_app(config: Config, *, clock: BusinessClock | None = None) -> Flask:
    """Return the payments block's Flask application."""
    database, outgoing = Database(config.database), MetaData()
    clock = clock or BusinessClock(database)
    outbox = Outbox(
        database, outgoing, CallingBack(config.gateway_url, config.client), workers=6, longest_wait=5.0,
        give_up_after=GIVE_UP_AFTER, forgotten=["poll"],
    )  # fmt: skip
    database.create(metadata, SCHEMA_VERSION)
    database.create(outgoing, SCHEMA_VERSION)
    clock()  # reads its offset now: later it is asked inside transactions, where it must not begin one
    wiring = Wiring(config, database)
    batches = Batches(database, wiring, outbox, clock, currency=config.currency, largest=config.largest_sub_batch)
    validations = Validations(database, wiring, outbox, patience=config.validation_patience, currency=config.currency)
    execution = Execution(config, database, wiring, outbox, batches, clock)
    mapper = Mapper(database, wiring, outbox, clock)
    watch = Watch(config, database, outbox, execution, validations)
    outbox.on("authorise", done=execution.authorised, died=execution.authorisation_refused)
    outbox.on("ask-decision", done=execution.authorised, died=execution.decision_unknown)
    outbox.on("sub-batch", done=execution.sub_batch_taken, died=execution.sub_batch_refused)
    outbox.on("poll", done=execution.polled, died=execution.poll_refused)
    outbox.on("return", done=execution.returned)
    outbox.on("validate", done=validations.answered, died=validations.refused)
    contract = Contract.load(config.contracts / "payments" / "openapi.yaml")

    def database_answers() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT 1"))

    app = create_web_app(
        config,
        routes=[make_routes_v1(contract, config), make_routes_v3(contract, config)],
        resources=[database, wiring, mapper, batches, validations, execution, watch],
        control=[make_control(config)],
        clock=clock,
        outbox=outbox,
        checks={"database": database_answers},
        exports={
            "payees": mapper.export,
            "batches": batches.export_batches,
            "instructions": batches.export_instructions,
        },
        max_body=LARGEST_BODY,
    )
    running(app).starting.append(watch.start)
    running(app).stopping.insert(0, database.close)
    running(app).stopping.append(watch.stop)
    return app


run = serving(create_app, Config)
