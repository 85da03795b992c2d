"""Wiring of the ministry's app, and nothing else."""

from datetime import timedelta

from flask import Flask
from sqlalchemy import MetaData

from sandroad.clock import BusinessClock
from sandroad.contracts import Contract
from sandroad.gateway_client import GatewayClient
from sandroad.outbox import Outbox
from sandroad.serving import serving
from sandroad.storage import Database
from sandroad.web import create_web_app
from usecases.cash_transfer.api import api
from usecases.cash_transfer.calls import Calls
from usecases.cash_transfer.citizens import citizens
from usecases.cash_transfer.config import Config
from usecases.cash_transfer.control import control_of
from usecases.cash_transfer.exports import exports_of
from usecases.cash_transfer.importing.job import Import
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.eligibility_decision import SOCIAL, EligibilityDecision
from usecases.cash_transfer.operations.enrolment import PAYEE, RECORD, Enrolment
from usecases.cash_transfer.operations.payment import BULK, VALIDATION, Payment
from usecases.cash_transfer.operations.reconciliation import DETAIL, OUTCOME, Reconciliation
from usecases.cash_transfer.operations.registration import Registration
from usecases.cash_transfer.operations.verification import Verification
from usecases.cash_transfer.pages import pages
from usecases.cash_transfer.programme import read_programme
from usecases.cash_transfer.relying_party import RelyingParty, own_key, own_secret
from usecases.cash_transfer.routes import callback_routes
from usecases.cash_transfer.store import SCHEMA_VERSION, Store, metadata

WORKING_DAY = timedelta(hours=8)


def create_app(config: Config) -> Flask:
    """Return the app: its programme read and checked, its tables and keys made."""
    programme = read_programme(config.country / config.programme)
    database = Database(config.database)
    store = Store(database, programme.currency)
    gateway = GatewayClient(config.gateway_url, config.client)
    plumbing = MetaData()  # of this app alone: tests make several in one process
    office = Office(config, programme, store, Calls(gateway, store), BusinessClock(database, plumbing))
    enrolment, reconciliation, decision = Enrolment(office), Reconciliation(office), EligibilityDecision(office)
    office.outbox = Outbox(
        database,
        plumbing,
        gateway,
        done={
            SOCIAL: decision.on_registry_told,
            RECORD: enrolment.on_record_sent,
            PAYEE: enrolment.on_payee_sent,
            VALIDATION: reconciliation.on_order_sent,
            BULK: reconciliation.on_order_sent,
            DETAIL: reconciliation.on_detail,
            OUTCOME: reconciliation.on_outcome,
        },
        died={
            SOCIAL: decision.on_registry_told,
            RECORD: enrolment.on_record_sent,
            PAYEE: enrolment.on_payee_refused,
            VALIDATION: reconciliation.on_order_refused,
            BULK: reconciliation.on_order_refused,
            DETAIL: reconciliation.on_detail_refused,
            OUTCOME: reconciliation.on_outcome_refused,
        },
    )
    for tables in (metadata, plumbing):
        database.create(tables, SCHEMA_VERSION)
    secret = own_secret(config.data)
    app = create_web_app(
        config,
        routes=[callback_routes(Contract.load(config.contracts / "cash_transfer" / "openapi.yaml"))],
        resources=[
            office,
            enrolment,
            reconciliation,
            decision,
            Registration(office),
            Verification(office),
            Payment(office),
            Import(office, secret),
            RelyingParty(own_key(config.data), f"{config.public_url}/oidc/callback", config.identity_url),
        ],
        blueprints=[pages, citizens, api],
        control=[control_of()],
        clock=office.clock,
        outbox=office.outbox,
        checks={"database": lambda: _look(store)},
        exports=exports_of(store),
    )
    app.secret_key = secret
    app.config.update(
        SESSION_COOKIE_NAME=f"{config.name}-session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.public_url.startswith("https://"),
        PERMANENT_SESSION_LIFETIME=WORKING_DAY,  # what a signed cookie is worth, counted from when it was made
    )
    return app


def _look(store: Store) -> None:
    with store.read() as rows:
        rows.beneficiaries.counts()


run = serving(create_app, Config)
