"""The Flask application of an app: its contract's operations, the callers let in, refusals told, health and control."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException

from sandroad.callers import identify, is_steward
from sandroad.clock import BusinessClock
from sandroad.contracts import Operation, Routes, parse_json
from sandroad.faults import Faults
from sandroad.outbox import Outbox
from sandroad.problems import (
    AccessDenied,
    BodyTooLarge,
    CallerUnknown,
    Catalogue,
    Error,
    InternalFault,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Refusal,
)
from sandroad.settings import AppConfig

log = logging.getLogger(__name__)
T = TypeVar("T")
View = Callable[..., Any]
HTTP_REFUSALS: dict[int, type[Refusal]] = {404: NotFound, 405: MethodNotAllowed, 413: BodyTooLarge, 403: AccessDenied}


@dataclass
class Running:
    """What belongs to a running app: the objects its routes use, and what starts and stops with it."""

    config: AppConfig
    problems: Catalogue
    clock: BusinessClock | None = None
    faults: Faults | None = None
    outbox: Outbox | None = None
    resources: dict[type, Any] = field(default_factory=dict)
    starting: list[Callable[[], None]] = field(default_factory=list)
    stopping: list[Callable[[], None]] = field(default_factory=list)

    def start(self) -> None:
        """Start what works in the background; called once, after the fork, before the first request."""
        for step in self.starting:
            step()

    def stop(self) -> None:
        """Stop in the opposite order."""
        for step in reversed(self.stopping):
            step()


def running(app: Flask | None = None) -> Running:
    """Return what belongs to ``app`` (the current one by default)."""
    return (app or current_app).extensions["sandroad"]


def resource(kind: type[T]) -> T:
    """Return the app's object of this class, as ``create_web_app`` was given it."""
    return running().resources[kind]


def create_web_app(
    config: AppConfig,
    *,
    routes: Sequence[Routes] = (),
    resources: Sequence[Any] = (),
    blueprints: Sequence[Blueprint] = (),
    control: Sequence[Blueprint] = (),
    clock: BusinessClock | None = None,
    faults: Faults | None = None,
    outbox: Outbox | None = None,
    checks: Mapping[str, Callable[[], None]] | None = None,
    exports: Mapping[str, Callable[[], Iterable[Mapping[str, Any]]]] | None = None,
    max_body: int = 16 * 1024 * 1024,
) -> Flask:
    """Return the Flask application of an app.

    ``routes`` are contract operations: checked, and open only to identified callers unless the contract says ``security: []``.
    ``blueprints`` are pages for browsers (open). ``control`` blueprints are mounted at ``/-`` for the steward only.
    ``checks`` are health checks: each raises when something is wrong. ``exports`` are datasets for ``/-/export/<name>``.
    """
    app = Flask(config.name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_body
    app.url_map.strict_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    problems = Catalogue.load(config.contracts / "problems.yaml")
    state = Running(config, problems, clock, faults, outbox, {type(each): each for each in resources})
    app.extensions["sandroad"] = state
    if clock is not None:
        _ = clock.offset  # read now: a first look from inside a writing transaction would wait for itself
    if outbox is not None:
        state.starting.append(outbox.start)
        state.stopping.append(outbox.stop)
    app.before_request(_begin)
    for each in routes:
        _bind(app, each)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    app.register_blueprint(_control(checks or {}, exports or {}))
    for blueprint in control:
        blueprint.before_request(_steward_only)
        app.register_blueprint(blueprint, url_prefix="/-")
    app.register_error_handler(Refusal, _tell_refusal)
    app.register_error_handler(HTTPException, _tell_http)
    app.register_error_handler(Exception, _tell_fault)
    app.after_request(_finish)
    return app


def _begin() -> None:
    g.started = time.perf_counter()


def _bind(app: Flask, routes: Routes) -> None:
    for operation_id, function in routes.bound.items():
        operation = routes.contract.operations[operation_id]
        app.add_url_rule(
            routes.prefix + operation.rule,
            endpoint=f"{routes.prefix}:{operation_id}" if routes.prefix else operation_id,
            view_func=_guarded(operation, function, routes),
            methods=[operation.method],
        )


def _guarded(operation: Operation, function: View, routes: Routes) -> View:
    """Return the view that lets in only known callers and only requests that keep the contract."""

    def view(**path_values: Any) -> Any:
        g.operation, g.render = operation, routes.render
        config = running().config
        if not operation.is_open:
            g.caller = identify(config, request)
        g.parameters, g.body = operation.read_request(request, path_values)
        return function(**path_values)

    return view


def _steward_only() -> None:
    if not is_steward(running().config, request):
        raise CallerUnknown("control is for the steward: send the management token as Authorization: Bearer")


def _control(
    checks: Mapping[str, Callable[[], None]], exports: Mapping[str, Callable[[], Iterable[Mapping[str, Any]]]]
) -> Blueprint:
    control = Blueprint("control", __name__, url_prefix="/-")

    @control.before_request
    def guard() -> None:
        if request.endpoint != "control.health":  # the function, not the path: a dataset may be called health, too
            _steward_only()

    @control.get("/health")
    def health() -> Any:
        """Say whether the app works, and if not, what is wrong."""
        found = {name: _checked(check) for name, check in checks.items()}
        healthy = all(said == "ok" for said in found.values())
        return jsonify(name=running().config.name, healthy=healthy, checks=found), 200 if healthy else 500

    @control.get("/clock")
    def show_clock() -> Any:
        clock = running().clock
        if clock is None:
            raise NotFound("this app keeps no business time")
        return jsonify(offset_seconds=int(clock.offset.total_seconds()), now=clock().isoformat())

    @control.put("/clock")
    def move_clock() -> Any:
        clock = running().clock
        if clock is None:
            raise NotFound("this app keeps no business time")
        seconds = control_body().get("offset_seconds")
        if not isinstance(seconds, int) or isinstance(seconds, bool) or abs(seconds) > 10**10:
            raise InvalidRequest("offset_seconds is a whole number of seconds")
        clock.move_to(timedelta(seconds=seconds))
        return show_clock()

    @control.get("/faults")
    def list_faults() -> Any:
        return jsonify(_faults().listing())

    @control.put("/faults/<name>")
    def switch_on(name: str) -> Any:
        _faults().switch_on(name, control_body())
        return jsonify(_faults().listing())

    @control.delete("/faults/<name>")
    def switch_off(name: str) -> Any:
        _faults().switch_off(name)
        return jsonify(_faults().listing())

    @control.get("/outbox")
    def show_outbox() -> Any:
        outbox = running().outbox
        return jsonify(outbox.summary() if outbox else {"waiting": 0, "done": 0, "dead": 0, "dead_entries": []})

    @control.get("/export/<dataset>")
    def export(dataset: str) -> Any:
        if dataset not in exports:
            raise NotFound(f"no dataset {dataset!r} here; there are: {', '.join(sorted(exports)) or 'none'}")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in exports[dataset]())
        return Response(lines, content_type="application/x-ndjson; charset=utf-8")

    return control


