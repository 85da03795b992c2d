"""The client id that identity gave this app, as the steward told it."""

from sqlalchemy import Connection, delete, insert, select

from usecases.cash_transfer.relying_party import Registration
from usecases.cash_transfer.store.tables import relying_party


def registration(connection: Connection) -> Registration | None:
    """Return the registration, None before the steward has told it."""
    row = connection.execute(select(relying_party)).mappings().first()
    return Registration(**row) if row else None


def register(connection: Connection, told: Registration) -> None:
    """Keep the registration in place of an earlier one."""
    connection.execute(delete(relying_party))
    connection.execute(insert(relying_party).values(client_id=told.client_id, issuer=told.issuer))
