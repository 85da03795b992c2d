"""What must be refused: played on purpose, each checked for who refuses and why, and everything put right afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from usecases.cash_transfer.scenario.consent_page import withdraw_consent
from usecases.cash_transfer.scenario.desk import Desk, Refused
from usecases.cash_transfer.scenario.household import Household
from usecases.cash_transfer.scenario.stage import Stage

TAMPER = "flip-bit"


class Refusals:
    """The refusals of the story."""

    def __init__(self, stage: Stage, registrar: Desk) -> None:
        self._stage = stage
        self._registrar = registrar

    def play_no_consent(self) -> None:
        """A citizen says no: the registry itself refuses."""
        stage, person = self._stage, self._stage.cast.one("refuses-consent")
        household = self._household("refuses-consent")
        with stage.scene(
            f"{person.name} logs in and does not agree; the officer tries to read the record all the same"
        ):
            household.register(agrees=False)
            got = self._attempt(household)
            stage.refusal(
                "no consent",
                "consent_required",
                got,
                "The provider asks the consent service itself; the ministry's word counts for nothing.",
            )

    def consenting_household(self) -> Household:
        """A citizen agrees and the record is read; what follows is tried on this case."""
        stage, person = self._stage, self._stage.cast.one("withdraws-consent")
        household = self._household("withdraws-consent")
        with stage.scene(f"{person.name} agrees, and the record is read"):
            application = household.register()
            stage.expect(application["state"] == "registered", "the record was not read although the citizen agreed")
        return household

    def play_withdrawal(self, household: Household) -> None:
        """The citizen withdraws: from that moment the registry refuses."""
        stage, person = self._stage, household.person
        with stage.scene(f"{person.name} withdraws the consent on the own page at the consent service"):
            stage.expect(self._attempt(household) == "", "the record could not be read before the withdrawal")
            withdraw_consent(stage, household.browser, person)
            meaning = "Nothing positive is remembered anywhere: the next question is refused."
            stage.refusal("consent withdrawn", "consent_required", self._attempt(household), meaning)

    def play_duplicate(self) -> None:
        """The same household under a second spelling is stopped at verification."""
        stage = self._stage
        first, second = stage.cast.one("duplicate-household"), stage.cast.one("duplicate-household-second")
        with stage.scene(
            f"{first.name} applies and is verified; {second.name}, the same household spelt otherwise, applies too"
        ):
            if first.household not in self._known_households():
                self._until_verified("duplicate-household")
            try:
                self._until_verified("duplicate-household-second")
                got = ""
            except Refused as refusal:
                got = refusal.code
            stage.refusal(
                "duplicate household",
                "duplicate_household",
                got,
                "The registry knows the household by its number, however names are spelt.",
            )

    def play_revoked_right(self, household: Household) -> None:
        """The civil registry takes the access right away, and gives it back."""
        stage = self._stage
        with stage.scene("The civil registry withdraws the ministry's access right"):
            with self._right_revoked():
                got = self._attempt(household)
            meaning = "The provider's gateway refuses; the registry never sees the call."
            stage.refusal("access right revoked", "Server.ServerProxy.AccessDenied", got, meaning)
        with stage.scene("The access right is given back"):
            stage.expect(self._attempt(household) == "", "the access right did not come back")

    def play_tampering(self, household: Household) -> None:
        """One bit of an envelope is flipped in transit, after it was signed."""
        stage = self._stage
        stage.settle()
        own = stage.sandbox.steward(stage.places.own_gateway.name)
        with stage.scene("One bit of a message is flipped in transit, after it was signed"):
            before = self._reads_of(household)
            own.put(f"/-/faults/{TAMPER}", {"times": 1})
            try:
                got = self._attempt(household)
            finally:
                own.delete(f"/-/faults/{TAMPER}")
            meaning = "The provider's gateway verifies before anything reads the message."
            stage.refusal("tampered in transit", "Server.ServerProxy.InvalidSignatureValue", got, meaning)
            stage.expect(self._reads_of(household) == before, "the registry has seen the tampered message")

    def play_bypass(self, household: Household) -> None:
        """A call straight to the registry, past its gateway, with the ministry's name on it."""
        stage = self._stage
        with stage.scene("Somebody calls the registry past its gateway and claims to be the ministry"):
            response = requests.post(
                f"{stage.places.app('population').url}/data/population/1/read",
                json={"query": {"content": {"functionalId": household.functional_id}}},
                headers={"X-Road-Client": stage.places.client},
                timeout=30,
            )
            got = f"{response.status_code} {response.json().get('code', '')}"
            stage.refusal(
                "past the gateway",
                "401 caller_unknown",
                got,
                "A name in a header proves nothing; a block trusts its own gateway alone.",
            )

    def _household(self, case: str) -> Household:
        household = Household(self._stage, self._registrar, self._stage.cast.one(case))
        household.apply()
        return household

    def _until_verified(self, case: str) -> None:
        household = self._household(case)
        household.register()
        household.visit()
        household.take("verification")

    def _known_households(self) -> set[str]:
        listed = self._registrar.get("/api/applications")["applications"]
        return {each["household"] for each in listed if each["state"] in ("verified", "granted", "enrolled")}

    def _attempt(self, household: Household) -> str:
        """Let the officer read the record; return who refused and why, or an empty text."""
        try:
            household.take("prefill")
        except Refused as refusal:
            return str(refusal.provider.get("error") or refusal.code)
        return ""

    def _reads_of(self, household: Household) -> int:
        registry = self._stage.sandbox.steward(self._stage.places.app("population").name)
        query = f"userId={household.functional_id}&databaseId=population"
        response = registry.request("GET", f"/data/mypersonalDataUsage?{query}")
        return len(response.json()) if response.ok else 0

    @contextmanager
    def _right_revoked(self) -> Iterator[None]:
        gateway, change = self._stage.places.gateway_of("population"), [self._entry()]
        gateway.patch("/api/v1/rights/deny", change)
        try:
            yield
        finally:
            gateway.patch("/api/v1/rights/allow", change)

    def _entry(self) -> dict[str, Any]:
        """Return the access right in GovStack's form (IM 7.6)."""
        _, member_class, member_code, subsystem, service = str(self._stage.places.settings["population"]).split("/")
        _, own_class, own_code, own_subsystem = self._stage.places.client.split("/")
        consumer = {"memberClass": own_class, "memberCode": own_code, "applicationId": own_subsystem}
        return {
            "memberClass": member_class,
            "memberCode": member_code,
            "applicationId": subsystem,
            "serviceId": service,
            "rights": [consumer],
        }
