"""Applications and the places that they hold."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from usecases.cash_transfer.domain import Application
from usecases.cash_transfer.refusals import DuplicateHousehold, UnknownApplication
from usecases.cash_transfer.store.tables import applications, places

JSON_COLUMNS = ("record", "visit", "answers", "decision", "payee")


class Applications:
    """Applications within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, number: str) -> Application:
        """Return an application or raise ``UnknownApplication``."""
        row = self._connection.execute(select(applications).where(applications.c.id == number)).mappings().first()
        if row is None:
            raise UnknownApplication(f"application {number[:40]!r}")
        return _application(row)

    def listing(self, limit: int = 500) -> list[Application]:
        """Return the newest applications first."""
        query = select(applications).order_by(applications.c.opened_at.desc(), applications.c.id).limit(limit)
        return [_application(row) for row in self._connection.execute(query).mappings()]

    def add(self, application: Application) -> None:
        """Keep a new application."""
        self._connection.execute(insert(applications).values(**_row(application)))

    def put(self, application: Application) -> None:
        """Keep a changed application."""
        self._connection.execute(
            update(applications).where(applications.c.id == application.id).values(**_row(application))
        )

    def hold_place(self, household: str, functional_id: str, holder: str) -> None:
        """Hold the household's and the person's place for ``holder``; raise ``DuplicateHousehold`` if another has one.

        The same holder again changes nothing. An unknown household ("") holds the person's place only.
        """
        wanted = [f"person:{functional_id}"] + ([f"household:{household}"] if household else [])
        found = self._connection.execute(select(places).where(places.c.place.in_(wanted)))
        held = {row.place: row.holder for row in found}
        # Both are looked at before either is taken: the refused must not go on holding the other place.
        for place in wanted:
            if held.get(place, holder) != holder:
                said = f"{place.split(':')[0]} is in the programme already, by {held[place]}"
                raise DuplicateHousehold(said, holder=held[place])
        for place in wanted:
            if place not in held:
                self._connection.execute(insert(places).values(place=place, holder=holder))

    def free_place(self, holder: str) -> None:
        """Let others apply again: the holder was refused."""
        self._connection.execute(delete(places).where(places.c.holder == holder))


def _row(application: Application) -> dict[str, Any]:
    row = {column.name: getattr(application, column.name) for column in applications.c}
    row["opened_at"] = application.opened_at.isoformat()
    for name in JSON_COLUMNS:
        row[name] = json.dumps(row[name], ensure_ascii=False)
    return row


def _application(row: Any) -> Application:
    values = dict(row)
    values["opened_at"] = datetime.fromisoformat(values["opened_at"])
    for name in JSON_COLUMNS:
        values[name] = json.loads(values[name])
    return Application(**values)
