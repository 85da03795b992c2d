"""The `sandroad evidence` commands: fetch the evidence of a message, and verify it without a running sandbox."""

from pathlib import Path

import click

from gateway.evidence import archive
from gateway.evidence.checks import Check
from gateway.evidence.retrieval import Ambiguous, NotFound, fetch, write_whole
from gateway.evidence.verifier import verify_container
from gateway.trust.anchor import Anchor, AnchorUnreadable
from sandroad.cli.options import data_option
from sandroad.running.client import Sandbox

SEVERAL = 2


@click.group()
def evidence() -> None:
    """Prove an exchange to an outsider: one ASiC-E container per message."""


@evidence.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--anchor", type=click.Path(path_type=Path), help="The trust anchor.  [default: DIR/anchor.json]")
@data_option
@click.pass_context
def verify(context: click.Context, files: tuple[Path, ...], anchor: Path | None, data: Path) -> None:
    """Verify containers offline: one line a check, exit 0 only if all hold.

    It needs the files and the trust anchor, nothing that runs.
    """
    try:
        trusted = Anchor.read(anchor or data / "anchor.json")
    except AnchorUnreadable as error:
        raise click.ClickException(str(error)) from None
    invalid = [file for file in files if not _shown(file, _checks(file, trusted))]
    if len(files) > 1:
        click.echo(f"{len(files) - len(invalid)} of {len(files)} containers are valid")
    context.exit(1 if invalid else 0)


def _checks(file: Path, anchor: Anchor) -> list[Check]:
    try:
        if file.stat().st_size > archive.MAX_ARCHIVE:
            return [Check("file", False, f"larger than the {archive.MAX_ARCHIVE} bytes of a container")]
        return verify_container(file.read_bytes(), anchor)
    except OSError as error:
        return [Check("file", False, f"cannot be read: {error.strerror}")]


def _shown(file: Path, checks: list[Check]) -> bool:
    """Print a file's checks and return whether all of them hold."""
    failed = sum(not check.ok for check in checks)
    click.echo(click.format_filename(file))
    for check in checks:
        click.echo(f"  {'ok  ' if check.ok else 'FAIL'}  {check.name:<22}{check.said}")
    click.echo(f"  => NOT VALID, {failed} checks failed" if failed else f"  => valid, all {len(checks)} checks hold")
    return not failed


@evidence.command()
@click.argument("identifier", metavar="ID")
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.asice", help="Where to write it."
)
@click.option(
    "--request", "side", flag_value="request", default="request", help="The request's evidence (the default)."
)
@click.option("--response", "side", flag_value="response", help="The response's evidence.")
@click.option("--member", metavar="CLASS/CODE", help="Only from this member's message log, e.g. GOV/WELFARE.")
@data_option
@click.pass_context
def get(context: click.Context, identifier: str, output: Path, side: str, member: str | None, data: Path) -> None:
    """Fetch the evidence of the message ID, an X-Road-Id or x-road-request-id, as the steward.

    Several requests under one X-Road-Id are listed, with exit 2: name one by its request id.
    """
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise click.ClickException(f"--output {output}: must name a file in a folder that exists")
    try:
        found = fetch(Sandbox(data), identifier, side, member)
    except NotFound as error:
        raise click.ClickException(str(error)) from None
    except Ambiguous as error:
        click.echo(f"Error: {error}", err=True)
        for hit in error.hits:
            click.echo(f"  {hit.request_id}  {hit.at}  {hit.client} -> {hit.service}", err=True)
        context.exit(SEVERAL)
    for warning in found.warnings:
        click.echo(f"note: {warning}", err=True)
    existed = output.exists()
    try:
        write_whole(output, found.container)
    except OSError as error:
        raise click.ClickException(f"--output {output}: cannot be written: {error.strerror}") from None
    note = ", replacing what was there" if existed else ""
    click.echo(f"{side} {found.request_id} from the message log of {found.member}: {output}{note}")
