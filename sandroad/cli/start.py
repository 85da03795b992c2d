"""`up`, `down`, `reset`, `doctor`: a sandbox's beginning and end."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import psutil

from sandroad.cli.options import data_option
from sandroad.country.files import check_files
from sandroad.country.topology import Topology
from sandroad.running.alone import alone
from sandroad.running.client import Sandbox, SandboxError, described
from sandroad.running.doctor import Finding, examine
from sandroad.running.embedded import ROOT, Options
from sandroad.running.orders import is_running, order
from sandroad.running.plan import CENTRAL, PORTS_PER_SANDBOX
from sandroad.running.provision import Provision
from sandroad.running.secrets import private_folder
from sandroad.running.settle import silent_others, wait_until_healthy


@click.command()
@data_option
@click.option("--foreground", is_flag=True, help="Stay in the foreground; end with Ctrl-C.")
@click.option("--country", type=click.Path(file_okay=False, path_type=Path), help="Play another country's folder.")
@click.option("--amqp", envvar="SANDROAD_AMQP", help="An administrator's URL of RabbitMQ: messages travel through it.")
@click.option("--database", envvar="SANDROAD_DATABASE", help="An administrator's URL of PostgreSQL instead of SQLite.")
@click.option("--population", type=click.IntRange(50, 100_000), help="Persons in the country.  [default: 2000]")
@click.option(
    "--base-port", type=click.IntRange(1024, 65_400), help="First of the sandbox's 100 ports.  [default: 18000]"
)
def up(data: Path, foreground: bool, **asked: Any) -> None:
    """Start the sandbox; returns when all is healthy."""
    if is_running(data.resolve()):
        _refuse_other_options(data.resolve(), asked)
        return _start_missing(data.resolve())
    options = _options(data, asked)
    check_files(options.country)
    if options.data.exists():
        with alone(options.data):
            pass  # what is left of a killed sandbox has ended now
    _refuse_unless_ready(options)
    supervisor = _start(options, foreground=foreground)
    if foreground:
        click.echo("running; end with Ctrl-C", err=True)
        raise SystemExit(_wait_for(supervisor))


@click.command()
@data_option
def down(data: Path) -> None:
    """Stop the sandbox; its data stays."""
    stop(data.resolve())
    click.echo("stopped")


def stop(data: Path) -> None:
    """Stop the supervisor and wait until it has gone."""
    supervisor = int(_read(data / "pids.json").get("supervisor", 0))
    order(data, "down")
    deadline = time.monotonic() + 60
    while supervisor and _is_alive(supervisor):
        if time.monotonic() > deadline:
            raise SandboxError(f"the supervisor did not end within a minute; see {data / 'logs'}")
        time.sleep(0.05)
    (data / "pids.json").unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@click.command()
@data_option
@click.option("--amqp", envvar="SANDROAD_AMQP", help="As given to `up`, if it was.")
@click.option("--database", envvar="SANDROAD_DATABASE", help="As given to `up`, if it was.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(data: Path, amqp: str | None, database: str | None, yes: bool) -> None:
    """Empty all data, keep the keys, start again."""
    options = _options(data, {"amqp": amqp, "database": database})
    if not yes and sys.stdin.isatty():
        click.confirm(f"Empty the sandbox in {options.data}?", abort=True)
    if is_running(options.data):
        stop(options.data)
    check_files(options.country)
    with alone(options.data):
        empty(options, Topology.read(options.country))
    _start(options)


def empty(options: Options, topology: Topology) -> None:
    """Remove every database, log and piece of evidence but central's, which knows the certificates."""
    names = [m.gateway for m in topology.members] + [a.name for _, a in topology.apps()]
    for database in (options.data / "members").glob("*/*/*.db*"):
        database.unlink()
    for folder in ("logs", "evidence"):
        shutil.rmtree(options.data / folder, ignore_errors=True)
    for mark in ("settled.json", "steward/seeded.json"):
        (options.data / mark).unlink(missing_ok=True)
    provision = Provision(options.amqp, options.database, options.data)
    provision.empty_databases([name for name in names if name != CENTRAL])


@click.command()
@data_option
@click.option("--base-port", type=click.IntRange(1024, 65_400))
@click.option("--amqp", envvar="SANDROAD_AMQP")
@click.option("--database", envvar="SANDROAD_DATABASE")
@click.option("--country", type=click.Path(file_okay=False, path_type=Path))
@click.option("--population", type=click.IntRange(50, 100_000))
def doctor(data: Path, **asked: Any) -> None:
    """Look for what is missing, and name what brings it."""
    options = _options(data, {**asked})
    findings = list(_findings(options))
    for finding in findings:
        click.echo(f"  {'ok ' if finding.ok else 'NO '} {finding.what}: {finding.said}")
        if not finding.ok:
            click.echo(f"      → {finding.remedy}")
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)


