"""The steward's side of a gateway: health, records, evidence, access rights, services, lab faults. Own port, own token."""

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from sqlalchemy import select

from gateway import export, tables
from gateway.administration import Administration, UnknownService
from gateway.core import Core
from gateway.evidence.archive import MIMETYPE
from gateway.log import ChainBroken
from gateway.rights import PatternInvalid
from gateway.timestamping import StampingFailed, TimeStamping
from gateway.transports import Transport
from sandroad.problems import CallerUnknown, InvalidRequest, NotFound, Refusal

log = logging.getLogger(__name__)

MOST_RECORDS = 10_000
MOST_RIGHTS = 1000
LARGEST_BODY = 1024 * 1024
STATUS = {"caller_unknown": 401, "not_found": 404, "no_such_fault": 404, "lab_mode_off": 403}
Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Unavailable(Refusal):
    """It cannot be done now; trying again later may help."""

    code = "unavailable"


class Management:
    """Answers the steward. Everything but health bears the management token."""

    def __init__(self, core: Core, transport: Transport, stamping: TimeStamping) -> None:
        self._core = core
        self._transport = transport
        self._stamping = stamping

    def app(self) -> web.Application:
        """Return the application that listens on the management port."""
        app = web.Application(middlewares=[self._guard], client_max_size=LARGEST_BODY)
        app.router.add_get("/-/health", self._health)
        app.router.add_get("/-/records", self._records)
        app.router.add_get("/-/evidence", self._evidence)
        app.router.add_get("/-/log", self._verify_log)
        app.router.add_post("/-/configuration", self._refetch)
        app.router.add_get("/-/changes", self._changes)
        app.router.add_get("/-/faults", self._faults)
        app.router.add_put("/-/faults/{name}", self._fault_on)
        app.router.add_delete("/-/faults/{name}", self._fault_off)
        app.router.add_get("/-/services", self._services)
        app.router.add_put("/-/services/{subsystem}/{code}", self._switch_service)
        app.router.add_get("/api/v1/rights/allow", self._list_rights)
        app.router.add_patch("/api/v1/rights/allow", self._allow)
        app.router.add_patch("/api/v1/rights/deny", self._deny)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Endpoint) -> web.StreamResponse:
        try:
            if request.path != "/-/health":
                self._check_token(request)
            return await handler(request)
        except Refusal as refusal:
            return _problem(STATUS.get(refusal.code, 503 if isinstance(refusal, Unavailable) else 400), refusal)
        except web.HTTPException as error:
            refused = NotFound(f"{request.method} {request.path}: {error.reason}")
            return _problem(error.status, refused)
        except Exception:
            log.exception("a management call failed")
            return _problem(500, Unavailable("the fault has been logged; it is ours, not yours"))

    def _check_token(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._core.config.management_token}".encode()):
            raise CallerUnknown("the management API is the steward's: Authorization: Bearer <management token>")

    async def _health(self, _request: web.Request) -> web.Response:
        checks = self._core.trust.health() | {"transport": self._transport.health()}
        if self._stamping.trouble:
            checks["timestamping"] = self._stamping.trouble
        vital = {name: said for name, said in checks.items() if name != "timestamping"}
        healthy = all(said == "ok" for said in vital.values())
        body = {"name": self._core.config.name, "healthy": healthy, "checks": checks}
        return web.json_response(body, status=200 if healthy else 500)

    async def _records(self, request: web.Request) -> web.Response:
        since = _number(request, "since", 0, 0, 1 << 53)
        limit = _number(request, "limit", 1000, 1, MOST_RECORDS)
        await self._core.writer.flush()
        return web.json_response({"records": await asyncio.to_thread(self._read_records, since, limit)})

    def _read_records(self, since: int, limit: int) -> list[dict[str, Any]]:
        operations = tables.operations
        query = select(operations.c.fields).where(operations.c.at >= since).order_by(operations.c.id).limit(limit)
        with self._core.log.database.read() as connection:
            return [json.loads(fields) for fields in connection.execute(query).scalars()]

    async def _evidence(self, request: web.Request) -> web.StreamResponse:
        identifier, side = request.query.get("id", ""), request.query.get("side", "request")
        if not identifier or side not in export.SIDES:
            raise InvalidRequest("expected ?id=<X-Road-Id or request id>&side=request|response")
        database = self._core.log.database
        hits = await asyncio.to_thread(export.find, database, identifier, side)
        if not hits:
            raise NotFound(f"no {side} with this id in the message log of {self._core.config.owner}")
        if len(hits) > 1:
            return web.json_response({"hits": [hit.shown() for hit in hits]}, status=409)
        try:
            content = await export.container(database, self._stamping, hits[0], side)
        except StampingFailed as failure:
            raise Unavailable(f"the message has no time-stamp yet, and none can be had: {failure}") from None
        return web.Response(body=content, content_type=MIMETYPE.decode())

    async def _verify_log(self, _request: web.Request) -> web.Response:
        await self._core.writer.flush()
        try:
            count = await asyncio.to_thread(self._core.log.verify)
        except ChainBroken as broken:
            return web.json_response({"holds": False, "defect": str(broken)}, status=500)
        return web.json_response({"holds": True, "records": count})

    async def _refetch(self, _request: web.Request) -> web.Response:
        await self._core.trust.refetch()
        configuration = self._core.trust.configuration
        return web.json_response({"version": configuration.version if configuration else None})

    async def _changes(self, _request: web.Request) -> web.Response:
        return web.json_response({"changes": await asyncio.to_thread(self._core.administration.changes)})

    async def _faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self._core.faults.listing())

    async def _fault_on(self, request: web.Request) -> web.Response:
        parameters = await _body(request, dict)
        for name in ("times", "seconds"):
            value = parameters.get(name, 1)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 3600:
                raise InvalidRequest(f"{name} is a number from 0 to 3600")
        self._core.faults.switch_on(request.match_info["name"], parameters)
        return web.json_response(self._core.faults.listing())

    async def _fault_off(self, request: web.Request) -> web.Response:
        self._core.faults.switch_off(request.match_info["name"])
        return web.json_response(self._core.faults.listing())

    async def _services(self, _request: web.Request) -> web.Response:
        services = self._core.administration.services.values()
        return web.json_response({"services": [_service(one) for one in sorted(services, key=lambda one: one.id)]})

    async def _switch_service(self, request: web.Request) -> web.Response:
        body = await _body(request, dict)
        enabled, notice = body.get("enabled"), body.get("notice", "")
        if not isinstance(enabled, bool) or not isinstance(notice, str) or (not enabled and not notice):
            raise InvalidRequest('expected {"enabled": true}, or {"enabled": false, "notice": "why, for callers"}')
        service = f"{self._core.config.owner}/{request.match_info['subsystem']}/{request.match_info['code']}"
        return web.json_response(
            _service(await self._core.administration.switch(service, enabled=enabled, notice=notice))
        )

    async def _list_rights(self, request: web.Request) -> web.Response:
        """GovStack IM 7.6: the rights in force, by service."""
        wanted = [request.query.get(name) for name in ("memberClass", "memberCode", "applicationId", "serviceId")]
        start = _number(request, "nextPageToken", 0, 0, 1 << 31)
        size = _number(request, "pageSize", 100, 1, MOST_RIGHTS)
        entries = [
            entry
            for entry in _allow_list(self._core.administration)
            if all(value in (None, "", entry[name]) for name, value in zip(ENTRY, wanted, strict=True))
        ]
        body: dict[str, Any] = {"allowList": entries[start : start + size]}
        if start + size < len(entries):
            body["nextPageToken"] = str(start + size)
        return web.json_response(body)

    async def _allow(self, request: web.Request) -> web.Response:
        """GovStack IM 7.6. ``allow`` in an entry, our addition, narrows a right to patterns of method and path."""
        wanted = []
        for service, entry in self._entries(await _body(request, list)):
            patterns = entry.get("allow")
            if patterns is not None and not (
                isinstance(patterns, list) and patterns and all(isinstance(one, str) for one in patterns)
            ):
                raise InvalidRequest("allow is a list of patterns such as 'POST /data/**'")
            chosen = None if patterns is None else tuple(patterns)
            wanted += [(subject, service, chosen) for subject in self._subjects(entry)]
        try:
            await self._core.administration.allow(wanted)
        except PatternInvalid as defect:
            raise InvalidRequest(str(defect)) from None
        return web.json_response({})

    async def _deny(self, request: web.Request) -> web.Response:
        """GovStack IM 7.6."""
        unwanted = []
        for service, entry in self._entries(await _body(request, list)):
            unwanted += [(subject, service) for subject in self._subjects(entry)]
        await self._core.administration.deny(unwanted)
        return web.json_response({})

    def _entries(self, body: list[Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return (service, entry) for each entry; all are checked before anything is changed."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for entry in body:
            if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in ENTRY):
                raise InvalidRequest(f"expected a list of objects with the texts {', '.join(ENTRY)} and rights")
            member = f"{entry['memberClass']}/{entry['memberCode']}"
            service = f"{self._core.config.instance}/{member}/{entry['applicationId']}/{entry['serviceId']}"
            if service not in self._core.administration.services:
                raise UnknownService(f"no service {service} behind this gateway")
            found.append((service, entry))
        return found

    def _subjects(self, entry: Mapping[str, Any]) -> list[str]:
        rights = entry.get("rights")
        if not isinstance(rights, list) or not rights:
            raise InvalidRequest("rights is a list of at least one consumer")
        subjects = []
        for right in rights:
            if not isinstance(right, dict) or not all(isinstance(right.get(n), str) and right[n] for n in CONSUMER):
                raise InvalidRequest(f"a consumer is a subsystem: an object with the texts {', '.join(CONSUMER)}")
            subjects.append("/".join((self._core.config.instance, *(right[name] for name in CONSUMER))))
        return subjects


CONSUMER = ("memberClass", "memberCode", "applicationId")
ENTRY = (*CONSUMER, "serviceId")


def _allow_list(administration: Administration) -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for right in administration.rights.listing():
        if right.allowed:
            parts = right.service.split("/")[1:]
            entry = entries.setdefault(right.service, {**dict(zip(ENTRY, parts, strict=True)), "rights": []})
            consumer = dict(zip(CONSUMER, right.subject.split("/")[1:], strict=True))
            entry["rights"].append({**consumer, "allow": list(right.patterns), **right.terms})
    return list(entries.values())


def _service(service: Any) -> dict[str, Any]:
    names = ("id", "url", "timeout", "idempotent", "log", "contract", "concurrency", "enabled", "notice")
    return {name: getattr(service, name) for name in names}


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
        raise InvalidRequest(f"{name} is a whole number from {least} to {most}")
    return int(text)


async def _body(request: web.Request, kind: type) -> Any:
    raw = await request.read()
    try:
        parsed = json.loads(raw) if raw else kind()
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not JSON") from None
    if not isinstance(parsed, kind):
        raise InvalidRequest(f"the body is a JSON {'object' if kind is dict else 'list'}")
    return parsed


def _problem(status: int, refusal: Refusal) -> web.Response:
    document = {
        "type": f"https://sandroad.example/problems/{refusal.code}",
        "title": refusal.code.replace("_", " ").capitalize(),
        "status": status,
        "code": refusal.code,
        "detail": refusal.detail,
    }
    return web.json_response(document, status=status, content_type="application/problem+json")
