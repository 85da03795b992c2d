"""For tests: gateways as real processes, a real central, and a small real HTTP service behind the provider's gateway."""

import contextlib
import http.client
import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from gateway.app import run
from gateway.central.testing import CentralUnderTest, free_port, token_of

SECRET = "secret of the service"
TOKEN = "management token of the tests"
CLIENT = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
SERVICE = "SANDBOX/GOV/CIVIL/REGISTRY/registry"


@dataclass
class Seen:
    """One request as the service received it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for header, value in self.headers if header.lower() == name.lower()]


@dataclass
class Reply:
    """What the service is to answer."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("Content-Type", "text/plain")])
    body: bytes = b"done"
    reason: str = "OK"


class _QuietServer(ThreadingHTTPServer):
    """A server to which callers that are killed are nothing special."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


class ServiceUnderTest:
    """A real HTTP server that remembers what it was asked and answers what the test wants."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.answer: Callable[[Seen], Reply] = lambda _seen: Reply()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(1 << 16)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen = Seen(self.command, self.path, list(self.headers.items()), body)
                service.seen.append(seen)
                reply = service.answer(seen)
                self.send_response_only(reply.status, reply.reason)
                for name, value in reply.headers:
                    self.send_header(name, value)
                if reply.status not in (204, 304):
                    self.send_header("Content-Length", str(len(reply.body)))
                with contextlib.suppress(OSError):
                    self.end_headers()
                    if self.command != "HEAD" and reply.status not in (204, 304):
                        self.wfile.write(reply.body)
                    self.wfile.flush()

        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _run(settings: dict[str, Any], output: str, prepare: Callable[[], None] | None) -> None:
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.basicConfig(level=logging.INFO)
    if prepare is not None:
        prepare()
    run(settings)


def _context() -> Any:
    """Fork from a clean process that has imported everything: this one has threads, and perhaps locks held by them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gateway.testing"])
    return context


@dataclass
class GatewayUnderTest:
    """A gateway in a process of its own, with its settings; it can be killed and started again."""

    settings: dict[str, Any]
    folder: Path
    process: Any = None

    @property
    def url(self) -> str:
        """The consumer side."""
        return f"http://127.0.0.1:{self.settings['SANDROAD_PORT']}"

    @property
    def management(self) -> str:
        """The steward's side."""
        return f"http://127.0.0.1:{self.settings['SANDROAD_MANAGEMENT_PORT']}"

    @property
    def peer_address(self) -> str:
        """Where other gateways call."""
        return str(self.settings["SANDROAD_PEER_ADDRESS"])

    @property
    def output(self) -> str:
        """What the process has logged."""
        return (self.folder / "gateway.log").read_text()

    def start(self, prepare: Callable[[], None] | None = None) -> None:
        """Start the process; ``prepare`` runs in it first (to plant a death between two lines)."""
        output = str(self.folder / "gateway.log")
        self.process = _context().Process(target=_run, args=(self.settings, output, prepare), daemon=True)
        self.process.start()

    def restart(self) -> None:
        """Start again after a death, and wait until it is healthy."""
        self.process.join(20)
        assert not self.process.is_alive(), "the gateway was to be dead by now"
        self.start()
        self.wait_until_healthy()

    def wait_until_healthy(self, seconds: float = 20.0) -> None:
        """Return when the gateway says that it is healthy."""
        end = time.monotonic() + seconds
        said = ""
        while time.monotonic() < end:
            with contextlib.suppress(requests.RequestException):
                answer = requests.get(f"{self.management}/-/health", timeout=5)
                said = answer.text
                if answer.status_code == 200:
                    return
            assert self.process.is_alive(), self.output
            time.sleep(0.02)
        raise AssertionError(f"not healthy after {seconds} s: {said}\n{self.output}")

    def kill(self) -> None:
        """SIGKILL: no handler of the process runs."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(10)

    def stop(self) -> None:
        """SIGTERM, and wait for the orderly end."""
        if self.process is not None and self.process.is_alive():
            self.process.terminate()
            self.process.join(30)
            if self.process.is_alive():
                self.kill()
                raise AssertionError(f"the gateway did not stop\n{self.output}")

    def steward(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Call the management API."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return requests.request(method, self.management + path, json=body, headers=headers, timeout=30)

    def records(self) -> list[dict[str, Any]]:
        """Return the operational records."""
        records: list[dict[str, Any]] = self.steward("GET", "/-/records").json()["records"]
        return records

    def logged(self) -> int:
        """Return how many messages are in the log, whose chain must hold."""
        said = self.steward("GET", "/-/log").json()
        assert said["holds"], said
        return int(said["records"])

    def call(
        self,
        method: str = "POST",
        path: str = "/data/x",
        *,
        body: bytes = b"",
        headers: list[tuple[str, str]] | None = None,
        service: str = SERVICE,
        client: str | None = CLIENT,
        timeout: float = 70,
    ) -> "Answered":
        """Call a service through this gateway with exactly these bytes."""
        return raw_call(
            self.url, method, f"/r1/{service}{path}", body=body, headers=headers, client=client, timeout=timeout
        )


@dataclass
class Answered:
    """An HTTP answer with its headers in order."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for header, value in self.headers if header.lower() == name.lower()]

    @property
    def error(self) -> str:
        """The gateway's error type, empty if the service answered."""
        return "".join(self.values("x-road-error"))

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document


def raw_call(
    url: str,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    headers: list[tuple[str, str]] | None = None,
    client: str | None = CLIENT,
    timeout: float = 70,
) -> Answered:
    """Send an HTTP request whose target and headers no library touches."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        if client is not None:
            connection.putheader("X-Road-Client", client)
        for name, value in headers or []:
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return Answered(answer.status, answer.reason, answer.getheaders(), answer.read())
    finally:
        connection.close()


def settings_of(name: str, member: str, central: CentralUnderTest, folder: Path, **changed: Any) -> dict[str, Any]:
    """Return the settings of a gateway under test."""
    peer = free_port()
    values: dict[str, Any] = {
        "name": name,
        "member": member,
        "subsystems": ["REGISTRY", "IDENTITY"] if member == "GOV/CIVIL" else ["CASH-TRANSFER"],
        "port": free_port(),
        "peer_port": peer,
        "peer_address": f"http://127.0.0.1:{peer}",
        "management_port": free_port(),
        "management_token": TOKEN,
        "database": f"sqlite:///{folder}/gateway.db",
        "data": str(folder),
        "central_url": central.url,
        "enrolment_token": token_of(name),
    }
    return {f"SANDROAD_{key.upper()}": value for key, value in (values | changed).items()}


@contextlib.contextmanager
def gateway_under_test(
    name: str, member: str, central: CentralUnderTest, folder: Path, **changed: Any
) -> Iterator[GatewayUnderTest]:
    """Run a gateway until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    gateway = GatewayUnderTest(settings_of(name, member, central, folder, **changed), folder)
    gateway.start()
    try:
        gateway.wait_until_healthy()
        yield gateway
    finally:
        gateway.stop()
