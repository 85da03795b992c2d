"""Whether every app would take what the topology tells it: its settings, and the services that they name.

The app's own ``Config`` is asked, found by the convention that a package has it in its module ``config``; what an app reads from the
country's folder, such as a programme, its ``Config.check()`` reads.
"""

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sandroad.country.documents import CountryError, Document
from sandroad.country.topology import App, Topology
from sandroad.running.embedded import ROOT, EmbeddedAddresses, Options
from sandroad.running.plan import Process, Shape, TooManyProcesses, processes
from sandroad.running.provision import Provision
from sandroad.running.secrets import Secrets
from sandroad.settings import PREFIX, AppConfig, SettingsError, read_config

NOWHERE = Path("/nonexistent")
IDENTIFIER = re.compile(r"([A-Za-z0-9-]{1,20})/([A-Z]{2,8}/[^/\s]+/[^/\s]+(?:/[^/\s]+)?)")


def check_settings(topology: Topology) -> None:
    """Raise ``CountryError`` for each setting that its app would refuse, and for each that names somebody who is not there."""
    document = Document(topology.folder / "topology.yaml")
    try:
        plan = {process.name: process for process in _plan(topology)}
    except TooManyProcesses as defect:
        raise CountryError([document.complaint(str(defect), "members")]) from defect
    known = {f"{m.id}/{s}" for m in topology.members for s in m.subsystems}
    known |= {f"{m.id}/{a.subsystem}/{code}" for m, a in topology.apps() for code in a.services}
    complaints: list[str] = []
    for i, member in enumerate(topology.members):
        for j, app in enumerate(member.apps):
            where = ("members", i, "apps", j)
            for what, place in _strangers(app.settings, topology.instance, known):
                complaints.append(document.complaint(what, *where, "settings", *place))
            if app.managed:
                complaints.extend(_refused(app, plan[app.name], document, where))
    if complaints:
        raise CountryError(complaints)


def _plan(topology: Topology) -> list[Process]:
    """Return the plan as it would be for a data directory that nobody has."""
    provision = Provision("", "", NOWHERE)
    addresses = EmbeddedAddresses(Options(NOWHERE, topology.folder), topology, provision)
    return processes(topology, addresses, Secrets(NOWHERE), Shape("direct", ROOT / "contracts", topology.folder))


def _strangers(value: Any, instance: str, known: set[str], *place: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield each X-Road identifier in a setting that is of another instance or of nobody here, and its place."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _strangers(key, instance, known, *place, key)
            yield from _strangers(each, instance, known, *place, key)
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from _strangers(each, instance, known, *place, i)
    elif isinstance(value, str) and (found := IDENTIFIER.fullmatch(value)):
        if found[1] != instance:
            yield f"{value} is of the instance {found[1]}, this country's is {instance}", place
        elif found[2] not in known:
            near = sorted(each for each in known if each.rsplit("/", 1)[0] == found[2].rsplit("/", 1)[0])
            yield f"there is no {found[2]}; near it: {', '.join(near) or 'none'}", place


def _refused(app: App, process: Process, document: Document, where: tuple[Any, ...]) -> Iterator[str]:
    """Yield what the app's own ``Config`` says against its settings."""
    if importlib.util.find_spec(f"{app.package}.config") is None:
        return
    kind = getattr(importlib.import_module(f"{app.package}.config"), "Config", None)
    if not (isinstance(kind, type) and issubclass(kind, AppConfig)):
        return
    try:
        read_config(kind, process.settings).check()
    except SettingsError as defect:
        named = re.match(rf"{PREFIX}([A-Z0-9_]+)", str(defect))
        setting = named[1].lower() if named else ""
        key = next((key for key in ("settings", "uses") if setting in getattr(app, key)), "settings")
        yield document.complaint(f"{app.name}: {defect}", *where, key, setting)
    except CountryError as defect:
        yield from defect.complaints
