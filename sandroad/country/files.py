"""Checks all files of a country folder, without a running sandbox."""

from pathlib import Path

from sandroad.country.agreement import read_rules
from sandroad.country.documents import CountryError
from sandroad.country.recipe import Recipe
from sandroad.country.seeding import read_steps
from sandroad.country.topology import Topology


def check_files(folder: Path) -> None:
    """Raise ``CountryError`` with every complaint about every file."""
    complaints: list[str] = []
    try:
        topology = Topology.read(folder)
    except CountryError as defect:
        raise CountryError(defect.complaints) from defect
    for check in (
        lambda: Recipe.read(folder, topology.country, topology.seed),
        lambda: read_steps(topology),
        lambda: read_rules(topology),
    ):
        try:
            check()
        except CountryError as defect:
            complaints.extend(defect.complaints)
    if complaints:
        raise CountryError(complaints)
