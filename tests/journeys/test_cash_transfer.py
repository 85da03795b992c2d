"""The cash transfer from one command, on every shape that runs without containers."""

import subprocess
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.journeys.conftest import Journey

STEPS = ["Outreach", "Registration", "Verification", "Eligibility", "Enrolment", "Payment"]


def adds_up(result: dict[str, Any]) -> None:
    ledger = {name: Decimal(result["ledger"][name]) for name in ("debits", "credits", "in_flight")}
    assert result["verdict"] == "ok", result
    assert ledger["debits"] == ledger["credits"] + ledger["in_flight"]
    assert result["evidence"]["messages"] == result["evidence"]["verified"] > 50
    assert all(refusal["got"].startswith(refusal["expected"]) for refusal in result["refusals"]), result["refusals"]


def test_the_story_adds_up_again_and_again(journey: Journey) -> None:
    """The next household, the next cycle: money to the cent, every message proven."""
    first, second = journey.json("demo", "cash-transfer"), journey.json("demo", "cash-transfer")
    for result in (first, second):
        adds_up(result)
        played = [step["step"] for step in result["steps"]]
        assert [step for step in dict.fromkeys(played) if step in STEPS] == STEPS, played
        assert {"step", "title", "from", "to", "service", "message_id", "status", "ms"} <= result["steps"][0].keys()
        assert result["batch"]["paid"] > 0
        assert result["batch"]["retried"] > 0
    assert Decimal(second["ledger"]["debits"]) > Decimal(first["ledger"]["debits"])
    assert {step["message_id"] for step in first["steps"]}.isdisjoint(step["message_id"] for step in second["steps"])


def test_afterwards_all_blocks_agree(journey: Journey) -> None:
    said = journey.run("country", "check").stdout
    assert "ok: the blocks agree" in said
    assert "payees: 0 rows" not in said
    assert "accounts: 0 rows" not in said


def test_status_names_every_process_and_its_memory(journey: Journey) -> None:
    status = journey.json("status")
    assert {"instance", "transport", "ready_seconds", "processes"} <= status.keys()
    assert status["transport"] == ("amqp" if "SANDROAD_AMQP" in journey.environment else "direct")
    for process in status["processes"]:
        assert {"name", "member", "kind", "url", "pid", "healthy", "pss_mb"} <= process.keys()
        assert process["healthy"], process
    assert {process["kind"] for process in status["processes"]} == {"central", "gateway", "block", "usecase"}


def test_every_container_verifies_with_tools_that_are_not_ours(embedded: Journey, tmp_path: Path) -> None:
    """xmlsec1 for the signature, openssl for the time-stamp; neither knows anything of Sandroad."""
    found = sorted((embedded.data / "evidence").rglob("*.asice"))
    assert len(found) > 50
    anchor = tmp_path / "tsa.pem"
    anchor.write_text("".join(embedded.sandbox.steward("central").get("/anchor")["ca_certificates"]))
    for number, container in enumerate(found):
        folder = tmp_path / str(number)
        with zipfile.ZipFile(container) as archive:
            archive.extractall(folder)
        signature = [
            "xmlsec1", "--verify", "--insecure", "--enabled-reference-uris", "empty,same-doc,local,remote",
            "--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties",
            "--url-map:/message.xml", str(folder / "message.xml"), "--url-map:/attachment1", str(folder / "attachment1"),
            str(folder / "META-INF" / "signatures.xml"),
        ]  # fmt: skip
        done = subprocess.run(signature, capture_output=True, text=True)
        assert done.returncode == 0, f"{container.name}: {done.stdout} {done.stderr}"
        stamp = [
            "openssl", "ts", "-verify", "-token_in", "-in", str(folder / "META-INF" / "timestamp.tst"),
            "-data", str(folder / "ts-hashchainresult.xml"), "-CAfile", str(anchor),
        ]  # fmt: skip
        done = subprocess.run(stamp, capture_output=True, text=True)
        assert "Verification: OK" in done.stdout + done.stderr, f"{container.name}: {done.stdout} {done.stderr}"


