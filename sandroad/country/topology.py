"""The topology of a country: members, what they run, and who may call what; checked for what a schema cannot see."""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandroad.country.documents import CountryError, Document

NAME = {
    "type": "string",
    "pattern": "^[a-z][a-z0-9-]{1,38}$",
    "description": "the name of a process is 2 to 39 small letters, digits and dashes, a letter first, such as civil-registry",
}
MEMBER_ID = {
    "type": "string",
    "pattern": "^[A-Z]{2,8}/[A-Za-z0-9'()+,=?-]{1,40}$",
    "description": "a member's id is CLASS/CODE such as GOV/CIVIL; no dot in it, which separates the parts of a queue's name",
}
CODE = {
    "type": "string",
    "pattern": "^[A-Za-z0-9'()+,.=?-]{1,40}$",
    "description": "a code is 1 to 40 letters, digits and '()+,.=?- such as CASH-TRANSFER",
}
URL = {
    "type": "string",
    "pattern": r"^https?://[^/\s?#]+(/[^\s?#]*)?$",
    "description": "an address is http://host:port or https://host/path",
}
SETTING = {
    "pattern": "^[a-z][a-z0-9_]{0,60}$",
    "description": "a setting's name is small letters, digits and underscores: paying_bank is told to the app as SANDROAD_PAYING_BANK",
}
# What the plan says to every app; a country's `settings` are what comes on top.
GIVEN = frozenset(
    [
        *("name", "instance", "member", "subsystem", "host", "port", "public_url", "database", "gateway_url"),
        *("gateway_secret", "management_token", "contracts", "country", "data", "currency", "lab", "rights"),
    ]
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["instance", "members"],
    "additionalProperties": False,
    "properties": {
        "instance": {
            "type": "string",
            "pattern": "^[A-Za-z0-9-]{1,20}$",
            "description": "an instance is 1 to 20 letters, digits and dashes, such as SANDBOX",
        },
        "country": {
            "type": "string",
            "pattern": "^[A-Z]{2}$",
            "description": "a country is two capitals of ISO 3166-1, in quotes if YAML reads them as a word",
        },
        "currency": {
            "type": "string",
            "pattern": "^[A-Z]{3}$",
            "description": "a currency is three capitals of ISO 4217",
        },
        "seed": {"type": "integer"},
        "members": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/member"}},
        "rights": {"type": "array", "items": {"$ref": "#/$defs/right"}},
    },
    "$defs": {
        "member": {
            "type": "object",
            "required": ["id", "name", "gateway", "subsystems"],
            "additionalProperties": False,
            "properties": {
                "id": MEMBER_ID,
                "name": {"type": "string", "minLength": 1},
                "gateway": NAME,
                "subsystems": {"type": "array", "minItems": 1, "uniqueItems": True, "items": CODE},
                "apps": {"type": "array", "items": {"$ref": "#/$defs/app"}},
            },
        },
        "app": {
            "type": "object",
            "required": ["name", "kind", "subsystem"],
            "additionalProperties": False,
            "properties": {
                "name": NAME,
                "kind": {"enum": ["block", "usecase"]},
                "package": {
                    "type": "string",
                    "pattern": r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$",
                    "description": "a package is a Python package that has a module `app`, such as services.registry",
                },
                "subsystem": CODE,
                "services": {"type": "object", "additionalProperties": {"$ref": "#/$defs/service"}},
                "settings": {"type": "object", "propertyNames": SETTING},
                "uses": {"type": "object", "propertyNames": SETTING, "additionalProperties": NAME},
                "managed": {"type": "boolean"},
                "url": URL,
                "health": {
                    "type": "string",
                    "pattern": "^/",
                    "description": "`health` is a path below `url`, such as /health",
                },
                "issuer": URL,
            },
        },
        "service": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "contract": {"type": "string"},
                "timeout": {"type": "number", "exclusiveMinimum": 0},
                "idempotent": {"type": "boolean"},
                "log": {"enum": ["full", "metadata"]},
                "concurrency": {"type": "integer", "minimum": 1},
            },
        },
        "right": {
            "type": "object",
            "required": ["subject", "service", "allow"],
            "additionalProperties": False,
            "properties": {
                "subject": {"type": "string"},
                "service": {"type": "string"},
                "allow": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "string",
                        "pattern": r"^(\*\*|([A-Z]+|\*) /\S*)$",
                        "description": "what is allowed is `METHOD /path`, `* /path/**` or `**`",
                    },
                },
                "data_agreement": {"type": "string"},
                "programme": {"type": "string"},
                "fields": {"type": "array", "items": {"type": "string"}},
            },
        },
    },
}


@dataclass(frozen=True)
class App:
    """A system behind a gateway. ``managed`` is false for a product that somebody else runs at ``url``."""

    name: str
    kind: str
    package: str
    subsystem: str
    services: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    uses: Mapping[str, str]
    managed: bool = True
    url: str = ""
    health: str = ""
    issuer: str = ""


@dataclass(frozen=True)
class Member:
    """An organisation: ``id`` is ``GOV/CIVIL``."""

    id: str
    name: str
    gateway: str
    subsystems: tuple[str, ...]
    apps: tuple[App, ...]


