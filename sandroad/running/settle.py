"""What the steward does once every process answers: hand out the trust anchor, register relying parties, bring the data in.

Each step can be repeated: what is done already changes nothing. The end is written to ``settled.json`` with the seconds it took.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from sandroad.country.topology import Topology
from sandroad.running.client import Running, Sandbox, SandboxError
from sandroad.running.secrets import write_private

LONGEST_START = 120.0
Seed = Callable[[Sandbox, int, Callable[[str], None]], None]


def settle(data: Path, population: int, began: float, seed: Seed) -> None:
    """Do all steps; ``began`` is the wall-clock time of the start. Failure is written down too, for `up` to tell."""
    sandbox = Sandbox(data)
    marker = data / "settled.json"
    try:
        wait_until_healthy(sandbox, [p for p in sandbox.processes if p.kind == "central"])
        write_anchor(sandbox)
        wait_until_healthy(sandbox, sandbox.processes)
        register_relying_parties(sandbox, Topology.read(sandbox.country))
        seed(sandbox, population, lambda line: progress(data, line))
        wait_until_healthy(sandbox, sandbox.processes)
    except Exception as defect:
        write_private(marker, json.dumps({"ok": False, "reason": f"{defect}" or type(defect).__name__, "began": began}))
        raise
    write_private(marker, json.dumps({"ok": True, "ready_seconds": round(time.time() - began, 2), "began": began}))


def progress(data: Path, line: str) -> None:
    """Write one line for `up` to show."""
    write_private(data / "progress.json", json.dumps({"line": line}))
    print(line, file=sys.stderr, flush=True)


def wait_until_healthy(sandbox: Sandbox, processes: list[Running], longest: float = LONGEST_START) -> None:
    """Return when all answer 200 to their health check; raise ``SandboxError`` naming those that do not, and why.

    What others run is not waited for: its operators may need this sandbox first, for the secret of their gateway.
    """
    deadline = time.monotonic() + longest
    before = _restarts(sandbox.data)
    waiting = {p.name: "no answer" for p in processes if p.health_url and p.managed}
    with requests.Session() as session:
        session.trust_env = False
        while waiting:
            for process in processes:
                if process.name in waiting:
                    said = health(session, process)
                    if said == "ok":
                        del waiting[process.name]
                    else:
                        waiting[process.name] = said
            fallen = [
                n for n, count in _restarts(sandbox.data).items() if n in waiting and count - before.get(n, 0) >= 3
            ]
            if fallen:
                said = "; ".join(
                    f"{n} ended three times: {_last_line(sandbox.data / 'logs' / f'{n}.log')}" for n in fallen
                )
                raise SandboxError(f"not healthy: {said}")
            if waiting and time.monotonic() > deadline:
                raise SandboxError("not healthy: " + "; ".join(f"{name}: {why}" for name, why in waiting.items()))
            if waiting:
                time.sleep(0.05)  # polling processes that are starting: they have no way to tell us


def silent_others(sandbox: Sandbox) -> list[str]:
    """Return in a line each which products that others run do not answer their health check."""
    with requests.Session() as session:
        session.trust_env = False
        said = {p: health(session, p) for p in sandbox.processes if p.health_url and not p.managed}
    return [
        f"{p.name}, which others run, is not there yet ({p.health_url}: {why}); its gateway waits for it"
        for p, why in said.items()
        if why != "ok"
    ]


def _restarts(data: Path) -> dict[str, int]:
    """Return how often the supervisor of an embedded sandbox had to start each process again."""
    try:
        listed = json.loads((data / "pids.json").read_text(encoding="utf-8"))["processes"]
        return {name: state["restarts"] for name, state in listed.items()}
    except (FileNotFoundError, ValueError):
        return {}


def _last_line(log: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return next((line for line in reversed(log.read_text("utf-8", "replace").splitlines()) if line.strip()), "")
    return ""


def health(session: requests.Session, process: Running) -> str:
    """Return "ok", or in a few words what is wrong."""
    try:
        response = session.get(process.health_url, timeout=5)
    except requests.RequestException:
        return "no answer"
    if response.status_code == 200:
        return "ok"
    try:
        checks = response.json().get("checks", {})
        return (
            "; ".join(f"{name}: {said}" for name, said in checks.items() if said != "ok")
            or f"HTTP {response.status_code}"
        )
    except (ValueError, AttributeError):
        return f"HTTP {response.status_code} {response.text[:100]}"


def write_anchor(sandbox: Sandbox) -> None:
    """Ask central for the trust anchor and keep it in the data directory; an anchor that is there is never replaced by another."""
    path = sandbox.data / "anchor.json"
    central = next(p for p in sandbox.processes if p.kind == "central")
    anchor = sandbox.steward(central.name).get("/anchor")
    if not path.exists():
        write_private(path, json.dumps(anchor, indent=1))
    elif json.loads(path.read_text(encoding="utf-8")) != anchor:
        raise SandboxError(f"central's trust anchor is not the one in {path}: another sandbox's data, or a forgery")


def register_relying_parties(sandbox: Sandbox, topology: Topology) -> None:
    """Register every app that logs people in (``uses: {identity_issuer: …}``) at its identity provider."""
    for _, app in topology.apps():
        provider = app.uses.get("identity_issuer")
        if provider is None or not app.managed:
            continue
        party, identity = sandbox.steward(app.name), sandbox.process(provider)
        if not identity.managed:
            continue  # a product's own administrator registers relying parties there
        wish = party.get("/-/oidc-client")
        registered = register(sandbox.steward(provider), app.name, wish)
        party.put("/-/oidc-client", {"clientId": registered, "issuer": identity.public_url})


def register(identity: Any, name: str, wish: dict[str, Any]) -> str:
    """Register a client by GovStack's client management, or bring its registration up to date; return its id."""
    client = {
        "clientId": name,
        "clientName": wish["clientName"],
        "publicKey": wish["publicKey"],
        "relyingPartyId": name,
        "userClaims": wish["userClaims"],
        "authContextRefs": ["idbb:acr:generated-code"],
        "logoUri": wish["redirectUris"][0],
        "redirectUris": wish["redirectUris"],
        "grantTypes": ["authorization_code"],
        "clientAuthMethods": ["private_key_jwt"],
        "programmes": wish.get("programmes", []),
    }
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    answer = identity.post("/client-mgmt/oidc-client", {"requestTime": stamp, "request": client})
    if answer.get("errors"):
        update = {key: value for key, value in client.items() if key not in ("clientId", "publicKey", "relyingPartyId")}
        body = {"requestTime": stamp, "request": {**update, "status": "active"}}
        answer = identity.put(f"/client-mgmt/oidc-client/{name}", body)
    if answer.get("errors"):
        raise SandboxError(f"identity did not register {name}: {answer['errors']}")
    return str(answer["response"]["clientId"])


def on_all(processes: list[Running], work: Callable[[Running], Any]) -> dict[str, Any]:
    """Do ``work`` on all processes at once; return results by name, raise ``SandboxError`` naming those that failed."""
    failed: list[str] = []
    results: dict[str, Any] = {}
    with ThreadPoolExecutor(max_workers=16) as pool:
        for process, future in [(p, pool.submit(work, p)) for p in processes]:
            try:
                results[process.name] = future.result()
            except SandboxError as defect:
                failed.append(str(defect))
    if failed:
        raise SandboxError("; ".join(failed))
    return results
