"""``sandroad import beneficiaries FILE.csv``: hands a list to the ministry's app and tells what became of each row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import requests

from sandroad.running.client import Sandbox, SandboxError

APP = "cash-transfer"


@click.group("import")
def import_() -> None:
    """Bring lists into the sandbox."""


@import_.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path(".sandroad"), show_default=True, help="Data directory."
)
@click.option("--quiet", is_flag=True, help="Only refused rows and the summary.")
def beneficiaries(file: Path, data: Path, quiet: bool) -> None:
    """Enrol the beneficiaries of FILE, a CSV file; contracts/cash_transfer/beneficiaries-csv.md describes it.

    Ends with 0 if no row was refused, with 1 if some were (the others were taken), with 2 if nothing could be done.
    """
    try:
        steward = Sandbox(data).steward(APP)
        response = steward.request("POST", "/-/import", data=file.read_bytes(), stream=True, timeout=600)
    except SandboxError as defect:
        raise click.UsageError(str(defect)) from defect
    if response.status_code != 200:
        raise click.UsageError(f"{file.name}: {_words(response)}")
    summary, stopped = _tell(_lines(response), quiet)
    if stopped:
        raise click.UsageError(f"stopped: {stopped}; run the file again, what was taken is not taken twice")
    if summary is None:
        raise click.UsageError(
            "the app ended before the list did; run the file again, what was taken is not taken twice"
        )
    if summary["refused"]:
        raise SystemExit(1)


def _lines(response: requests.Response) -> Iterator[dict[str, Any]]:
    try:
        for line in response.iter_lines():
            if line:
                yield json.loads(line)
    except requests.RequestException:
        return


def _tell(lines: Iterator[dict[str, Any]], quiet: bool) -> tuple[dict[str, int] | None, str]:
    """Print results as they come; return (the summary, why it stopped)."""
    summary: dict[str, int] | None = None
    stopped = ""
    for each in lines:
        if "summary" in each:
            summary = each["summary"]
        elif "stopped" in each:
            stopped = each["stopped"]
        elif "progress" in each:
            click.echo(f"… {each['progress']} of {each['of']} rows", err=True)
        elif each["result"] == "refused":
            column = f", column {each['column']}" if each["column"] else ""
            click.echo(f"line {each['line']}{column}: {each['reason']}")
        elif not quiet:
            click.echo(f"line {each['line']}: {each['external_reference']} {each['result']}")
    if summary is not None:
        click.echo(", ".join(f"{count} {name}" for name, count in summary.items()))
    return summary, stopped


def _words(response: requests.Response) -> str:
    try:
        document = response.json()
        return str(document.get("detail") or document.get("title"))
    except ValueError:
        return f"HTTP {response.status_code}"
