"""The end: do the books agree to the cent, and does every message of the story verify?"""

import csv
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from usecases.cash_transfer.scenario.stage import Stage
from usecases.cash_transfer.scenario.watch import Exchange

AT_ONCE = 400
VALID = re.compile(r"^\s*=> valid,", re.MULTILINE)


def close_books(stage: Stage) -> dict[str, str]:
    """Return the result's ``ledger``: what the programme paid out, what institutions received, what is in suspense."""
    recipe = stage.cast.population
    debits = credits = Decimal(0)
    for code, institution in recipe["institutions"].items():
        book = stage.sandbox.steward(institution["app"]).get("/-/ledger")
        credits += Decimal(book["credited"])
        funding = {each["account"] for each in recipe["funding"] if each["institution"] == code}
        debits += sum((Decimal(units) for account, units in book["paid_out"].items() if account in funding), Decimal(0))
        stage.expect(bool(book["balanced"]), f"the books of {code} do not balance")
    payments = stage.sandbox.steward(stage.places.app("payments").name).get("/-/ledger")
    in_flight = Decimal(payments["suspense"])
    stage.expect(bool(payments["balanced"]), "the ledger of payments does not balance")
    stage.expect(
        debits == credits + in_flight, f"{debits} was paid out, {credits} received, {in_flight} is in suspense"
    )
    stage.say(f"      paid out {debits} = received {credits} + in suspense {in_flight}")
    return {"debits": str(debits), "credits": str(credits), "in_flight": str(in_flight)}


def prove(stage: Stage) -> dict[str, Any]:
    """Export the evidence of every message and have it verified without the sandbox; return the result's ``evidence``."""
    folder = _fresh_folder(stage.sandbox.evidence_folder)
    files = [file for exchange in stage.watch.exchanges for file in _exported(stage, exchange, folder)]
    _write_list(stage, folder)
    verified = sum(_valid(stage, files[start : start + AT_ONCE]) for start in range(0, len(files), AT_ONCE))
    stage.expect(bool(files) and verified == len(files), f"{verified} of {len(files)} containers verify")
    stage.say(
        f"      {len(files)} requests and answers are exported, {verified} of them verify offline, by the anchor alone"
    )
    return {"messages": len(files), "verified": verified, "folder": str(folder)}


def _fresh_folder(parent: Path) -> Path:
    number = 1
    while (parent / f"cash-transfer-{number:03}").exists():
        number += 1
    folder = parent / f"cash-transfer-{number:03}"
    folder.mkdir(parents=True)
    return folder


def _exported(stage: Stage, exchange: Exchange, folder: Path) -> list[Path]:
    """Write request and response of an exchange; what was refused has no response of a service to prove."""
    if _is_metadata_only(stage, exchange.service):
        return []
    steward = stage.sandbox.steward(exchange.gateway)
    files = []
    for side in ("request", "response"):
        answer = steward.request("GET", f"/-/evidence?id={exchange.request_id}&side={side}")
        if answer.status_code == 200:
            path = folder / f"{exchange.number:04}-{side}.asice"
            path.write_bytes(answer.content)
            files.append(path)
        elif not exchange.fault:
            stage.expect(
                False, f"no evidence of the {side} {exchange.request_id} ({exchange.title}): {answer.status_code}"
            )
    return files


def _write_list(stage: Stage, folder: Path) -> None:
    """Write which number is which message, for whoever opens the containers."""
    with (folder / "messages.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [exchange.shown for exchange in stage.watch.exchanges]
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _is_metadata_only(stage: Stage, service: str) -> bool:
    """Tell whether a service's messages are logged without contents (one-time codes, letters)."""
    for member, app in stage.places.topology.apps():
        for code, terms in app.services.items():
            if service == f"{stage.places.topology.instance}/{member.id}/{app.subsystem}/{code}":
                return terms.get("log") == "metadata"
    return False


def _valid(stage: Stage, files: list[Path]) -> int:
    """Return how many containers the installed command calls valid: another program than the one that made them."""
    if not files:
        return 0
    command: list[Any] = [
        sys.executable,
        "-m",
        "sandroad",
        "evidence",
        "verify",
        "--data",
        stage.sandbox.data,
        *files,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    count = len(VALID.findall(done.stdout))
    if done.returncode != 0:
        failing = [line.strip() for line in done.stdout.splitlines() if "FAIL" in line][:5]
        stage.expect(False, "; ".join(failing) or f"`sandroad evidence verify` failed: {done.stderr.strip()[-300:]}")
    return count
