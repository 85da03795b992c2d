"""The compose shape: a container per process, RabbitMQ, PostgreSQL, and a volume of its own for each.

``render`` writes ``docker-compose.yml`` from the topology. Inside, ``init`` makes every secret and every settings file, each into the
volume of the one service that reads it; ``provision`` makes users and databases; ``steward`` registers relying parties and brings the
data in, and is healthy when all is ready. No secret is in the file or in the image.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from sandroad.country.topology import Topology
from sandroad.running.embedded import ROOT, described
from sandroad.running.one import write_settings
from sandroad.running.plan import CENTRAL, Process, Shape, ports, processes
from sandroad.running.provision import Provision
from sandroad.running.secrets import Secrets, write_private

BASE_PORT = 18000
USER = 10001
STEWARD = Path("/steward")
VOLUMES = Path("/volumes")
ADMIN = Path("/admin")
DATA = Path("/data")
WITH_STEWARD = "usecase"
SERVERS = ("rabbitmq", "postgresql")
# Containers begin as root and give that up at once; nothing in them may take it back through a set-uid program.
CONFINED = ["no-new-privileges:true"]


class ComposeAddresses:
    """Services reach each other by name; a browser on this machine reaches them as ``NAME.localhost`` with the same port.

    The network knows ``NAME.localhost`` too, so an address that a browser and a container both use (an OpenID issuer) is one.
    """

    host = "0.0.0.0"

    def __init__(self, topology: Topology, provision: Provision) -> None:
        self._ports = ports(topology, BASE_PORT)
        self._provision = provision

    def port(self, name: str, role: str) -> int:
        return self._ports[name, role]

    def url(self, name: str, role: str) -> str:
        return f"http://{name}:{self._ports[name, role]}"

    def public_url(self, name: str) -> str:
        return f"http://{name}.localhost:{self._ports[name, 'main']}"

    def data(self, member: str, name: str) -> Path:
        return DATA

    def database(self, name: str) -> str:
        return self._provision.database_url(name)

    def broker(self, member: str) -> str:
        return self._provision.broker_url(member)

    def anchor(self) -> str:
        return ""


def render(topology: Topology) -> str:
    """Return the compose file for a topology."""
    own = ports(topology, BASE_PORT)
    names = _names(topology)
    usecases = {app.name for _, app in topology.apps() if app.kind == WITH_STEWARD}
    services: dict[str, Any] = {
        "rabbitmq": _rabbitmq(),
        "postgresql": _postgresql(),
        "init": _init(names),
        "provision": _provision(),
    }
    for name in names:
        services[name] = _service(name, own[name, "main"], with_steward=name in usecases)
    services["steward"] = _steward(names)
    volumes = [*(f"admin-{server}" for server in SERVERS), "steward", *SERVERS, *names]
    document = {
        "name": "sandroad",
        "services": services,
        "networks": {"sandroad": None},
        "volumes": dict.fromkeys(volumes),
    }
    head = (
        "# Made by `sandroad compose` from country/topology.yaml; a test keeps it so.\n"
        "# RabbitMQ, PostgreSQL with a database per app, one image, a container per app. `init` makes every secret at\n"
        "# the first start, each into the volume of the one service that needs it: none stands here or in the image.\n"
        "#   docker compose up --wait\n"
        "#   docker compose exec cash-transfer sandroad demo cash-transfer\n"
    )
    return head + yaml.safe_dump(document, sort_keys=False, width=140)


def initialise(volumes: Path = VOLUMES, steward: Path = STEWARD, admin: Path = ADMIN) -> None:
    """Make what is missing: the administrators' passwords, all secrets, one settings file per service in its own volume."""
    topology = Topology.read(ROOT / "country")
    secrets = Secrets(steward / "steward")
    for server in SERVERS:
        write_private(admin / server / "password", secrets.password(f"admin/{server}"))
    plan = _plan(topology, secrets)
    secrets.save()
    for process in plan:
        if process.managed:
            folder = volumes / process.name
            write_settings(folder / "settings.json", process)
            _give(folder)
    description = {
        "instance": topology.instance,
        "currency": topology.currency,
        "shape": "compose",
        "transport": "amqp",
        "country": str(ROOT / "country"),
        "processes": [described(process) for process in plan],
    }
    write_private(steward / "sandbox.json", json.dumps(description, indent=1))


def provision(steward: Path = STEWARD) -> None:
    """Make the broker's users and the databases."""
    secrets = Secrets(steward / "steward")
    _provisioned(secrets).make(Topology.read(ROOT / "country"), secrets)
    secrets.save()


def _plan(topology: Topology, secrets: Secrets) -> list[Process]:
    provision = _provisioned(secrets)
    provision.use(secrets)
    lab = os.environ.get("SANDROAD_LAB", "true").lower() != "false"
    shape = Shape("amqp", ROOT / "contracts", ROOT / "country", lab)
    return processes(topology, ComposeAddresses(topology, provision), secrets, shape)


