"""The payment act: a cycle is opened, validated, released by a second officer, paid and accounted for; what fails is mended."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sandroad.cli.lab import advance_clock
from usecases.cash_transfer.scenario.desk import Desk, Refused
from usecases.cash_transfer.scenario.stage import Stage
from usecases.cash_transfer.scenario.waiting import until

MOST_SHOWN = 5


class PaymentAct:
    """One cycle from the first to the last instruction."""

    def __init__(
        self, stage: Stage, preparing: Desk, approving: Desk, planted: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._stage = stage
        self._preparing = preparing
        self._approving = approving
        self._planted = planted
        self._batches: list[str] = []

    def play(self) -> dict[str, Any]:
        """Play the act and return the result's ``batch``."""
        stage = self._stage
        stage.act(
            "Payment",
            "Payday comes by business time, which a trainer can move; money moves between institutions' books.",
        )
        self._name_the_closed_account_again()
        with stage.scene("A payment officer opens the cycle that is due and has all payees validated"):
            batch = self._opened()
            self._post(batch, "validation", self._preparing)
            self._reach(batch, "validated", "reconciled")
        with stage.scene("The same officer tries to release the batch"):
            got = self._refused(batch)
            stage.refusal(
                "the officer who prepared a batch releases it",
                "four_eyes",
                got,
                "Two people must look before money moves.",
            )
        with stage.scene("A second officer releases the batch; payments pays through the institutions and calls back"):
            self._post(batch, "approval", self._approving)
            first = self._reach(batch, "reconciled")
            self._tell(first)
        self._check_planted(first)
        retried = self._mend_and_retry(first)
        return self._result(first, retried)

    def _opened(self) -> str:
        """Open the cycle that is due; if it was opened before, move business time to the next payday."""
        stage = self._stage
        try:
            opened = self._preparing.post("/api/cycles")["batches"]
        except Refused as refusal:
            if refusal.code != "cycle_not_due":
                raise
            due = datetime.fromisoformat(str(refusal.document["due"])).replace(tzinfo=UTC)
            by = due - self._business_time() + timedelta(hours=9)
            advance_clock(stage.sandbox, by)
            stage.say(f"      business time is moved to the next payday, {due:%d %B %Y}")
            opened = self._preparing.post("/api/cycles")["batches"]
        self._batches = [str(each["id"]) for each in opened]
        stage.say(f"      cycle {opened[0]['cycle']}: batch {opened[0]['id']} is prepared")
        return self._batches[0]

    def _business_time(self) -> datetime:
        steward = self._stage.sandbox.steward(self._stage.places.ministry.name)
        return datetime.fromisoformat(str(steward.get("/-/clock")["now"]))

    def _name_the_closed_account_again(self) -> None:
        """So that a later run shows the failure again: the beneficiary asks for the old account back."""
        closed, person = self._planted["account-closed"], self._stage.cast.one("account-closed")
        if closed["payee"]["address"] != person.address:
            self._change_payee(str(closed["functional_id"]), person.address)

    def _change_payee(self, functional_id: str, address: str) -> None:
        modality = self._stage.cast.modality(address)
        path = f"/api/beneficiaries/{functional_id}"
        self._preparing.put(f"{path}/payee", {"modality": modality, "address": address})
        until(lambda: self._preparing.get(path)["state"] == "active", "payments' answer about the other account")

    def _post(self, batch: str, step: str, officer: Desk) -> None:
        officer.post(f"/api/batches/{batch}/{step}")

    def _refused(self, batch: str) -> str:
        """Let somebody who may approve, but prepared the batch, try to release it."""
        try:
            self._post(batch, "approval", self._preparing)
        except Refused as refusal:
            return refusal.code
        return ""

    def _reach(self, batch: str, *states: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            shown = self._preparing.get(f"/api/batches/{batch}")
            return shown if shown["state"] in (*states, "rejected") else None

        reached = until(look, f"batch {batch} to be {' or '.join(states)}")
        assert reached is not None
        self._stage.expect(reached["state"] != "rejected", f"payments rejected batch {batch}: {reached['reason']}")
        return dict(reached)

    def _tell(self, batch: Mapping[str, Any]) -> None:
        said = ", ".join(
            f"{total['count']} {state} ({total['amount']})" for state, total in sorted(batch["totals"].items())
        )
        self._stage.say(f"      {said}")
        stopped = [each for each in batch["instructions"] if each["state"] in ("failed", "held")]
        for each in stopped[:MOST_SHOWN]:
            self._stage.say(f"      {each['functional_id']}: {each['state']}, {each['reason']}")
        if len(stopped) > MOST_SHOWN:
            self._stage.say(f"      and {len(stopped) - MOST_SHOWN} more")

    def _check_planted(self, batch: Mapping[str, Any]) -> None:
        states = {each["functional_id"]: each for each in batch["instructions"]}
        closed, late = (str(self._planted[case]["functional_id"]) for case in ("account-closed", "late-success"))
        self._stage.expect(
            states.get(closed, {}).get("state") == "failed", "the payment to the closed account did not fail"
        )
        self._stage.expect(states.get(late, {}).get("state") == "paid", "the late success was not booked")

    def _mend_and_retry(self, first: Mapping[str, Any]) -> dict[str, Any]:
        stage, person = self._stage, self._stage.cast.one("account-closed")
        functional_id = str(self._planted["account-closed"]["functional_id"])
        with stage.scene(
            f"{person.name}'s account is closed; a new account is named, and only this payment is tried again"
        ):
            self._change_payee(functional_id, person.mended_address)
            batch = str(self._preparing.post(f"/api/cycles/{first['cycle']}/retry")["batches"][0]["id"])
            self._batches.append(batch)
            self._post(batch, "validation", self._preparing)
            self._reach(batch, "validated", "reconciled")
            self._post(batch, "approval", self._approving)
            retried = self._reach(batch, "reconciled")
            self._tell(retried)
            stage.settle()
        paid = [each["functional_id"] for each in retried["instructions"] if each["state"] == "paid"]
        stage.expect(functional_id in paid, "the mended payment was not paid")
        return retried

    def _result(self, first: Mapping[str, Any], retried: Mapping[str, Any]) -> dict[str, Any]:
        both = (first, retried)
        count = [sum(batch["totals"].get(state, {}).get("count", 0) for batch in both) for state in ("paid", "failed")]
        amount = sum((Decimal(batch["totals"].get("paid", {}).get("amount", "0")) for batch in both), Decimal(0))
        for batch in both:
            twice = {each["id"] for each in batch["instructions"]}
            self._stage.expect(len(twice) == len(batch["instructions"]), "an instruction id appears twice")
        return {
            "instructions": sum(len(batch["instructions"]) for batch in both),
            "paid": count[0],
            "failed": count[1],
            "retried": len(retried["instructions"]),
            "amount": str(amount),
            "batches": list(self._batches),
            "cycle": first["cycle"],
        }
