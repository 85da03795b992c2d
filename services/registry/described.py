"""What the country's files say about an instance's registries, held together before anything is started."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandroad.country.documents import CountryError, Document
from sandroad.problems import Refusal
from services.registry.domain import VIRTUAL_FIELD
from services.registry.schema import Schema

DESCRIBES = "POST /database/modify"


def check_described(country: Path, app: str, hosted: Sequence[str], rights: Sequence[Mapping[str, Any]]) -> None:
    """Raise ``CountryError`` for a registry without schema, a schema that is refused, and a right to a field that no schema has."""
    files = _files(country, app)
    if files is None:
        return  # the check of the seed itself names what is wrong there
    schemas: dict[str, Schema] = {}
    complaints: list[str] = []
    for document in map(Document, files):
        try:
            schemas[str(document.data["code"])] = Schema(document.data["schema"])
        except (Refusal, LookupError, TypeError, AttributeError) as defect:
            said = str(defect) if isinstance(defect, Refusal) else "it needs `code` and `schema` with `properties`"
            complaints.append(document.complaint(f"{app} would refuse this: {said}", "schema"))
    complaints = complaints or [*_without_schema(country, app, hosted, schemas)]
    if complaints := complaints or [*_unknown_fields(country, rights, schemas)]:
        raise CountryError(complaints)


def _files(country: Path, app: str) -> list[Path] | None:
    """Return the files with the schemas that ``app`` is brought, None if the seed does not tell."""
    try:
        steps = Document(country / "seed.yaml").data["steps"]
        named = [step["body"] for step in steps if step["app"] == app and step["call"] == DESCRIBES]
        files = [country / name for name in named]
    except (CountryError, LookupError, TypeError):
        return None
    return files if all(file.is_file() for file in files) else None


def _without_schema(country: Path, app: str, hosted: Sequence[str], schemas: Mapping[str, Schema]) -> Iterator[str]:
    document = Document(country / "seed.yaml")
    for name in sorted(set(hosted) ^ set(schemas)):
        if name in schemas:
            what = f"{name} is brought to {app}, which hosts {', '.join(hosted)} (topology.yaml, `registries`)"
        else:
            what = f"{app} hosts {name} (topology.yaml, `registries`), but no step brings it the schema of {name}"
        yield document.complaint(what, "steps")


def _unknown_fields(country: Path, rights: Sequence[Mapping[str, Any]], schemas: Mapping[str, Schema]) -> Iterator[str]:
    known = {VIRTUAL_FIELD, *(field for schema in schemas.values() for field in schema.fields)}
    document = Document(country / "topology.yaml")
    for right in rights:
        for field in right.get("fields", ()):
            if field not in known:
                place = _place(document, right)
                yield document.complaint(
                    f"no registry there has a field {field}; there are: {', '.join(sorted(known))}", *place
                )


def _place(document: Document, right: Mapping[str, Any]) -> tuple[Any, ...]:
    listed = document.data["rights"]
    return next((("rights", i, "fields") for i, each in enumerate(listed) if each == right), ("rights",))
