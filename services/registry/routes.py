"""The contract's operations over HTTP: read the request, do, show. One function per ``operationId``."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue as Reply

from sandroad.callers import caller
from sandroad.contracts import Contract, Routes, body, parameters
from sandroad.problems import InvalidRequest
from sandroad.web import resource
from services.registry.changes import Changes
from services.registry.databases import Databases
from services.registry.personal_usage import PersonalUsage
from services.registry.reading import Listing, Page, Reading
from services.registry.rights import Access, Rights
from services.registry.tables import to_json, to_text

LIST_PARAMETERS = ("search", "filter", "ordering", "page", "pageSize")


def make_routes(contracts: Path) -> Routes:
    """Bind every operation of the registry's contract."""
    routes = Routes(Contract.load(contracts / "registry" / "openapi.yaml"))
    _bind_reading(routes)
    _bind_changes(routes)
    _bind_databases(routes)
    return routes


def _bind_reading(routes: Routes) -> None:
    @routes.operation("list")
    def list_records(registry_name: str, version_number: str) -> Reply:
        """List and search records."""
        asked = _listing()
        page = resource(Reading).list_records(_access(), registry_name, _version(version_number), asked)
        return _json({"count": page.count, **_links(page, asked), "results": page.results})

    @routes.operation("exists")
    def exists(registry_name: str, version_number: str) -> Reply:
        """Answer yes or no."""
        query = body()["query"]["content"]
        answer = resource(Reading).exists(_access(), registry_name, _version(version_number), query)
        return _json({"answer": {"status": answer, "message": "record found" if answer else "no record found"}})

    @routes.operation("read")
    def read(registry_name: str, version_number: str) -> Reply:
        """Read one record."""
        query = body()["query"]["content"]
        return _json({"content": resource(Reading).read(_access(), registry_name, _version(version_number), query)})

    @routes.operation("readEntries")
    def read_entries(registry_name: str, version_number: str) -> Reply:
        """Read the records of a list."""
        query = body()["query"]
        entries, left_out = resource(Reading).read_entries(_access(), registry_name, _version(version_number), query)
        return _json(
            {
                "entries": [{"key": key, "content": content} for key, content in entries],
                "leftOut": [{"key": key, "reason": reason} for key, reason in left_out],
            }
        )

    @routes.operation("readValue")
    def read_value(registry_name: str, version_number: str, uuid: str, field: str, ext: str) -> Reply:
        """Read one field."""
        value = resource(Reading).read_value(_access(), registry_name, _version(version_number), uuid, field)
        if ext == "txt":
            return Response(
                value if isinstance(value, str) else to_json(value), content_type="text/plain; charset=utf-8"
            )
        return _json({"value": value})

    @routes.operation("mypersonalDataUsage")
    def my_personal_data_usage() -> Reply:
        """List who read a person's data."""
        asked = parameters()
        return _json(resource(PersonalUsage).report(_access(), asked["userId"], asked["databaseId"]))


def _bind_changes(routes: Routes) -> None:
    @routes.operation("create")
    def create(registry_name: str, version_number: str) -> Reply:
        """Create a record."""
        content = body()["write"]["content"]
        return _json({"content": resource(Changes).create(_access(), registry_name, _version(version_number), content)})

    @routes.operation("createEntries")
    def create_entries(registry_name: str, version_number: str) -> Reply:
        """Create several records."""
        contents = [entry["content"] for entry in body()["write"]]
        created = resource(Changes).create_entries(_access(), registry_name, _version(version_number), contents)
        receive = [
            {
                "content": content,
                "createdAt": to_text(record.created_at),
                "modifiedAt": to_text(record.valid_from),
                "uuid": record.uuid,
            }
            for content, record in created
        ]
        return _json({"receive": receive}, 201)

    @routes.operation("update")
    def update(registry_name: str, version_number: str) -> Reply:
        """Change one record."""
        resource(Changes).update(_access(), registry_name, _version(version_number), *_change())
        return "", 200

    @routes.operation("updateEntries")
    def update_entries(registry_name: str, version_number: str) -> Reply:
        """Change several records."""
        resource(Changes).update_entries(_access(), registry_name, _version(version_number), *_change())
        return "", 200

    @routes.operation("updateOrCreate")
    def update_or_create(registry_name: str, version_number: str) -> Reply:
        """Change or create one record."""
        changes = resource(Changes)
        return _json(
            {"content": changes.update_or_create(_access(), registry_name, _version(version_number), *_change())}
        )

    @routes.operation("delete")
    def delete(registry_name: str, version_number: str, id: str) -> Reply:
        """Delete one record."""
        resource(Changes).delete(_access(), registry_name, _version(version_number), id)
        return "", 204


def _bind_databases(routes: Routes) -> None:
    @routes.operation("modifyDatabase")
    def modify_database() -> Reply:
        """Define a registry or publish its next version."""
        return _json(resource(Databases).modify(_access(), body()))

    @routes.operation("readDatabase")
    def read_database(id: str) -> Reply:
        """Show one version."""
        _access()
        return _json(resource(Databases).read(int(id)))

    @routes.operation("deleteDatabase")
    def delete_database(id: str) -> Reply:
        """Archive one version."""
        resource(Databases).archive(_access(), int(id))
        return jsonify("Success")

    @routes.operation("listDatabases")
    def list_databases() -> Reply:
        """List all versions."""
        _access()
        return _json(resource(Databases).list_all())


def _access() -> Access:
    """What the caller may do with exactly this call; default deny."""
    return resource(Rights).access(caller(), request.method, request.path)


def _version(text: str) -> int:
    return int(text.removesuffix(".0"))


def _change() -> tuple[dict[str, Any] | None, dict[str, Any]]:
    asked = body()
    return (asked["query"]["content"] if "query" in asked else None), asked["write"]["content"]


def _listing() -> Listing:
    """Read the list's parameters; unknown and repeated ones are refused, for they would silently list more than was meant."""
    conditions: dict[str, str] = {}
    for name, values in request.args.lists():
        if name.startswith("query.") and len(values) == 1:
            conditions[name.removeprefix("query.")] = values[0]
        elif len(values) > 1 or name not in LIST_PARAMETERS:
            raise InvalidRequest(
                f"query {name[:60]!r}: known are {', '.join(LIST_PARAMETERS)} and query.<field>, each at most once"
            )
    asked = parameters()
    return Listing(
        conditions, asked.get("search"), asked.get("filter"), asked.get("ordering"), asked.get("page", 1), asked.get("pageSize", 20)
    )  # fmt: skip


def _links(page: Page, asked: Listing) -> dict[str, str]:
    """Return relative references to the pages beside this one: they hold behind any gateway."""
    links = {}
    if asked.page * asked.page_size < page.count:
        links["next"] = _page_link(asked.page + 1)
    if asked.page > 1:
        links["previous"] = _page_link(asked.page - 1)
    return links


def _page_link(number: int) -> str:
    return "?" + urlencode([(n, v) for n, v in request.args.items() if n != "page"] + [("page", str(number))])


def _json(document: Any, status: int = 200) -> Response:
    return Response(to_json(document), status, content_type="application/json")