def test_one_flipped_bit_in_any_entry_is_noticed(embedded: Journey, tmp_path: Path) -> None:
    container = max((embedded.data / "evidence").rglob("*.asice"), key=lambda path: path.stat().st_size)
    assert embedded.run("evidence", "verify", str(container)).returncode == 0
    with zipfile.ZipFile(container) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    for position in range(len(entries)):
        broken = tmp_path / f"broken-{position}.asice"
        with zipfile.ZipFile(broken, "w") as archive:
            archive.comment = b"mimetype=application/vnd.etsi.asic-e+zip"
            for number, (info, content) in enumerate(entries):
                changed = bytes([content[0] ^ 1]) + content[1:] if number == position else content
                archive.writestr(info, changed)
        done = embedded.run("evidence", "verify", str(broken), check=False)
        assert done.returncode == 1, f"{entries[position][0].filename}: {done.stdout}"


def test_a_block_called_past_its_gateway_refuses_whatever_the_caller_claims(embedded: Journey) -> None:
    for process in embedded.sandbox.processes:
        if process.kind not in ("block", "usecase"):
            continue
        headers = {"X-Road-Client": f"SANDBOX/{process.member}/REGISTRY", "X-Sandroad-Gateway": "guessed"}
        answer = requests.get(process.url + "/-/export/anything", headers=headers, timeout=10)
        assert answer.status_code == 401, process.name
    registry = embedded.sandbox.process("civil-registry").url
    claimed = {"X-Road-Client": "SANDBOX/GOV/WELFARE/CASH-TRANSFER"}
    answer = requests.post(
        f"{registry}/data/population/1/read", json={"query": {"content": {}}}, headers=claimed, timeout=10
    )
    assert (answer.status_code, answer.json().get("code", answer.json().get("detail"))) == (401, "caller_unknown")


def test_business_time_moves_for_all_or_says_who_is_behind(embedded: Journey) -> None:
    before = embedded.sandbox.steward("cash-transfer").get("/-/clock")["offset_seconds"]
    embedded.run("clock", "advance", "2d")
    offsets = {
        process.name: embedded.sandbox.steward(process.name).get("/-/clock")["offset_seconds"]
        for process in embedded.sandbox.processes
        if process.kind in ("block", "usecase")
    }
    assert set(offsets.values()) == {before + 2 * 86400}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clock", "advance", "yesterday"], "is not a duration such as 30d"),
        (["fault", "on", "dealy", "welfare-gateway"], "no fault 'dealy' here; known are"),
        (["fault", "on", "delay", "wellfare-gateway"], "no process 'wellfare-gateway' here; there are"),
        (["fault", "on", "delay", "welfare-gateway", "seconds"], "is not of the form name=value"),
        (["demo", "moon-landing"], "no story 'moon-landing'; there are: cash-transfer"),
        (["logs", "nobody"], "no log of 'nobody'"),
        (["evidence", "get", "no-such-id", "--output", "x.asice"], "no-such-id"),
        (["up", "--country", "/nowhere"], "runs already, with --country"),
        (["up", "--data", "x", "--country", "/nowhere"], "topology.yaml: there is no such file"),
        (["import", "beneficiaries", "/nowhere.csv"], "nowhere.csv"),
        (["status", "--data", "/nowhere/at/all"], "no sandbox in"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_told_clearly(embedded: Journey, words: list[str], said: str) -> None:
    done = embedded.run(*words, check=False)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_sandbox_is_reset_with_its_keys_kept(tmp_path: Path) -> None:
    from tests.journeys.conftest import start

    for journey in start(tmp_path / "sandbox"):
        adds_up(journey.json("demo", "cash-transfer"))
        anchor = (journey.data / "anchor.json").read_bytes()
        journey.run("reset", "--yes")
        assert (journey.data / "anchor.json").read_bytes() == anchor
        assert "functional_ids: 0 rows" in journey.run("country", "check").stdout
        adds_up(journey.json("demo", "cash-transfer"))


def test_two_sandboxes_run_side_by_side(embedded: Journey, tmp_path: Path) -> None:
    from tests.journeys.conftest import start

    for other in start(tmp_path / "sandbox"):
        adds_up(other.json("demo", "cash-transfer"))
        adds_up(embedded.json("demo", "cash-transfer"))
        assert (other.data / "anchor.json").read_bytes() != (embedded.data / "anchor.json").read_bytes()
