"""Brings a country's people and rules into the blocks, by the operations of the blocks' contracts and nothing else.

``seed.yaml`` says what goes where. A step that was done before changes nothing, so an interrupted start is simply repeated;
a finished one leaves a mark with what was brought in, and is not repeated.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from sandroad.country.documents import CountryError, Document
from sandroad.country.population import Population, dataset_names
from sandroad.country.recipe import Recipe
from sandroad.country.topology import Topology
from sandroad.running.client import Sandbox, SandboxError
from sandroad.running.secrets import write_private

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["steps"],
    "additionalProperties": False,
    "properties": {
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["app", "call"],
                "additionalProperties": False,
                "properties": {
                    "app": {"type": "string"},
                    "call": {
                        "type": "string",
                        "pattern": r"^(POST|PUT) /\S*$",
                        "description": "a call is `POST /path` or `PUT /path` of the app's contract",
                    },
                    "body": {"type": "string"},
                    "dataset": {"type": "string"},
                    "list": {"type": "string"},
                    "each": {"type": "string"},
                    "batch": {"type": "integer", "minimum": 1, "maximum": 2000},
                },
                "oneOf": [{"required": ["body"]}, {"required": ["dataset", "list", "batch"]}],
                "description": "a step has either `body`, a file, or `dataset`, `list` and `batch`",
            },
        }
    },
}
Step = Mapping[str, Any]
Progress = Callable[[str], None]


def read_steps(topology: Topology, recipe: Recipe | None) -> list[Step]:
    """Read ``seed.yaml``, held to the topology and to the recipe if there is one; raise ``CountryError`` naming file and line."""
    document = Document(topology.folder / "seed.yaml")
    document.check(SCHEMA)
    apps = {app.name for _, app in topology.apps()}
    complaints = []
    for i, step in enumerate(document.data["steps"]):
        if step["app"] not in apps:
            complaints.append(document.complaint(f"nobody runs {step['app']}", "steps", i, "app"))
        if recipe is not None and "dataset" in step and step["dataset"] not in dataset_names(recipe.data):
            there = ", ".join(dataset_names(recipe.data))
            what = f"there is no dataset {step['dataset']}; there are: {there}"
            complaints.append(document.complaint(what, "steps", i, "dataset"))
        if "body" in step:
            complaints.extend(_unreadable(topology.folder, step["body"], document, i))
    for code, institution in recipe.data["institutions"].items() if recipe is not None else ():
        if institution["app"] not in apps:
            asked = Document(topology.folder / "population.yaml")
            complaints.append(asked.complaint(f"nobody runs {institution['app']}", "institutions", code, "app"))
    if complaints:
        raise CountryError(complaints)
    return list(document.data["steps"])


def _unreadable(folder: Path, body: str, document: Document, i: int) -> Iterator[str]:
    path = folder / body
    if not path.resolve().is_relative_to(folder.resolve()):
        yield document.complaint(f"{body} is outside of the country's folder", "steps", i, "body")
    elif not path.is_file():
        yield document.complaint(f"there is no file {body}", "steps", i, "body")
    else:
        try:
            Document(path)
        except CountryError as defect:
            yield from defect.complaints


def seed(sandbox: Sandbox, size: int, progress: Progress) -> None:
    """Bring everything in. Raises ``SandboxError`` with the process's own words if one refuses."""
    topology = Topology.read(sandbox.country)
    mark = sandbox.data / "steward" / "seeded.json"
    wanted = {"size": size, "country": _digest(topology.folder)}
    if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) == wanted:
        return
    recipe = Recipe.read(topology.folder, topology.country, topology.seed)
    steps = read_steps(topology, recipe)
    people = Population(recipe, size)
    progress(f"bringing {len(people.persons)} persons in")
    datasets = people.datasets()
    by_app: dict[str, list[Step]] = {}
    for step in steps:
        by_app.setdefault(step["app"], []).append(step)
    with ThreadPoolExecutor(max_workers=6) as pool:
        running = [pool.submit(_seed_app, sandbox, app, own, datasets, topology.folder) for app, own in by_app.items()]
        for future in running:
            progress(future.result())
    write_private(mark, json.dumps(wanted))


def _seed_app(
    sandbox: Sandbox, app: str, steps: list[Step], datasets: Mapping[str, Iterator[dict[str, Any]]], folder: Path
) -> str:
    if not sandbox.process(app).managed:
        return f"{app}: run by others, its own administrator brings its data in"
    steward, rows = sandbox.steward(app), 0
    for step in steps:
        verb, path = step["call"].split(" ", 1)
        for body in _bodies(step, datasets, folder):
            rows += len(body[step["list"]]) if "list" in step else 0
            answer = steward.request(verb, path, body, timeout=120)
            if not answer.ok:
                raise SandboxError(f"{app} refused {step['call']}: {answer.status_code} {answer.text[:400]}")
    return f"{app}: {rows} rows brought in"


def _bodies(step: Step, datasets: Mapping[str, Iterator[dict[str, Any]]], folder: Path) -> Iterator[dict[str, Any]]:
    if "body" in step:
        yield Document(folder / step["body"]).data
        return
    for batch in _batches(datasets[step["dataset"]], step["batch"]):
        yield {step["list"]: [{step["each"]: row} for row in batch] if "each" in step else batch}


def _batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def _digest(folder: Path) -> str:
    """Return one digest over the country's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.yaml")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