def _refuse_other_options(data: Path, asked: dict[str, Any]) -> None:
    """A running sandbox keeps what it was started with; to ask for something else must not be passed over in silence."""
    kept = described(data).get("options", {})
    for name, wanted in asked.items():
        has = kept.get(name)
        same = bool(has) == bool(wanted) if name in ("amqp", "database") else str(has) == str(_resolved(wanted))
        if wanted is not None and not same:
            shown = "another server" if name in ("amqp", "database") else has
            option = "--" + name.replace("_", "-")
            raise SandboxError(f"the sandbox in {data} runs already, with {option} {shown}: `sandroad down` first")


def _resolved(wanted: Any) -> Any:
    return wanted.resolve() if isinstance(wanted, Path) else wanted


def _options(data: Path, asked: dict[str, Any]) -> Options:
    """Return what was asked for now, else what this sandbox was started with, else the defaults."""
    data = data.resolve()
    kept: dict[str, Any] = {}
    if (data / "sandbox.json").exists():
        kept = described(data).get("options", {})
    for name in ("amqp", "database"):
        if kept.get(name) and not asked.get(name):
            raise SandboxError(
                f"this sandbox was started with --{name}; give its administrator's URL again, it is not kept"
            )
    wanted = {key: value for key, value in asked.items() if value is not None}
    options = Options(data, ROOT / "country")
    if "country" in kept:
        options = replace(options, country=Path(kept["country"]))
    options = replace(options, **{key: kept[key] for key in ("base_port", "population") if key in kept})
    options = replace(options, **wanted)
    return replace(options, country=options.country.resolve())


def _findings(options: Options) -> Any:
    ports = range(options.base_port, options.base_port + PORTS_PER_SANDBOX)
    return examine(options.data, ports, running=is_running(options.data), amqp=options.amqp, database=options.database)


def _refuse_unless_ready(options: Options) -> None:
    wrong: list[Finding] = [finding for finding in _findings(options) if not finding.ok]
    if wrong:
        raise SandboxError("\n".join(f"{f.what}: {f.said} → {f.remedy}" for f in wrong))


def _start_missing(data: Path) -> None:
    """`up` on a running sandbox starts what was stopped."""
    for name, state in order(data, "list")["processes"].items():
        if not state["pid"]:
            order(data, "start", name)
            click.echo(f"started {name}")
    if not _read(data / "settled.json").get("ok"):
        (data / "settled.json").unlink(missing_ok=True)
        order(data, "settle")
    _wait_until_settled(data)
    sandbox = Sandbox(data)
    wait_until_healthy(sandbox, sandbox.processes)


def _start(options: Options, *, foreground: bool = False) -> "subprocess.Popen[bytes]":
    """Start the supervisor as a process of its own and return when the sandbox is ready."""
    began = time.time()
    logs = private_folder(options.data / "logs")
    # Through a pipe: the administrators' URLs hold passwords, and everybody can read a command line.
    asked = json.dumps({"options": vars(options), "began": began}, default=str).encode()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        # Two dozen processes with a few threads each: glibc would give every thread a heap of its own.
        "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"),
    }
    with (logs / "supervisor.log").open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "sandroad.running.background"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=not foreground,
            cwd=options.data,
            env=environment,
        )
    assert supervisor.stdin is not None
    with contextlib.suppress(BrokenPipeError), supervisor.stdin as pipe:
        pipe.write(asked)
    _wait_until_settled(options.data, supervisor, began)
    return supervisor


def _wait_for(supervisor: "subprocess.Popen[bytes]") -> int:
    """Wait for the supervisor's end; Ctrl-C and SIGTERM reach it and are waited for."""
    signal.signal(signal.SIGTERM, lambda *_: supervisor.terminate())
    while True:
        try:
            return supervisor.wait()
        except KeyboardInterrupt:
            supervisor.terminate()


def _wait_until_settled(
    data: Path, supervisor: "subprocess.Popen[bytes] | None" = None, began: float | None = None
) -> None:
    """Show progress until the sandbox that ``began`` then is ready; raise ``SandboxError`` with the reason if it will not be."""
    shown = ""
    while True:
        settled = _read(data / "settled.json")
        if began is not None and settled.get("began") != began:
            settled = {}  # an earlier start's
        if settled.get("ok"):
            click.echo(f"ready in {settled['ready_seconds']} s" if supervisor else "ready", err=True)
            for line in silent_others(Sandbox(data)):
                click.echo(f"  {line}", err=True)
            return
        if settled:
            raise SandboxError(f"not ready: {settled['reason']} (logs: {data / 'logs'})")
        if supervisor and supervisor.poll() is not None:
            raise SandboxError(f"the supervisor ended: {_last_line(data / 'logs' / 'supervisor.log')}")
        line = _read(data / "progress.json").get("line", "")
        if line and line != shown:
            click.echo(f"  {line}", err=True)
            shown = line
        time.sleep(0.05)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


COMMANDS = (up, down, reset, doctor)
