"""Checks all files of a country folder, without a running sandbox."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandroad.country.agreement import read_rules
from sandroad.country.documents import CountryError
from sandroad.country.recipe import Recipe
from sandroad.country.seeding import read_steps
from sandroad.country.told import check_settings
from sandroad.country.topology import Topology


def check_files(folder: Path) -> None:
    """Raise ``CountryError`` with every complaint about every file."""
    topology = Topology.read(folder)
    complaints: list[str] = []

    def tried(check: Callable[[], Any]) -> Any:
        try:
            return check()
        except CountryError as defect:
            complaints.extend(defect.complaints)

    tried(lambda: check_settings(topology))
    recipe: Recipe | None = tried(lambda: Recipe.read(folder, topology.country, topology.seed))
    tried(lambda: read_steps(topology, recipe))
    tried(lambda: read_rules(topology))
    if complaints:
        raise CountryError(list(dict.fromkeys(complaints)))
