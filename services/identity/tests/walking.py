"""What the tests of identity walk with: messaging behind a relay, a relying party with a stock client, a browser."""

import json
import re
import socket
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT

from services.identity.config import Config

CALLBACK = "http://127.0.0.1:7999/login/callback"
CLIENT_ID = "cash-transfer"
NUMBER = "QZ1000000017"
PERSON: dict[str, Any] = {
    "individualId": NUMBER,
    "documentType": "national-id",
    "name": {"given_name": "Amina", "family_name": "Okello"},
    "birthdate": "1988-03-09",
    "gender": "female",
    "phone_number": "+999700000017",
    "email": "amina@example.org",
    "locale": "en",
    "address": {"locality": "Mbali", "region": "North", "country": "QZ"},
}


class Inbox:
    """Messaging behind a minimal relay: takes /r1/… calls over HTTP and keeps what it was asked to send."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.status = 200
        inbox = self

        class Relay(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken = {"path": self.path, "headers": dict(self.headers), "body": json.loads(body)}
                if inbox.status == 200:
                    inbox.taken.append(taken)
                self.send_response(inbox.status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b'{"response": "Success", "requestUid": "1"}')

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def code(self) -> str:
        """Return the code of the newest message."""
        found = re.search(r"\d{6}", self.taken[-1]["body"]["smsContent"]["content"])
        assert found
        return found[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Provider:
    """A served identity provider, and what a test needs to steer it."""

    url: str
    config: Config
    inbox: Inbox
    ahead: list[timedelta] = field(default_factory=list)
    parties: list["Party"] = field(default_factory=list)

    def advance(self, **duration: float) -> None:
        """Move security time, for expiry."""
        self.ahead.append(timedelta(**duration))

    def hang_up(self) -> None:
        """Close all connections, for the server to end at once."""
        for party in self.parties:
            for session in party.sessions:
                session.close()

    @property
    def steward(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.config.management_token}"}

    def enrol(self, *persons: dict[str, Any]) -> None:
        reply = requests.post(f"{self.url}/enrollment/batch", json={"individuals": list(persons)}, headers=self.steward)
        assert reply.status_code == 200, reply.text

    def register(self, key: Any, **changed: Any) -> requests.Response:
        """Register a relying party as ``up`` does."""
        details = {
            "clientId": CLIENT_ID, "clientName": "Cash Transfer", "relyingPartyId": "welfare",
            "logoUri": "https://welfare.example/logo.png", "redirectUris": [CALLBACK],
            "authContextRefs": ["idbb:acr:generated-code"], "publicKey": key.as_dict(private=False),
            "userClaims": ["name", "given_name", "email", "email_verified", "phone_number", "birthdate"],
            "grantTypes": ["authorization_code"], "clientAuthMethods": ["private_key_jwt"], "programmes": ["CT-01"],
        }  # fmt: skip
        details |= changed
        body = {"requestTime": "2026-01-01T00:00:00.000Z",
                "request": {k: v for k, v in details.items() if v is not None}}  # fmt: skip
        return requests.post(f"{self.url}/client-mgmt/oidc-client", json=body, headers=self.steward)


@dataclass
class Party:
    """A relying party: a stock client library, and a browser."""

    provider: Provider
    key: Any
    client_id: str = CLIENT_ID
    alg: str = "RS256"
    scope: str = "openid profile email"
    browser: requests.Session = field(default_factory=requests.Session)
    sessions: list[requests.Session] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sessions.append(self.browser)
        self.provider.parties.append(self)

    def session(self, **changed: Any) -> OAuth2Session:
        """Return Authlib's client."""
        settings = {"scope": self.scope, "redirect_uri": CALLBACK, "code_challenge_method": "S256", **changed}
        session = OAuth2Session(self.client_id, self.key, token_endpoint_auth_method="private_key_jwt", **settings)
        self.sessions.append(session)
        session.register_client_auth_method(PrivateKeyJWT(f"{self.provider.url}/oauth/token", alg=self.alg))
        return session

    def authorize(self, **params: Any) -> requests.Response:
        """Send the browser to the provider with plain parameters; None leaves one out."""
        given = {"client_id": self.client_id, "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid",
                 "state": "s-1", **params}  # fmt: skip
        given = {k: v for k, v in given.items() if v is not None}
        return self.browser.get(f"{self.provider.url}/authorize", params=given, allow_redirects=False)

    def log_in(self, location: str, person: str = NUMBER, decision: str = "allow") -> str:
        """Walk through the pages as a browser does; return the redirect to the relying party."""
        page = self.follow(self.browser.get(location, allow_redirects=False))
        page = self.submit(page, "identify", individual_id=person)
        page = self.submit(page, "code", code=self.provider.inbox.code())
        if isinstance(page, str):
            return page
        end = self.submit(page, "consent", decision=decision)
        assert isinstance(end, str), end.text
        return end

    def follow(self, reply: requests.Response) -> Any:
        """Follow redirects within the provider; return the page, or the URL outside that it ends at."""
        while reply.is_redirect:
            target = urljoin(reply.url, reply.headers["Location"])
            if not target.startswith(self.provider.url):
                return target
            reply = self.browser.get(target, allow_redirects=False)
        return reply

    def post(self, page: requests.Response, step: str, **fields: str) -> requests.Response:
        """Post one form of a page, hidden fields as they stand in the HTML."""
        form = next(form for form in re.findall(r"<form.*?</form>", page.text, re.S) if f'value="{step}"' in form)
        action = re.search(r'action="([^"]+)"', form)
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form))
        assert action
        return self.browser.post(self.provider.url + action[1], data={**hidden, **fields}, allow_redirects=False)

    def submit(self, page: requests.Response, step: str, **fields: str) -> Any:
        """Post a form and follow."""
        return self.follow(self.post(page, step, **fields))


def query_of(url: str) -> dict[str, str]:
    """Return the query of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
