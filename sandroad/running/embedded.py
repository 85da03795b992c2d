"""The embedded sandbox's files and addresses: everything on loopback, one folder per process below the data directory."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandroad.country.topology import Topology
from sandroad.running.one import write_settings
from sandroad.running.plan import CENTRAL, Process, Shape, ports, processes
from sandroad.running.provision import Provision
from sandroad.running.secrets import Secrets, private_folder, write_private

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Options:
    """What `sandroad up` was asked for. Kept in ``sandbox.json``, so that the next `up` needs no options."""

    data: Path
    country: Path
    base_port: int = 18000
    population: int = 2000
    amqp: str = ""
    database: str = ""
    lab: bool = True


class EmbeddedAddresses:
    """Ports from the base port on, data below the data directory, SQLite unless a server was named."""

    host = HOST

    def __init__(self, options: Options, topology: Topology, provision: Provision) -> None:
        self._data = options.data
        self._ports = ports(topology, options.base_port)
        self._members = {m.gateway: m.id for m in topology.members} | {a.name: m.id for m, a in topology.apps()}
        self._provision = provision

    def port(self, name: str, role: str) -> int:
        return self._ports[name, role]

    def url(self, name: str, role: str) -> str:
        return f"http://{HOST}:{self._ports[name, role]}"

    def public_url(self, name: str) -> str:
        return self.url(name, "main")

    def data(self, member: str, name: str) -> Path:
        return process_folder(self._data, member, name)

    def database(self, name: str) -> str:
        if self._provision.has_database:
            return self._provision.database_url(name)
        return f"sqlite:///{self.data(self._members.get(name, ''), name) / name}.db"

    def broker(self, member: str) -> str:
        return self._provision.broker_url(member)

    def anchor(self) -> str:
        return str(self._data / "anchor.json")


def process_folder(data: Path, member: str, name: str) -> Path:
    """Return a process's own folder."""
    return data / name if name == CENTRAL else data / "members" / member.replace("/", "-") / name


def prepare(options: Options, topology: Topology, provision: Provision) -> list[Process]:
    """Make or complete the data directory: secrets, one private settings file per process, ``sandbox.json``."""
    private_folder(options.data)
    secrets = Secrets(options.data / "steward")
    provision.make(topology, secrets)
    shape = Shape("amqp" if options.amqp else "direct", ROOT / "contracts", options.country, options.lab)
    plan = processes(topology, EmbeddedAddresses(options, topology, provision), secrets, shape)
    secrets.save()
    for process in plan:
        if process.managed:
            folder = process_folder(options.data, process.member, process.name)
            write_settings(folder / "settings.json", process)
    write_description(options.data, describe(options, topology, plan))
    return plan


def describe(options: Options, topology: Topology, plan: list[Process]) -> dict[str, Any]:
    """Return what ``sandbox.json`` says: where everything is, and no secret."""
    kept = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}
    kept |= {"amqp": bool(options.amqp), "database": bool(options.database)}
    return {
        "instance": topology.instance,
        "currency": topology.currency,
        "shape": "embedded",
        "transport": "amqp" if options.amqp else "direct",
        "country": str(options.country),
        "options": kept,
        "processes": [described(process) for process in plan],
    }


def described(process: Process) -> dict[str, Any]:
    """Return what the command line knows of a process."""
    return {
        "name": process.name,
        "member": process.member,
        "kind": process.kind,
        "url": process.url,
        "public_url": process.public_url,
        "management_url": process.management_url,
        "health_url": process.health_url,
        "managed": process.managed,
    }


def write_description(data: Path, description: dict[str, Any]) -> None:
    """Write ``sandbox.json`` whole."""
    write_private(data / "sandbox.json", json.dumps(description, indent=1))
