"""`demo`: playing a use case's story on the running sandbox."""

import json
from importlib.metadata import entry_points
from pathlib import Path

import click

from sandroad.cli.options import data_option
from sandroad.running.client import Sandbox, SandboxError


@click.command()
@data_option
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, nothing else.")
def demo(data: Path, name: str | None, as_json: bool) -> None:
    """Play the story NAME (without one, list them); exit 0 only if everything adds up."""
    known = {entry.name: entry for entry in entry_points(group="sandroad.scenarios")}
    if name is None:
        click.echo("stories: " + ", ".join(sorted(known)))
        return
    if name not in known:
        raise SandboxError(f"no story {name!r}; there are: {', '.join(sorted(known))}")
    result = known[name].load()(
        Sandbox(data), output=(lambda line: click.echo(line, err=True)) if as_json else click.echo
    )
    if as_json:
        click.echo(json.dumps(result))
    if result.get("verdict") != "ok":
        raise SystemExit(1)


COMMANDS = (demo,)