@dataclass(frozen=True)
class Topology:
    """Who is on the network."""

    folder: Path
    instance: str
    country: str
    currency: str
    seed: int
    members: tuple[Member, ...]
    rights: tuple[Mapping[str, Any], ...] = field(default=())

    @classmethod
    def read(cls, folder: Path) -> "Topology":
        """Read and check ``topology.yaml`` of a country; raise ``CountryError`` naming file and line of each defect."""
        document = Document(folder / "topology.yaml")
        document.check(SCHEMA)
        data = document.data
        topology = cls(
            folder,
            data["instance"],
            data.get("country", "QZ"),
            data.get("currency", "XTS"),
            data.get("seed", 1),
            tuple(_member(entry) for entry in data["members"]),
            tuple(data.get("rights", ())),
        )
        complaints = [*_complaints(topology, document)]
        if complaints:
            raise CountryError(complaints)
        return topology

    def apps(self) -> Iterator[tuple[Member, App]]:
        """Yield every system with its member."""
        for member in self.members:
            for app in member.apps:
                yield member, app

    def rights_on(self, member: Member, subsystem: str) -> list[Mapping[str, Any]]:
        """Return the access rights on a subsystem's services."""
        prefix = f"{member.id}/{subsystem}/"
        return [right for right in self.rights if right["service"].startswith(prefix)]


def _member(entry: Mapping[str, Any]) -> Member:
    apps = tuple(
        App(
            app["name"],
            app["kind"],
            app.get("package", ""),
            app["subsystem"],
            app.get("services", {}),
            app.get("settings", {}),
            app.get("uses", {}),
            app.get("managed", True),
            app.get("url", ""),
            app.get("health", ""),
            app.get("issuer", ""),
        )
        for app in entry.get("apps", ())
    )
    return Member(entry["id"], entry["name"], entry["gateway"], tuple(entry["subsystems"]), apps)


def _complaints(topology: Topology, document: Document) -> Iterator[str]:
    yield from _names(topology, document)
    known = {app.name for _, app in topology.apps()}
    for i, member in enumerate(topology.members):
        for j, app in enumerate(member.apps):
            where = ("members", i, "apps", j)
            if app.subsystem not in member.subsystems:
                yield document.complaint(f"{member.id} has no subsystem {app.subsystem}", *where, "subsystem")
            if app.managed and not app.package:
                yield document.complaint(f"{app.name} needs `package`, or `managed: false` and `url`", *where)
            if not app.managed and not app.url:
                yield document.complaint(f"{app.name} is not managed here, so it needs its `url`", *where)
            if app.package and not _has_app(app.package):
                yield document.complaint(f"there is no Python module {app.package}.app", *where, "package")
            for key in ("settings", "uses"):
                for setting in GIVEN & getattr(app, key).keys():
                    yield document.complaint(
                        f"{setting} is told to every app and cannot be set here", *where, key, setting
                    )
            for setting in app.settings.keys() & app.uses.keys():
                yield document.complaint(f"{setting} stands in `settings` and in `uses`", *where, "uses", setting)
            for setting, used in app.uses.items():
                if used not in known:
                    yield document.complaint(f"{app.name} uses {used}, which nobody runs", *where, "uses", setting)
    yield from _rights(topology, document)


def _has_app(package: str) -> bool:
    try:
        return importlib.util.find_spec(f"{package}.app") is not None
    except ModuleNotFoundError:
        return False


def _names(topology: Topology, document: Document) -> Iterator[str]:
    seen = {"central"}
    members = set()
    for i, member in enumerate(topology.members):
        if member.id in members:
            yield document.complaint(f"member {member.id} appears twice", "members", i)
        members.add(member.id)
        for name, where in [
            (member.gateway, ("members", i, "gateway")),
            *((app.name, ("members", i, "apps", j, "name")) for j, app in enumerate(member.apps)),
        ]:
            if name in seen:
                yield document.complaint(f"the name {name} is taken already", *where)
            seen.add(name)
        offered: set[tuple[str, str]] = set()
        for j, app in enumerate(member.apps):
            for code in app.services:
                if (app.subsystem, code) in offered:
                    what = f"{member.id}/{app.subsystem}/{code} is offered already"
                    yield document.complaint(what, "members", i, "apps", j, "services", code)
                offered.add((app.subsystem, code))


def _rights(topology: Topology, document: Document) -> Iterator[str]:
    subsystems = {f"{m.id}/{s}" for m in topology.members for s in m.subsystems}
    services = {f"{m.id}/{a.subsystem}/{code}" for m, a in topology.apps() for code in a.services}
    for k, right in enumerate(topology.rights):
        if right["subject"] not in subsystems:
            yield document.complaint(f"no member has the subsystem {right['subject']}", "rights", k, "subject")
        if right["service"] not in services:
            near = ", ".join(sorted(s for s in services if s.startswith(right["service"].rsplit("/", 1)[0]))) or "none"
            yield document.complaint(f"there is no service {right['service']}; near it: {near}", "rights", k, "service")
        if ("data_agreement" in right) != ("fields" in right):
            yield document.complaint("a right with a data agreement names the fields too, and vice versa", "rights", k)
