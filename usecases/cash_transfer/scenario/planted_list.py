"""The list: beneficiaries whom another office found eligible come as a CSV file, planted cases among them."""

import csv
import io
import json
from typing import Any

from usecases.cash_transfer.scenario.cast import Person
from usecases.cash_transfer.scenario.desk import Desk
from usecases.cash_transfer.scenario.stage import Stage
from usecases.cash_transfer.scenario.waiting import until

LISTED = ("account-closed", "late-success", "institution-down", "twins", "twins-second")
GHOST = "ghost-payee"
COLUMNS = (
    "external_reference", "national_id", "package", "payment_modality", "financial_address", "lawful_basis",
    "household", "name", "phone",
)  # fmt: skip


def play_list(stage: Stage, payments_officer: Desk) -> dict[str, dict[str, Any]]:
    """Import the planted list; return the beneficiaries by case."""
    people = {case: stage.cast.one(case) for case in (*LISTED, GHOST)}
    stage.act(
        "Enrolment", f"A list of {len(people)} people arrives from a district office; each row names its lawful basis."
    )
    with stage.scene("The list is taken row by row; a bad row stops no other, and taking it twice changes nothing"):
        results = _import(stage, _file(stage, people))
        for each in results:
            if "result" in each:
                reason = f": {each['reason']}" if each.get("reason") else ""
                stage.say(f"      line {each['line']} {each['external_reference']}: {each['result']}{reason}")
        refused = [each for each in results if each.get("result") == "refused"]
        stage.expect(len(refused) == 1, f"{len(refused)} rows were refused, expected the ghost's alone")
        got = f"{refused[0]['column']}: {refused[0]['reason']}" if refused else ""
        expected = "national_id: identity knows nobody by this number"
        stage.refusal(
            "somebody on the list does not exist", expected, got, "Nobody is paid whom identity does not know."
        )
        found = until(lambda: _settled(payments_officer, people), "payments' answers about the list")
        stage.settle()
    return found


def _settled(desk: Desk, people: dict[str, Person]) -> dict[str, dict[str, Any]]:
    asked = {case: desk.get(f"/api/beneficiaries?source={_reference(person)}") for case, person in people.items()}
    found = {case: answer["beneficiaries"][0] for case, answer in asked.items() if answer["beneficiaries"]}
    return found if len(found) == len(LISTED) and all(each["state"] != "registering" for each in found.values()) else {}


def _file(stage: Stage, people: dict[str, Person]) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(COLUMNS)
    for person in people.values():
        address = person.address or f"KITE:{person.phone}"
        writer.writerow(
            [_reference(person), person.individual_id, _package(stage), stage.cast.modality(address), address, "public_task",
             person.household, person.name, person.phone]
        )  # fmt: skip
    return written.getvalue().encode()


def _package(stage: Stage) -> str:
    return next(iter(stage.programme.packages))


def _reference(person: Person) -> str:
    return f"DISTRICT-{person.case}"


def _import(stage: Stage, content: bytes) -> list[dict[str, Any]]:
    steward = stage.sandbox.steward(stage.places.ministry.name)
    response = steward.request("POST", "/-/import", data=content, timeout=120)
    response.raise_for_status()
    return [json.loads(line) for line in response.iter_lines() if line]
