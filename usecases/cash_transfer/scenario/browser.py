"""A browser without a screen: follows links and redirects, fills forms, keeps cookies; runs no scripts, as our pages need none."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import requests

MOST_REDIRECTS = 15


@dataclass
class Form:
    """A form as it stands on a page; ``buttons`` are (name, value)."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self._open: Form | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and given.get("id"):
            self.links[given["id"]] = given.get("href", "")
        elif tag == "form":
            self._open = Form(given.get("action", ""), given.get("method", "get").upper())
            self.forms.append(self._open)
        elif self._open is not None and tag in ("input", "select", "textarea") and given.get("name"):
            self._field(given)
        elif self._open is not None and tag == "button" and given.get("name"):
            self._open.buttons.append((given["name"], given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    def _field(self, given: dict[str, str]) -> None:
        assert self._open is not None
        if given.get("type") in ("radio", "checkbox") and "checked" not in given:
            self._open.fields.setdefault(given["name"], "")
            return
        self._open.fields[given["name"]] = given.get("value", "")


class Browser:
    """One person's browser. ``addresses`` maps addresses that pages show to those by which this process reaches them."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self._addresses = addresses
        self._session = requests.Session()
        self._session.trust_env = False
        self.address = ""
        self.status = 0
        self.text = ""
        self._page = _Page("")

    def open(self, address: str) -> None:
        """Go to an address and on through redirects."""
        self._go("GET", address, {})

    def follow(self, link: str) -> None:
        """Follow the link of this id."""
        self.open(urljoin(self.address, self._page.links[link]))

    def form_with(self, name: str) -> Form | None:
        """Return the first form that has a field or button of this name."""
        for form in self._page.forms:
            if name in form.fields or any(button == name for button, _ in form.buttons):
                return form
        return None

    def submit(self, form: Form, **values: str) -> None:
        """Fill in and send a form."""
        self._go(form.method, urljoin(self.address, form.action or self.address), form.fields | values)

    def call(
        self, method: str, address: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        """Call an API with this browser's cookies."""
        return self._session.request(method, self._reached(address), json=body, headers=headers, timeout=90)

    def _go(self, method: str, address: str, fields: dict[str, str]) -> None:
        for _ in range(MOST_REDIRECTS):
            sent: dict[str, Any] = {"params": fields} if method == "GET" and fields else {"data": fields}
            if method == "GET" and not fields:
                sent = {}
            response = self._session.request(method, self._reached(address), allow_redirects=False, timeout=90, **sent)
            if not response.is_redirect:
                self.address, self.status, self.text = address, response.status_code, response.text
                self._page = _Page(response.text)
                return
            method, fields, address = "GET", {}, urljoin(address, response.headers["Location"])
        raise RuntimeError(f"more than {MOST_REDIRECTS} redirects, the last to {address}")

    def _reached(self, address: str) -> str:
        for shown, reached in self._addresses.items():
            if address == shown or address.startswith((shown + "/", shown + "?")):
                return reached + address.removeprefix(shown)
        return address
