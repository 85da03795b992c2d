"""Options that many commands share."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=".sandroad",
    envvar="SANDROAD_DATA",
    show_default=True,
    help="The sandbox's data directory.",
)


class Duration(click.ParamType):
    """``30d``, ``12h``, ``90m``, ``45s`` or ``2w``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,6})([wdhms])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration such as 30d, 12h, 90m or 45s", param, context)
        unit = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}[found[2]]
        return timedelta(**{unit: int(found[1])})


def parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Read ``key=value`` words: numbers become numbers."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{pair!r} is not of the form name=value")
        found[key] = (
            float(value)
            if re.fullmatch(r"-?\d+\.\d+", value)
            else int(value)
            if re.fullmatch(r"-?\d+", value)
            else value
        )
    return found
