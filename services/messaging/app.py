"""The messaging block's application: wiring and nothing else."""

from flask import Flask
from sqlalchemy import MetaData

from sandroad.clock import BusinessClock
from sandroad.contracts import Contract
from sandroad.faults import Faults
from sandroad.gateway_client import GatewayClient
from sandroad.outbox import Outbox
from sandroad.serving import serving
from sandroad.storage import Database
from sandroad.web import create_web_app, running
from services.messaging.channels import Channel, InboxChannel, SmtpChannel
from services.messaging.config import Config
from services.messaging.delivery import Delivery
from services.messaging.inbox import Inbox
from services.messaging.operations import Messaging
from services.messaging.pages import pages
from services.messaging.routes import messaging_routes
from services.messaging.sealing import Seal
from services.messaging.store import SCHEMA, MessagingStore

FAULTS = {
    "email-down": "nobody takes e-mails (`times` ends it)",
    "sms-down": "nobody takes text messages (`times` ends it)",
    "bounce": "messages to `address` are refused for good",
}


def create_app(config: Config) -> Flask:
    """Return the messaging block; its delivery worker starts with it."""
    database, metadata = Database(config.database), MetaData()
    faults, clock = Faults(FAULTS, lab=config.lab), BusinessClock(database, metadata)
    store = MessagingStore(database, metadata, Seal(config.data / "queue.key"))
    inbox = Inbox(database, metadata)
    outbox = Outbox(database, metadata, GatewayClient(config.gateway_url, config.client))
    database.create(metadata, SCHEMA)
    channels: dict[str, Channel] = {name: InboxChannel(name, inbox, faults, clock) for name in ("email", "sms")}
    if config.smtp_host:
        channels["email"] = SmtpChannel(config.smtp_host, config.smtp_port)
    delivery = Delivery(
        store, channels, outbox,
        first_wait=config.first_wait, longest_wait=config.longest_wait, give_up_after=config.give_up_after,
    )  # fmt: skip
    contract = Contract.load(config.contracts / "messaging" / "openapi.yaml")
    app = create_web_app(
        config,
        routes=[messaging_routes(contract), messaging_routes(contract, "/v1")],
        resources=[Messaging(store, contract, clock), inbox, delivery],
        blueprints=[pages],
        clock=clock,
        faults=faults,
        outbox=outbox,
        checks={"delivery": delivery.check, "database": lambda: _check_database(store)},
        exports={"requests": store.export},
        max_body=8 * 1024 * 1024,
    )
    running(app).starting.append(delivery.start)
    running(app).stopping.append(delivery.stop)
    return app


def _check_database(store: MessagingStore) -> None:
    store.soonest()


run = serving(create_app, Config)
