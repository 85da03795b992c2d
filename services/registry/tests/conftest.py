"""A registry served over real HTTP, and its two neighbours behind a relay that speaks their contracts."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, jsonify, request
from werkzeug.serving import make_server

from sandroad.storage import Database
from sandroad.testing import as_client, as_steward, config_for_tests, environment_url, fresh_postgresql_database, served
from services.registry.app import create_app
from services.registry.config import Config

IDENTITY = "SANDBOX/GOV/CIVIL/IDENTITY/identity"
CONSENT = "SANDBOX/GOV/DIGITAL/CONSENT/consent"
WELFARE = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
AMINA, BORIS, CHIPO = "CT01-AMINA2345678ABC", "CT01-BORIS2345678ABC", "CT01-CHIPO2345678ABC"
PEOPLE = {AMINA: "QZ0000000018", BORIS: "QZ0000000026", CHIPO: "QZ0000000034"}

PERSONS: dict[str, Any] = {
    "type": "object",
    "x-subject": "nationalId",
    "required": ["uid", "firstName", "lastName"],
    "properties": {
        "uid": {"type": "string", "primaryKey": True, "id": 1},
        "nationalId": {"type": ["string", "null"], "description": "never shown to other members"},
        "firstName": {"type": "string", "minLength": 1, "x-fulltext": True},
        "lastName": {"type": "string", "minLength": 1, "x-fulltext": True},
        "birthDate": {"type": "string", "format": "date"},
        "district": {"type": "string"},
        "alive": {"type": "boolean"},
        "children": {"type": "integer", "minimum": 0},
        "hectares": {"type": "number"},
        "household": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "members": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"nationalId": {"type": "string"}}},
                },
            },
        },
        "languages": {"type": "array", "items": {"type": "string"}},
        "pin": {"type": "string", "x-secret": True},
    },
}
RIGHTS = (
    {
        "subject": "GOV/WELFARE/CASH-TRANSFER",
        "service": "GOV/CIVIL/REGISTRY/registry",
        "allow": [
            "POST /data/population/*/read",
            "POST /data/population/*/exists",
            "POST /data/population/*/readEntries",
            "GET /data/population/*/*/readValue/*",
            "GET /data/population/*",
            "POST /data/population/*/create",
            "GET /data/mypersonalDataUsage",
        ],
        "data_agreement": "DA-CT01-VERIFY",
        "programme": "CT-01",
        "fields": ["firstName", "lastName", "birthDate", "alive", "hectares", "household"],
    },
    {"subject": "GOV/STATISTICS/OFFICE", "service": "GOV/CIVIL/REGISTRY/registry", "allow": ["GET /data/population/*"]},
    {
        "subject": "GOV/HEALTH/MCTS",
        "service": "GOV/CIVIL/REGISTRY/registry",
        "allow": ["* /data/population/**"],
        "programme": "PC-01",
    },
    {"subject": "GOV/CIVIL/DESK", "service": "GOV/CIVIL/REGISTRY/registry", "allow": ["* /data/**"]},
    {
        "subject": "GOV/WELFARE/CASH-TRANSFER",
        "service": "GOV/LANDS/REGISTRY/registry",
        "allow": ["**"],
    },
)


def person(uid: str, first: str, last: str, national_id: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the content of one person's record."""
    content = {"uid": uid, "firstName": first, "lastName": last, "district": "North", "alive": True, **more}
    return content if national_id is None else {**content, "nationalId": national_id}


@dataclass
class Neighbours:
    """Identity and consent, as far as their contracts with a registry go, and what they were asked."""

    people: dict[str, str] = field(default_factory=lambda: dict(PEOPLE))
    opted_in: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    garbled: set[str] = field(default_factory=set)
    url: str = ""

    def app(self) -> Flask:
        """Return the relay: what the own gateway would have carried to the two services."""
        app = Flask("neighbours")

        @app.post(f"/r1/{IDENTITY}/functional-ids/resolve")
        def resolve() -> Any:
            return self._answer(
                "identity", lambda body: {"results": [self._resolved(each) for each in body["functionalIds"]]}
            )

        @app.post(f"/r1/{CONSENT}/service/verification/consent-records/")
        def verify() -> Any:
            return self._answer("consent", lambda body: {"consentRecords": self._records(body)})

        return app

    def _answer(self, name: str, answer: Any) -> Any:
        assert request.headers["X-Road-Client"] == "SANDBOX/GOV/CIVIL/REGISTRY"
        body = request.get_json()
        self.asked.append((name, body))
        if name in self.silent:
            return jsonify(type="Server.ServerProxy.NetworkError", message="no route"), 500, {"X-Road-Error": "x"}
        if name in self.garbled:
            return jsonify(result="what?")
        return jsonify(answer(body))

    def _resolved(self, functional_id: str) -> dict[str, str]:
        if functional_id in self.people:
            return {"functionalId": functional_id, "individualId": self.people[functional_id]}
        return {"functionalId": functional_id, "error": "unknown"}

    def _records(self, body: Any) -> list[dict[str, str]]:
        assert body["dataAgreementId"] == "DA-CT01-VERIFY"
        given = {each: self.opted_in[each] for each in body["individualIds"] if each in self.opted_in}
        return [{"individualId": k, "consentRecordId": v, "revisionId": "rev-" + v} for k, v in given.items()]


