"""Who is where: institutions and programmes, from the settings or as the steward has set them since."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, select

from sandroad.problems import InvalidRequest
from sandroad.storage import Database
from services.payments.config import Config
from services.payments.domain import FinancialAddress, NoProgramme, Programme
from services.payments.tables import wiring


class Wiring:
    """Institutions (code → service) and programmes (calling subsystem → programme)."""

    def __init__(self, config: Config, database: Database) -> None:
        self._database = database
        self._paying_bank = config.paying_bank
        with database.read() as connection:
            kept = {row.name: json.loads(row.value) for row in connection.execute(select(wiring))}
        self.institutions: dict[str, str] = checked_institutions(kept.get("institutions", config.institutions))
        self.programmes: dict[str, Programme] = checked_programmes(kept.get("programmes", config.programmes))

    def set_institutions(self, value: Mapping[str, Any]) -> None:
        """Replace all institutions."""
        self.institutions = self._kept("institutions", checked_institutions(value), value)

    def set_programmes(self, value: Mapping[str, Any]) -> None:
        """Replace all programmes."""
        self.programmes = self._kept("programmes", checked_programmes(value), value)

    def programme_of(self, client: str, named: str | None) -> Programme:
        """Return what ``client`` pays from; raise ``NoProgramme`` if nothing, or another than it has named."""
        found = self.programmes.get(client)
        if found is None:
            raise NoProgramme(f"the Treasury pays for no programme of {client}; its administrator sets programmes")
        if named and named != found.code:
            raise NoProgramme(f"{client} runs programme {found.code}, not {named[:20]}")
        service = self.institutions.get(found.account.institution, "")
        if service.split("/")[2:3] != [self._paying_bank]:
            raise NoProgramme(f"the account of {found.code} is not at the paying bank {self._paying_bank}")
        return found

    def _kept(self, name: str, checked: Any, value: Mapping[str, Any]) -> Any:
        with self._database.begin() as connection:
            connection.execute(delete(wiring).where(wiring.c.name == name))
            connection.execute(insert(wiring).values(name=name, value=json.dumps(value)))
        return checked


def checked_institutions(value: Mapping[str, Any]) -> dict[str, str]:
    """Return institutions, or raise ``InvalidRequest`` that says what is wrong."""
    for code, service in value.items():
        if FinancialAddress.parse(f"{code}:1") is None:
            raise InvalidRequest(f"{code[:20]!r} is no institution code: capitals and digits, 2 to 11 characters")
        if not isinstance(service, str) or service.count("/") != 4:
            raise InvalidRequest(f"institution {code} needs a service: INSTANCE/CLASS/MEMBER/SUBSYSTEM/service")
    return dict(value)


def checked_programmes(value: Mapping[str, Any]) -> dict[str, Programme]:
    """Return programmes, or raise ``InvalidRequest`` that says what is wrong."""
    found = {}
    for client, entry in value.items():
        if client.count("/") != 3:
            raise InvalidRequest(f"{client[:60]!r} is no subsystem: INSTANCE/CLASS/MEMBER/SUBSYSTEM")
        if not isinstance(entry, dict) or entry.keys() != {"programme", "funding_account"}:
            raise InvalidRequest(f"programme of {client}: an object with programme and funding_account")
        code, account = entry["programme"], FinancialAddress.parse(str(entry["funding_account"]))
        if not isinstance(code, str) or not 0 < len(code) <= 20 or account is None:
            raise InvalidRequest(
                f"programme of {client}: a code of up to 20 characters, an account INSTITUTION:account"
            )
        found[client] = Programme(code, account)
    return found
