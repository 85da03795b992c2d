"""The ``sandroad`` command: starts, steers and shows a sandbox.

Other packages add commands through the entry point ``sandroad.commands``.
"""

import sys
from importlib.metadata import entry_points

import click

from sandroad.cli import compose, inspect, lab, scenarios, start
from sandroad.country.documents import CountryError
from sandroad.problems import Error
from sandroad.running.client import SandboxError
from sandroad.running.plan import TooManyProcesses
from sandroad.running.provision import ProvisionError
from sandroad.settings import SettingsError

TOLD = (SandboxError, CountryError, ProvisionError, TooManyProcesses, SettingsError, Error, OSError)


class Commands(click.Group):
    """Our own commands and those of other packages, loaded only when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*super().list_commands(context), *(e.name for e in entry_points(group="sandroad.commands"))})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None:
            return own
        for entry in entry_points(group="sandroad.commands", name=name):
            loaded: click.Command = entry.load()
            return loaded
        return None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sandroad")
def cli() -> None:
    """A whole digital government on one laptop: start it, watch it, break it, prove what happened."""


for command in (*start.COMMANDS, *compose.COMMANDS, *inspect.COMMANDS, *lab.COMMANDS, *scenarios.COMMANDS):
    cli.add_command(command)


def main() -> None:
    """Run the command; a known failure is one clear message and exit code 1, never a stack trace."""
    try:
        cli.main(prog_name="sandroad")
    except TOLD as failure:
        click.echo(f"sandroad: {failure}", err=True)
        sys.exit(1)