def control_body() -> dict[str, Any]:
    """Return the JSON object in a control request's body ({} without a body); raise ``InvalidRequest``."""
    raw = request.get_data()
    try:
        parsed = parse_json(raw) if raw else {}
    except ValueError as defect:
        raise InvalidRequest(f"the body is not JSON: {defect}") from defect
    if not isinstance(parsed, dict):
        raise InvalidRequest("the body is a JSON object")
    return parsed


def _faults() -> Faults:
    return running().faults or Faults({}, lab=running().config.lab)


def _checked(check: Callable[[], None]) -> str:
    """Say what is wrong: in our own words, or the kind of a fault whose text may hold a query, a path or a person."""
    try:
        check()
    except (Error, Refusal) as defect:
        return str(defect)[:300] or type(defect).__name__
    except Exception as defect:
        log.exception("a health check failed")
        return f"{type(defect).__name__} (see the log)"
    return "ok"


def _tell_refusal(refusal: Refusal) -> Response:
    render = g.get("render")
    return render(refusal) if render else running().problems.response(refusal)


def _tell_http(error: HTTPException) -> Response:
    kind = HTTP_REFUSALS.get(error.code or 500)
    if kind is None:
        kind = InvalidRequest if (error.code or 500) < 500 else InternalFault
    response = _tell_refusal(kind(f"{request.method} on this path: {error.name}"))
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


def _tell_fault(error: Exception) -> Response:
    """Log what happened, and tell the caller only that something did."""
    log.exception("%s %s failed", request.method, request.url_rule or "unknown path")
    return _tell_refusal(InternalFault("the fault has been logged; it is ours, not yours"))


def _finish(response: Response) -> Response:
    operation: Operation | None = g.get("operation")
    if operation is not None:
        if running().config.check_responses:
            operation.check_response(response.status_code, response.content_type or "", response.get_data())
        elapsed = (time.perf_counter() - g.started) * 1000
        log.info("%s %d %.1f ms request=%s", operation.operation_id, response.status_code, elapsed, _request_id())
    return response


def _request_id() -> str:
    found = g.get("caller")
    return found.request_id if found else ""
