"""People at their screens: officers who log in and work through the ministry's API, citizens who log in and answer."""

from typing import Any

from usecases.cash_transfer.scenario.browser import Browser
from usecases.cash_transfer.scenario.cast import Person
from usecases.cash_transfer.scenario.phones import Phones


class ScreenWrong(Exception):
    """A page or answer was not the one that the story needs here."""


class Refused(Exception):
    """The ministry's app refused a step; ``document`` is its problem document."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(f"{status} {document.get('code')}: {document.get('detail', '')}")
        self.status = status
        self.document = document

    @property
    def code(self) -> str:
        """The refusal's code."""
        return str(self.document.get("code", ""))

    @property
    def provider(self) -> dict[str, Any]:
        """What another organisation said, if it was one."""
        return dict(self.document.get("provider") or {})


def log_in(browser: Browser, person: Person, phones: Phones) -> None:
    """Go through identity's pages: number, code from the phone, agreement to share claims; until other pages come."""
    for _ in range(6):
        before = phones.newest(person.phone)
        if form := browser.form_with("individual_id"):
            browser.submit(form, individual_id=person.individual_id)
            form = browser.form_with("code")
            if form is None:
                raise ScreenWrong(f"identity asks {person.name} for no code ({browser.status})")
            browser.submit(form, code=phones.code(person.phone, before))
        elif (
            (form := browser.form_with("decision"))
            and "form_token" in form.fields
            and form.fields.get("step") == "consent"
        ):
            browser.submit(form, decision="allow")
        else:
            return
    raise ScreenWrong(f"the login of {person.name} does not end: {browser.address} ({browser.status})")


class Desk:
    """An officer at work."""

    def __init__(self, browser: Browser, base: str, person: Person) -> None:
        self.person = person
        self._browser = browser
        self._base = base
        self._token = ""

    def log_in(self, phones: Phones) -> None:
        """Log in by the browser, and take the token that every change must bear."""
        self._browser.open(f"{self._base}/login")
        log_in(self._browser, self.person, phones)
        self._token = str(self.get("/api/session")["token"])

    def get(self, path: str) -> Any:
        """Read; raise ``Refused``."""
        return self._answer("GET", path, None)

    def post(self, path: str, body: Any = None) -> Any:
        """Take a step; raise ``Refused``."""
        return self._answer("POST", path, body if body is not None else {})

    def put(self, path: str, body: Any) -> Any:
        """Change; raise ``Refused``."""
        return self._answer("PUT", path, body)

    def _answer(self, method: str, path: str, body: Any) -> Any:
        headers = {"X-Session-Token": self._token} if self._token else {}
        response = self._browser.call(method, self._base + path, body, headers)
        try:
            document = response.json()
        except ValueError as defect:
            raise ScreenWrong(f"{method} {path}: {response.status_code} without JSON") from defect
        if not response.ok:
            raise Refused(response.status_code, document)
        return document
