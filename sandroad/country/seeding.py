"""Brings a country's people and rules into the blocks, by the blocks' own operations and nothing else."""

from collections.abc import Callable

from sandroad.running.client import Sandbox


def seed(sandbox: Sandbox, population: int, progress: Callable[[str], None]) -> None:
    """Bring the data in; what is there already stays as it is."""
    progress(f"nothing to bring in for {population} persons")
