"""People's phones: the inbox of messaging, where one-time codes and letters arrive."""

import re
from urllib.parse import quote

import requests

from usecases.cash_transfer.scenario.waiting import until

CODE = re.compile(r"\b(\d{6})\b")


class Phones:
    """Reads the inbox of a messaging block that stands at ``url``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def newest(self, number: str) -> int:
        """Return the id of the newest message to a number, 0 if there is none."""
        return max((int(each["id"]) for each in self._messages(number, 0)), default=0)

    def code(self, number: str, after: int) -> str:
        """Wait for a code that came after a message, and return it."""
        found = until(
            lambda: [code for each in self._messages(number, after) if (code := CODE.search(each["content"]))], "a code"
        )
        return str(found[-1][1])

    def letter(self, number: str, word: str) -> str:
        """Wait for a message to a number that holds ``word``, and return the newest."""
        found = until(
            lambda: [each["content"] for each in self._messages(number, 0) if word in each["content"]], "a letter"
        )
        return str(found[-1])

    def _messages(self, number: str, after: int) -> list[dict[str, str]]:
        address = f"{self._url}/inbox/{quote(number, safe='')}.json"
        response = self._session.get(address, params={"after": str(after)}, timeout=20)
        response.raise_for_status()
        return list(response.json()["messages"])