@dataclass
class Registry:
    """A served registry, called as its administrator or as a subsystem through its gateway."""

    url: str
    config: Config

    def call(
        self, method: str, path: str, body: Any = None, client: str | None = None, **more: Any
    ) -> requests.Response:
        """Call as the steward, or as ``client`` through the gateway."""
        headers = as_client(self.config, client) if client else as_steward(self.config)
        headers |= more.pop("headers", {})
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=20, **more)

    def read(self, content: Any, client: str | None = WELFARE) -> requests.Response:
        """Read from population."""
        return self.call("POST", "/data/population/1/read", {"query": {"content": content}}, client)

    def exists(self, content: Any, client: str | None = WELFARE) -> requests.Response:
        """Ask population a yes/no question."""
        return self.call("POST", "/data/population/1/exists", {"query": {"content": content}}, client)

    def create(self, content: Any, client: str | None = None, **more: Any) -> requests.Response:
        """Create in population."""
        return self.call("POST", "/data/population/1/create", {"write": {"content": content}}, client, **more)

    def usage(self, user_id: str, client: str | None = None) -> list[dict[str, Any]]:
        """Return the personal data usage of one person, [] if nobody read anything."""
        path = "/data/mypersonalDataUsage"
        answer = self.call("GET", path, client=client, params={"userId": user_id, "databaseId": "population"})
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else []

    def export(self) -> list[dict[str, Any]]:
        """Return the whole population registry as control exports it."""
        answer = self.call("GET", "/-/export/population")
        assert answer.status_code == 200
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture
def neighbours() -> Iterator[Neighbours]:
    """Identity and consent, served."""
    found = Neighbours()
    server = make_server("127.0.0.1", 0, found.app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def registry(tmp_path: Path, neighbours: Neighbours) -> Iterator[Registry]:
    """The Civil Registration Authority's registry, with the schema of ``population`` published and three persons kept."""
    config = config_for_tests(
        Config, tmp_path, name="civil-registry", member="GOV/CIVIL", subsystem="REGISTRY", gateway_url=neighbours.url,
        registries="population,births", identity=IDENTITY, consent=CONSENT, rights=RIGHTS, ask_timeout=5.0,
    )  # fmt: skip
    with served(create_app(config)) as url:
        found = Registry(url, config)
        published = found.call("POST", "/database/modify", {"code": "population", "schema": PERSONS})
        assert published.status_code == 200, published.text
        household = {"id": "HH-1", "members": [{"nationalId": PEOPLE[AMINA]}]}
        entries = [
            person("P-1", "Amina", "Okoro", PEOPLE[AMINA], hectares=2.5, household=household, pin="1234", children=3),
            person("P-2", "Boris", "Adler", PEOPLE[BORIS], hectares=-0.5, district="South", languages=["qaa", "fr"]),
            person("P-3", "Chipo", "Okoro-Banda", PEOPLE[CHIPO], alive=False, birthDate="1951-03-04"),
        ]
        body = {"write": [{"content": each} for each in entries]}
        created = found.call("POST", "/data/population/1/createEntries", body)
        assert created.status_code == 201, created.text
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind that the store promises to work on."""
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path}/store.db")
        yield found
        found.close()
        return
    admin = environment_url("SANDROAD_TEST_POSTGRESQL")
    if admin is None:
        pytest.skip("SANDROAD_TEST_POSTGRESQL names no PostgreSQL server; scripts/test starts one")
    with fresh_postgresql_database(admin) as url:
        found = Database(url)
        yield found
        found.close()
