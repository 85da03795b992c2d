"""A running sandbox seen by its steward: where everything is, and the management APIs, with the tokens of the data directory."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests


class SandboxError(Exception):
    """The sandbox is not there, or one of its processes did not do what the steward asked; the text says what to do."""


@dataclass(frozen=True)
class Running:
    """One process of a running sandbox, as ``sandbox.json`` lists it."""

    name: str
    member: str
    kind: str
    url: str
    public_url: str
    management_url: str
    health_url: str
    managed: bool = True


class Steward:
    """Calls one process's management API (``get("/-/ledger")``, or any operation of its contract as its local administrator)."""

    def __init__(self, name: str, url: str, token: str) -> None:
        self.name = name
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"}
        self._session = requests.Session()
        self._session.trust_env = False

    def request(
        self, method: str, path: str, body: Any = None, *, timeout: float = 60.0, **more: Any
    ) -> requests.Response:
        """Send a request and return the response whatever its status; raise ``SandboxError`` if nobody answers."""
        try:
            return self._session.request(
                method, self.url + path, json=body, headers=self.headers, timeout=timeout, **more
            )
        except requests.RequestException as defect:
            raise SandboxError(f"{self.name} does not answer at {self.url}: {type(defect).__name__}") from defect

    def get(self, path: str, **more: Any) -> Any:
        """GET and return the parsed body; raise ``SandboxError`` unless 2xx."""
        return self._parsed("GET", path, self.request("GET", path, **more))

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        """POST a JSON body and return the parsed body."""
        return self._parsed("POST", path, self.request("POST", path, body, **more))

    def put(self, path: str, body: Any = None, **more: Any) -> Any:
        """PUT a JSON body and return the parsed body."""
        return self._parsed("PUT", path, self.request("PUT", path, body, **more))

    def patch(self, path: str, body: Any = None, **more: Any) -> Any:
        """PATCH a JSON body and return the parsed body."""
        return self._parsed("PATCH", path, self.request("PATCH", path, body, **more))

    def delete(self, path: str, body: Any = None, **more: Any) -> Any:
        """DELETE and return the parsed body."""
        return self._parsed("DELETE", path, self.request("DELETE", path, body, **more))

    def lines(self, path: str) -> Iterator[dict[str, Any]]:
        """GET an NDJSON dataset and yield its objects."""
        response = self.request("GET", path, stream=True)
        if response.status_code != 200:
            self._parsed("GET", path, response)
        for line in response.iter_lines():
            if line:
                yield json.loads(line)

    def _parsed(self, method: str, path: str, response: requests.Response) -> Any:
        try:
            parsed = response.json() if response.content else None
        except ValueError:
            parsed = response.text
        if not response.ok:
            said = (
                parsed.get("detail") or parsed.get("title") or parsed.get("message")
                if isinstance(parsed, dict)
                else parsed
            )
            raise SandboxError(f"{self.name} refused {method} {path}: {response.status_code} {str(said)[:300]}")
        return parsed


class Sandbox:
    """The sandbox whose data directory is ``data``."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.description = described(data)
        self.instance: str = self.description["instance"]
        self.processes = [Running(**_known(entry)) for entry in self.description["processes"]]
        self._tokens: dict[str, str] = _tokens(data)
        self._stewards: dict[str, Steward] = {}

    @property
    def evidence_folder(self) -> Path:
        """Where exported evidence is kept."""
        return self.data / "evidence"

    @property
    def country(self) -> Path:
        """The folder of the country that is played."""
        return Path(self.description["country"])

    def process(self, name: str) -> Running:
        """Return a process by its name; raise ``SandboxError`` that lists the names."""
        for process in self.processes:
            if process.name == name:
                return process
        raise SandboxError(f"no process {name!r} here; there are: {', '.join(p.name for p in self.processes)}")

    def gateways(self) -> list[Running]:
        """Return the gateways."""
        return [process for process in self.processes if process.kind == "gateway"]

    def gateway_of(self, member: str) -> Running:
        """Return a member's gateway (``GOV/CIVIL``)."""
        found = next((g for g in self.gateways() if g.member == member.removeprefix(f"{self.instance}/")), None)
        if found is None:
            raise SandboxError(f"no member {member!r} here; there are: {', '.join(g.member for g in self.gateways())}")
        return found

    def steward(self, name: str) -> Steward:
        """Return the steward's access to a process."""
        if name not in self._stewards:
            process = self.process(name)
            if name not in self._tokens:
                raise SandboxError(f"{self.data / 'steward' / 'tokens.json'} has no token for {name}")
            self._stewards[name] = Steward(name, process.management_url, self._tokens[name])
        return self._stewards[name]


def _known(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in Running.__dataclass_fields__ if key in entry}


def described(data: Path) -> dict[str, Any]:
    """Return what ``sandbox.json`` says; raise ``SandboxError`` if it is not there or says nothing."""
    path = data / "sandbox.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(described, dict) or not {"instance", "processes", "country", "transport"} <= described.keys():
            raise ValueError("it does not describe a sandbox")
        return described
    except FileNotFoundError as defect:
        raise SandboxError(
            f"no sandbox in {data}: start one with `sandroad up` (or name another with --data)"
        ) from defect
    except ValueError as defect:
        raise SandboxError(
            f"{path} is not readable: {defect}; move it away, and `sandroad up` writes it anew"
        ) from defect


def _tokens(data: Path) -> dict[str, str]:
    path = data / "steward" / "tokens.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except PermissionError as defect:
        raise SandboxError(f"{path} belongs to the steward; run this as the user who started the sandbox") from defect
    except (FileNotFoundError, ValueError) as defect:
        raise SandboxError(f"{path} is missing or not readable; `sandroad up` writes it") from defect
