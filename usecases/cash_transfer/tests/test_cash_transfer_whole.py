"""The app among the real blocks: the story, a list taken twice, roles at the doors, and SIGKILL while money moves."""

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sandroad.running.client import Sandbox
from usecases.cash_transfer.cli import import_
from usecases.cash_transfer.scenario import play
from usecases.cash_transfer.scenario.closing import close_books
from usecases.cash_transfer.scenario.desk import Desk, Refused
from usecases.cash_transfer.scenario.payment import PaymentAct
from usecases.cash_transfer.scenario.planted_list import COLUMNS
from usecases.cash_transfer.scenario.stage import Stage
from usecases.cash_transfer.scenario.waiting import until

ROWS = 60


@pytest.fixture(scope="module")
def stage(sandbox: Sandbox) -> Stage:
    return Stage(sandbox, lambda _line: None)


@pytest.fixture(scope="module")
def officers(stage: Stage) -> tuple[Desk, Desk, Desk]:
    preparing = stage.officer("payment")
    return stage.officer("registration"), preparing, stage.officer("approval", besides=preparing)


@pytest.mark.parametrize("run", [1, 2])
def test_the_story_adds_up_and_can_be_played_again(sandbox: Sandbox, run):
    told: list[str] = []
    result = play(sandbox, output=told.append)
    assert result["trouble"] == []
    assert told.index("== In short") < len(told) - 10, "the end says where to look"
    assert not [line for line in told if re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", line)], "ids stand in messages.csv"
    flipped = told.index("-- One bit of a message is flipped in transit, after it was signed")
    refused = next(n for n, line in enumerate(told) if n > flipped and "refused as it must be" in line)
    assert any("| Server.ServerProxy.InvalidSignatureValue" in line for line in told[flipped:refused])
    numbered = [exchange["number"] for exchange in result["steps"]]
    assert numbered == list(range(1, len(numbered) + 1))
    assert (Path(result["evidence"]["folder"]) / "messages.csv").read_text().count("\n") == len(numbered) + 1
    assert result["verdict"] == "ok"
    ledger = {name: Decimal(amount) for name, amount in result["ledger"].items()}
    assert ledger["debits"] == ledger["credits"] + ledger["in_flight"] > 0
    assert result["evidence"]["verified"] == result["evidence"]["messages"] > 100
    assert (result["batch"]["failed"], result["batch"]["retried"]) == (1, 1)
    assert {each["case"] for each in result["refusals"] if each["expected"] == each["got"]} >= {
        "no consent", "consent withdrawn", "access right revoked", "tampered in transit", "past the gateway",
        "duplicate household", "the officer who prepared a batch releases it",
    }  # fmt: skip


def test_an_officer_does_only_what_the_roles_allow_and_from_the_own_screen(officers):
    registrar, preparing, _ = officers
    with pytest.raises(Refused) as refused:
        registrar.post("/api/cycles")
    assert refused.value.code == "role_missing"
    with pytest.raises(Refused) as refused:
        preparing.post("/api/applications")
    assert refused.value.code == "role_missing"
    token, registrar._token = registrar._token, "guessed"
    with pytest.raises(Refused) as refused:
        registrar.post("/api/applications")
    registrar._token = token
    assert refused.value.code == "session_token_missing"


def test_the_screens_show_cases_and_batches_and_their_forms_work(stage: Stage, officers):
    registrar, preparing, _ = officers
    browser = registrar._browser
    browser.open(f"{stage.base}/")
    form = browser.form_with("phone")
    assert form is not None
    browser.submit(form, phone="")
    assert (browser.status, "/cases/" in browser.address) == (200, True)
    assert "An officer opens an application" in browser.text
    enrolled = next(each for each in registrar.get("/api/applications")["applications"] if each["state"] == "enrolled")
    browser.open(f"{stage.base}/cases/{enrolled['id']}")
    assert "proxy-means test: 26 reaches 21" in browser.text
    batch = preparing.get("/api/batches")["batches"][0]
    preparing._browser.open(f"{stage.base}/batches/{batch['id']}")
    assert batch["approved_by"] in preparing._browser.text
    browser.open(f"{stage.base}/cases/AAAAAAAAAAAAAAAA")
    assert (browser.status, "There is no such application" in browser.text) == (404, True)


def test_a_list_is_taken_once_whatever_is_killed_meanwhile(stage: Stage, sandbox: Sandbox, tmp_path: Path):
    file = tmp_path / "list.csv"
    file.write_bytes(_list(stage, ROWS))
    command = [
        str(Path(sys.executable).with_name("sandroad")),
        "import",
        "beneficiaries",
        str(file),
        "--data",
        str(sandbox.data),
    ]
    for pause in (0.9, 1.3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as importing:
            time.sleep(pause)  # the moment of the kill, somewhere in the import
            _kill(sandbox, "cash-transfer")
            importing.communicate(timeout=60)
        until(lambda: _healthy(sandbox), "the app to be back")
    CliRunner().invoke(import_, ["beneficiaries", str(file), "--data", str(sandbox.data), "--quiet"])
    outcome = CliRunner().invoke(import_, ["beneficiaries", str(file), "--data", str(sandbox.data), "--quiet"])
    assert outcome.exit_code == 0, outcome.output
    assert f"{ROWS} rows, 0 enrolled, 0 pending-consent, {ROWS} unchanged, 0 refused" in outcome.output
    until(lambda: _states(sandbox)["PENDING"] == 0, "payments' answers")
    payees = [each["payee"] for each in sandbox.steward("treasury-payments").lines("/-/export/payees")]
    assert len(payees) == len(set(payees)) >= ROWS


def test_a_changed_row_is_refused_and_the_others_are_not(stage: Stage, sandbox: Sandbox, tmp_path: Path):
    file = tmp_path / "list.csv"
    file.write_bytes(_list(stage, ROWS).replace(b",TPA,", b",SP,", 1))
    outcome = CliRunner().invoke(import_, ["beneficiaries", str(file), "--data", str(sandbox.data), "--quiet"])
    assert outcome.exit_code == 1
    assert "line 2, column external_reference: was taken before with other content" in outcome.output
    assert f"{ROWS - 1} unchanged, 1 refused" in outcome.output


def test_a_row_without_consent_waits_for_it(stage: Stage, sandbox: Sandbox, tmp_path: Path):
    person = stage.cast.one("moved-district")
    file = tmp_path / "consent.csv"
    file.write_text(
        "external_reference,national_id,package,payment_modality,financial_address,lawful_basis\n"
        f"WAITS-1,{person.individual_id},TPA,mobile-money,{person.address},consent\n",
        encoding="utf-8",
    )
    for _ in range(2):
        outcome = CliRunner().invoke(import_, ["beneficiaries", str(file), "--data", str(sandbox.data)])
        assert "1 pending-consent" in outcome.output
        assert outcome.exit_code == 0


def test_everybody_is_paid_exactly_once_although_the_app_is_killed_at_each_step(
    stage: Stage, sandbox: Sandbox, officers
):
    _, preparing, approving = officers
    act = PaymentAct(stage, preparing, approving, {})
    batch = act._opened()
    chance = random.Random(7)
    for officer, step, states in ((preparing, "validation", ("validated",)), (approving, "approval", ("reconciled",))):
        officer.post(f"/api/batches/{batch}/{step}")
        for _ in range(2):
            _kill(sandbox, "cash-transfer")
            until(lambda: _healthy(sandbox), "the app to be back")
            time.sleep(chance.uniform(0, 0.4))  # the moment of the next kill
        act._reach(batch, *states)
    shown = preparing.get(f"/api/batches/{batch}")
    paid = {each["id"] for each in shown["instructions"] if each["state"] == "paid"}
    assert len(paid) >= ROWS
    credits = Counter(
        each["instructionID"]
        for bank in stage.cast.population["institutions"].values()
        for each in sandbox.steward(bank["app"]).lines("/-/export/credits")
        if each["status"] == "completed"
    )
    assert {instruction: credits[instruction] for instruction in paid} == dict.fromkeys(paid, 1)
    close_books(stage)
    assert stage.trouble == []


def _list(stage: Stage, count: int) -> bytes:
    """Return a list of people whom nobody has planted, paid to their own accounts."""
    holders = {
        account["holderReference"]: (f"{code}:{account['account']}", institution["kind"])
        for code, institution in sorted(stage.cast.population["institutions"].items())
        for account in stage.sandbox.steward(institution["app"]).lines("/-/export/accounts")
        if account.get("holderReference") and account["status"] == "active" and account["behaviour"] == "normal"
    }
    planted = {person.individual_id for person in stage.cast._people}
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(COLUMNS)
    chosen = [number for number in sorted(holders) if number not in planted][:count]
    assert len(chosen) == count
    for number in chosen:
        address, kind = holders[number]
        writer.writerow([f"BULK-{number}", number, "TPA", kind, address, "public_task", "", "", ""])
    return written.getvalue().encode()


def _kill(sandbox: Sandbox, name: str) -> None:
    pids: dict[str, Any] = json.loads((sandbox.data / "pids.json").read_text())
    pid = pids["processes"][name]["pid"]
    if pid:
        os.kill(pid, signal.SIGKILL)
        until(lambda: not _is_alive(pid), "the process to end")


def _is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _healthy(sandbox: Sandbox) -> bool:
    try:
        return bool(sandbox.steward("cash-transfer").get("/-/health")["healthy"])
    except Exception:
        return False


def _states(sandbox: Sandbox) -> Counter[str]:
    return Counter(each["onboarding"] for each in sandbox.steward("cash-transfer").lines("/-/export/beneficiaries"))
