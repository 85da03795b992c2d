"""`clock` and `fault`: moving business time, and breaking things on purpose."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from sandroad.cli.options import Duration, data_option, parameters
from sandroad.running.client import Running, Sandbox, SandboxError
from sandroad.running.orders import order
from sandroad.running.settle import on_all

STOP = "stop"


@click.group()
def clock() -> None:
    """Business time: due dates, ages and cycles. Security time is always the real clock."""


@clock.command("show")
@data_option
def show(data: Path) -> None:
    """Show business time, and whether all processes agree on it."""
    sandbox = Sandbox(data)
    found = offsets(sandbox)
    ahead = max(found.values(), default=0)
    now = sandbox.steward(next(iter(found))).get("/-/clock")["now"]
    click.echo(f"business time {now[:19]}Z, {timedelta(seconds=ahead)} ahead of the real clock")
    behind = [name for name, seconds in found.items() if seconds != ahead]
    if behind:
        raise SandboxError(f"behind: {', '.join(behind)}; `sandroad clock advance 0s` brings them along")


@clock.command("advance")
@data_option
@click.argument("by", type=Duration())
def advance(data: Path, by: timedelta) -> None:
    """Move business time forward by BY (30d, 12h, 90m), everywhere; done when all processes have acknowledged."""
    seconds = advance_clock(Sandbox(data), by)
    click.echo(f"business time is now {timedelta(seconds=seconds)} ahead of the real clock, everywhere")


def advance_clock(sandbox: Sandbox, by: timedelta) -> int:
    """Move every process's business time; return the new offset in seconds."""
    target = max(offsets(sandbox).values(), default=0) + int(by.total_seconds())
    on_all(_with_clock(sandbox), lambda p: sandbox.steward(p.name).put("/-/clock", {"offset_seconds": target}))
    return target


def offsets(sandbox: Sandbox) -> dict[str, int]:
    """Return how far ahead each process's business time is."""
    return on_all(_with_clock(sandbox), lambda p: int(sandbox.steward(p.name).get("/-/clock")["offset_seconds"]))


def _with_clock(sandbox: Sandbox) -> list[Running]:
    return [p for p in sandbox.processes if p.managed and p.kind in ("block", "usecase")]


@click.group()
def fault() -> None:
    """Break things on purpose, watch, and mend them again."""


@fault.command("list")
@data_option
def list_faults(data: Path) -> None:
    """List what can be broken where, and what is broken now."""
    sandbox = Sandbox(data)
    where: dict[tuple[str, str], list[str]] = {}
    for process, known in _faults(sandbox):
        for each in known or ():
            where.setdefault((each["name"], each["meaning"]), []).append(process)
    for (name, meaning), processes in where.items():
        click.echo(f"  {name:<16} {meaning}\n{'':<19}at {', '.join(processes)}")
    click.echo(f"  {STOP:<16} the process is ended, and stays so until `fault off {STOP}`\n{'':<19}at any process")
    broken = broken_now(sandbox)
    for line in broken:
        click.echo(f"{click.style('ON', fg='red')} {line}")
    if not broken:
        click.echo("nothing is broken now; break something: sandroad fault on NAME PROCESS [parameter=value]")


def broken_now(sandbox: Sandbox) -> list[str]:
    """Return in words what is broken at this moment: faults that are on, and processes that do not answer."""
    found = []
    for process, known in _faults(sandbox):
        if known is None:
            found.append(f"{process} does not answer: mend with `sandroad fault off {STOP} {process}`")
        for each in known or ():
            if each["on"]:
                given = "".join(f" {name}={value}" for name, value in (each["parameters"] or {}).items())
                found.append(
                    f"{each['name']}{given} at {process}: mend with `sandroad fault off {each['name']} {process}`"
                )
    return found


def _faults(sandbox: Sandbox) -> Iterator[tuple[str, list[dict[str, Any]] | None]]:
    """Yield each process with the faults that it knows, None if it does not answer."""
    for process in sandbox.processes:
        if process.managed:
            try:
                yield process.name, sandbox.steward(process.name).get("/-/faults")
            except SandboxError:
                yield process.name, None


@fault.command("on")
@data_option
@click.argument("name")
@click.argument("process")
@click.argument("settings", nargs=-1)
def switch_on(data: Path, name: str, process: str, settings: tuple[str, ...]) -> None:
    """Switch the fault NAME on at PROCESS, with settings such as times=1 or seconds=5."""
    sandbox = Sandbox(data)
    if name == STOP:
        sandbox.process(process)
        _supervised(sandbox)
        order(sandbox.data, "stop", process)
    else:
        sandbox.steward(process).put(f"/-/faults/{name}", parameters(settings))
    click.echo(f"{name} is on at {process}")


@fault.command("off")
@data_option
@click.argument("name")
@click.argument("process")
def switch_off(data: Path, name: str, process: str) -> None:
    """Switch the fault NAME off at PROCESS."""
    sandbox = Sandbox(data)
    if name == STOP:
        sandbox.process(process)
        _supervised(sandbox)
        order(sandbox.data, "start", process)
    else:
        sandbox.steward(process).delete(f"/-/faults/{name}")
    click.echo(f"{name} is off at {process}")


def _supervised(sandbox: Sandbox) -> None:
    if sandbox.description.get("shape") != "embedded":
        raise SandboxError("in compose a process is a container: docker compose stop NAME, docker compose start NAME")


COMMANDS: tuple[Any, ...] = (clock, fault)