def _provisioned(secrets: Secrets) -> Provision:
    rabbitmq, postgresql = (quote(secrets.password(f"admin/{server}")) for server in SERVERS)
    return Provision(
        f"amqp://admin:{rabbitmq}@rabbitmq:5672/", f"postgresql://postgres:{postgresql}@postgresql:5432/postgres", DATA
    )


def _give(folder: Path) -> None:
    """Hand a volume to the user that its service runs as."""
    for path in [folder, *folder.rglob("*")]:
        shutil.chown(path, USER, USER)
    folder.chmod(0o700)


def _names(topology: Topology) -> list[str]:
    return [CENTRAL, *(m.gateway for m in topology.members), *(a.name for _, a in topology.apps() if a.managed)]


def _rabbitmq() -> dict[str, Any]:
    start = "RABBITMQ_DEFAULT_USER=admin RABBITMQ_DEFAULT_PASS=$$(cat /admin/password) exec docker-entrypoint.sh rabbitmq-server"
    return {
        "image": "rabbitmq:4-management",
        "hostname": "rabbitmq",
        "entrypoint": ["sh", "-c", start],
        "volumes": ["rabbitmq:/var/lib/rabbitmq", "admin-rabbitmq:/admin:ro"],
        "networks": ["sandroad"],
        "depends_on": _after("init"),
        "healthcheck": _check(
            "rabbitmq-diagnostics -q check_port_connectivity", start="60s", every="5s", timeout="20s"
        ),
        "restart": "unless-stopped",
    }


def _postgresql() -> dict[str, Any]:
    start = "POSTGRES_PASSWORD=$$(cat /admin/password) exec docker-entrypoint.sh postgres -c max_connections=400"
    return {
        "image": "postgres:17",
        "entrypoint": ["sh", "-c", start],
        "volumes": ["postgresql:/var/lib/postgresql/data", "admin-postgresql:/admin:ro"],
        "networks": ["sandroad"],
        "depends_on": _after("init"),
        "healthcheck": _check("pg_isready -q -h 127.0.0.1 -U postgres", start="60s", every="2s"),
        "restart": "unless-stopped",
    }


def _init(names: list[str]) -> dict[str, Any]:
    servers = (f"admin-{server}:{ADMIN}/{server}" for server in SERVERS)
    volumes = [*servers, "steward:/steward", *(f"{name}:{VOLUMES}/{name}" for name in names)]
    return {
        "build": ".",
        "image": "sandroad:local",
        "command": ["sandroad", "compose-init"],
        "security_opt": [*CONFINED],
        "environment": {"SANDROAD_LAB": "${SANDROAD_LAB:-true}"},
        "volumes": volumes,
        "network_mode": "none",
    }


def _provision() -> dict[str, Any]:
    return {
        "image": "sandroad:local",
        "command": ["sandroad", "compose-provision"],
        "security_opt": [*CONFINED],
        "volumes": ["steward:/steward"],
        "networks": ["sandroad"],
        "depends_on": {
            **_after("init"),
            "rabbitmq": {"condition": "service_healthy"},
            "postgresql": {"condition": "service_healthy"},
        },
    }


def _service(name: str, port: int, *, with_steward: bool) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": "sandroad:local",
        "command": ["run-as-sandroad", "sandroad", "serve", f"{DATA}/settings.json"],
        "security_opt": [*CONFINED],
        "volumes": [f"{name}:{DATA}"],
        "networks": {"sandroad": {"aliases": [f"{name}.localhost"]}},
        "ports": [f"127.0.0.1:{port}:{port}"],
        "depends_on": _after("provision"),
        "healthcheck": _check("healthy", start="60s", every="15s"),
        "restart": "unless-stopped",
        "init": True,
    }
    if with_steward:
        # For `docker compose exec`, which is root; the app itself runs as a user who cannot read the steward's files.
        service["volumes"].append(f"steward:{STEWARD}")
        service["environment"] = {"SANDROAD_DATA": str(STEWARD)}
    return service


def _steward(names: list[str]) -> dict[str, Any]:
    return {
        "image": "sandroad:local",
        "command": ["sandroad", "compose-steward"],
        "security_opt": [*CONFINED],
        "environment": {"SANDROAD_DATA": str(STEWARD), "SANDROAD_POPULATION": "${SANDROAD_POPULATION:-2000}"},
        "volumes": [f"steward:{STEWARD}"],
        "networks": ["sandroad"],
        "depends_on": {name: {"condition": "service_started"} for name in names},
        "healthcheck": _check(f"grep -q '\"ok\": true' {STEWARD}/settled.json", start="180s", every="2s"),
        "restart": "unless-stopped",
        "init": True,
    }


def _after(service: str) -> dict[str, Any]:
    return {service: {"condition": "service_completed_successfully"}}


def _check(command: str, *, start: str, every: str, timeout: str = "10s") -> dict[str, Any]:
    return {"test": ["CMD-SHELL", command], "interval": every, "timeout": timeout, "retries": 12, "start_period": start}
