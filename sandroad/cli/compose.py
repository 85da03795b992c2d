"""`compose` and what its containers run: `compose-init`, `compose-provision`, `compose-steward`, `serve`."""

import signal
import time
from pathlib import Path

import click

from sandroad.country.seeding import seed
from sandroad.country.topology import Topology
from sandroad.running import compose as shape
from sandroad.running.embedded import ROOT
from sandroad.running.one import serve_one
from sandroad.running.settle import settle


@click.command()
def compose() -> None:
    """Print docker-compose.yml for the country's topology."""
    click.echo(shape.render(Topology.read(ROOT / "country")), nl=False)


@click.command("compose-init", hidden=True)
def compose_init() -> None:
    """Make secrets and settings into the services' volumes."""
    shape.initialise()


@click.command("compose-provision", hidden=True)
def compose_provision() -> None:
    """Make the broker's users and the databases."""
    shape.provision()


@click.command("compose-steward", hidden=True)
@click.option("--population", type=int, envvar="SANDROAD_POPULATION", default=2000)
def compose_steward(population: int) -> None:
    """Register relying parties, bring the data in, then stay: healthy means ready."""
    settle(shape.STEWARD, population, time.time(), seed)
    signal.pause()


@click.command()
@click.argument("settings", type=click.Path(dir_okay=False, exists=True, path_type=Path))
def serve(settings: Path) -> None:
    """Be one process of a sandbox, configured by its settings file (for containers)."""
    serve_one(settings)


COMMANDS = (compose, compose_init, compose_provision, compose_steward, serve)
