"""`status`, `logs`, `country`: looking at a sandbox and at a country."""

import json
import time
from pathlib import Path
from typing import Any

import click
import psutil
import requests

from sandroad.cli.options import data_option
from sandroad.running.client import Sandbox, SandboxError
from sandroad.running.embedded import ROOT
from sandroad.running.settle import health, on_all


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(data: Path, as_json: bool) -> None:
    """Show every process: where it is, whether it is healthy, how much memory it takes."""
    found = sandbox_status(Sandbox(data))
    if as_json:
        return click.echo(json.dumps(found, indent=1))
    click.echo(f"{found['instance']} · transport {found['transport']} · ready in {found['ready_seconds']} s")
    for process in found["processes"]:
        mark = click.style("ok", fg="green") if process["healthy"] else click.style("down", fg="red")
        memory = f"{process['pss_mb']:6.1f} MB" if process["pss_mb"] is not None else ""
        click.echo(
            f"  {mark:<13} {process['name']:<20} {process['member']:<20} {process['url']:<28} {memory} {process['said']}"
        )
    total = sum(process["pss_mb"] or 0 for process in found["processes"])
    if total:
        click.echo(
            f"  memory of all processes with the supervisor: {total + (found['supervisor_pss_mb'] or 0):.0f} MB (PSS)"
        )


def sandbox_status(sandbox: Sandbox) -> dict[str, Any]:
    """Return what ``status --json`` prints."""
    pids = _read(sandbox.data / "pids.json")
    settled = _read(sandbox.data / "settled.json")
    with requests.Session() as session:
        session.trust_env = False
        said = on_all(sandbox.processes, lambda process: health(session, process))
    processes = []
    for process in sandbox.processes:
        pid = pids.get("processes", {}).get(process.name, {}).get("pid")
        processes.append(
            {
                "name": process.name,
                "member": process.member,
                "kind": process.kind,
                "url": process.url,
                "pid": pid,
                "healthy": said[process.name] == "ok",
                "pss_mb": pss_mb(pid),
                "said": "" if said[process.name] == "ok" else said[process.name],
            }
        )
    return {
        "instance": sandbox.instance,
        "transport": sandbox.description["transport"],
        "ready_seconds": settled.get("ready_seconds"),
        "supervisor_pss_mb": pss_mb(pids.get("supervisor")),
        "processes": processes,
    }


def pss_mb(pid: int | None) -> float | None:
    """Return a process's proportional share of memory in MB, None where it cannot be known."""
    if not pid:
        return None
    try:
        full = psutil.Process(pid).memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return round((getattr(full, "pss", 0) or full.rss) / 2**20, 1)


@click.command()
@data_option
@click.argument("name", required=False)
@click.option(
    "-n", "count", type=click.IntRange(1, 100_000), default=40, show_default=True, help="How many last lines."
)
@click.option("-f", "follow", is_flag=True, help="Go on showing new lines.")
def logs(data: Path, name: str | None, count: int, follow: bool) -> None:
    """Show the log of a process; without a name, list the logs."""
    folder = data / "logs"
    if name is None:
        for path in sorted(folder.glob("*.log")):
            click.echo(f"  {path.stem:<22} {path.stat().st_size:>9} bytes  {path}")
        return
    path = folder / f"{name}.log"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.log"))) or "none"
        raise SandboxError(f"no log of {name!r} in {folder}; there are: {known}")
    with path.open(encoding="utf-8", errors="replace") as log:
        for line in log.readlines()[-count:]:
            click.echo(line, nl=False)
        while follow:
            line = log.readline()
            if line:
                click.echo(line, nl=False)
            else:
                time.sleep(0.2)


@click.group()
def country() -> None:
    """Check a country's folder, and that the blocks of a running sandbox agree."""


@country.command()
@data_option
@click.option(
    "--country", "folder", type=click.Path(file_okay=False, path_type=Path), help="Only check this folder's files."
)
def check(data: Path, folder: Path | None) -> None:
    """Check the country's files, then that the running blocks agree with each other; name each disagreement."""
    from sandroad.country.agreement import disagreements
    from sandroad.country.files import check_files

    place = folder or (Sandbox(data).country if (data / "sandbox.json").exists() else ROOT / "country")
    check_files(place)
    click.echo(f"ok: the files in {place} are sound")
    if folder is not None:
        return
    found = 0
    for line in disagreements(Sandbox(data), click.echo):
        found += 1
        click.echo(f"  {line}")
    if found:
        raise SandboxError(f"{found} disagreements between the blocks")
    click.echo("ok: the blocks agree")


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


COMMANDS = (status, logs, country)
