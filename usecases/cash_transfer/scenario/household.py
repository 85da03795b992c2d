"""The first acts: a household is told, registered with its consent, verified, found eligible and enrolled."""

from collections.abc import Iterator
from typing import Any

from usecases.cash_transfer.scenario.browser import Browser
from usecases.cash_transfer.scenario.cast import Person
from usecases.cash_transfer.scenario.consent_page import answer_consent
from usecases.cash_transfer.scenario.desk import Desk, Refused, log_in
from usecases.cash_transfer.scenario.stage import Stage, person_line
from usecases.cash_transfer.scenario.waiting import until


class Household:
    """One household's way through the programme."""

    def __init__(self, stage: Stage, registrar: Desk, person: Person) -> None:
        self._stage = stage
        self._registrar = registrar
        self.person = person
        self.browser: Browser = stage.browser()
        self.number = ""
        self.functional_id = ""

    def apply(self) -> None:
        """Outreach: the officer opens an application, the household gets a message."""
        opened = self._registrar.post("/api/applications", {"phone": self.person.phone})
        self.number = str(opened["id"])
        self._stage.phones.letter(self.person.phone, self.number)

    def register(self, *, agrees: bool = True) -> dict[str, Any]:
        """Registration: the citizen logs in, answers the consent question, and comes back; return the application."""
        stage = self._stage
        self.browser.open(f"{stage.base}/citizen/start/{self.number}")
        log_in(self.browser, self.person, stage.phones)
        self.browser.follow("continue")
        log_in(self.browser, self.person, stage.phones)
        answer_consent(self.browser, agrees=agrees)
        application = self._application()
        self.functional_id = str(application["functional_id"])
        return application

    def visit(self) -> dict[str, Any]:
        """Registration: the officer notes what is seen, and where the money shall go."""
        payee = {"modality": self._stage.cast.modality(self.person.address), "address": self.person.address}
        body = {"visit": dict(self.person.visit), "payee": payee}
        return dict(self._registrar.post(f"/api/applications/{self.number}/visit", body))

    def take(self, step: str) -> dict[str, Any]:
        """Let the officer take a step: ``prefill``, ``verification``, ``decision``, ``enrolment``."""
        return dict(self._registrar.post(f"/api/applications/{self.number}/{step}"))

    def onboarded(self) -> dict[str, Any]:
        """Wait for payments' callback and return the beneficiary."""
        path = f"/api/beneficiaries/{self.functional_id}"
        found = until(
            lambda: answered if (answered := self._registrar.get(path))["state"] != "registering" else None,
            "payments' answer",
        )
        assert found is not None
        return dict(found)

    def _application(self) -> dict[str, Any]:
        return dict(self._registrar.get(f"/api/applications/{self.number}"))


def next_households(stage: Stage, registrar: Desk) -> Iterator[Person]:
    """Yield the planted households that the programme does not know yet."""
    applied = {
        each["household"] for each in registrar.get("/api/applications")["applications"] if each["state"] != "refused"
    }
    for person in stage.cast.all("story"):
        listed = registrar.get(f"/api/beneficiaries?household={person.household}")["beneficiaries"]
        if person.household not in applied and not listed:
            yield person


def play_next_household(stage: Stage, registrar: Desk) -> None:
    """Play the next household; one that somebody has enrolled by a list meanwhile is stopped, and the next one comes."""
    for person in next_households(stage, registrar):
        try:
            return play_household(stage, registrar, person)
        except Refused as refusal:
            if refusal.code != "duplicate_household":
                raise
            stage.say(f"      {person.name} is in the programme already: {refusal.document.get('detail')}")
            stage.show_messages()
    stage.say("   All planted households are in the programme by now; `sandroad reset` begins again.")


def play_household(stage: Stage, registrar: Desk, person: Person) -> None:
    """Play all acts until enrolment with one household."""
    household = Household(stage, registrar, person)
    stage.act("Outreach", f"The ministry invites a household: {person_line(person)}.")
    with stage.scene("An officer opens an application; the household gets a text message"):
        household.apply()
    stage.act(
        "Registration",
        "The household says whether the ministry may ask others about it. Nobody can say it in its place.",
    )
    with stage.scene("The citizen logs in at the identity service and signs a consent at the consent service"):
        application = household.register()
        stage.expect(application["state"] == "registered", f"the application is {application['state']}, not registered")
        name = f"{application['record'].get('firstName', '')} {application['record'].get('lastName', '')}"
        stage.expect(name == person.name, f"the population registry shows {name!r}, not {person.name!r}")
        stage.say(
            f"      the form is filled from the population registry: {name}; the functional id is {household.functional_id}"
        )
    with stage.scene("An officer visits and notes what is seen, and which account the household names"):
        household.visit()
    stage.act(
        "Verification", "Other organisations are asked yes/no questions. They answer; they do not show their records."
    )
    with stage.scene("Is the household known already? Alive? High income? Much land?"):
        application = household.take("verification")
        stage.say(
            "      answers: "
            + ", ".join(f"{name}: {'yes' if said else 'no'}" for name, said in application["answers"].items())
        )
    stage.act("Eligibility", "The programme's own rules decide; the reasons are kept, and told by text message.")
    with stage.scene("The rules look at registry, visit and answers"):
        decision = household.take("decision")["decision"]
        stage.expect(bool(decision["eligible"]), f"{person.name} is not eligible: {decision['reasons']}")
        granted = f"band {decision['band']}, {decision['package']}, {decision['amount']} {decision['currency']}"
        stage.say(f"      {granted}: {decision['reasons'][-1]}")
        stage.say(f"      text message: {stage.phones.letter(person.phone, 'granted')}")
        stage.settle()
    stage.act(
        "Enrolment", "The household becomes a beneficiary; payments learns its account, under its functional id only."
    )
    with stage.scene("The beneficiary registry and the account mapper are told; payments calls back"):
        household.take("enrolment")
        beneficiary = household.onboarded()
        stage.expect(beneficiary["state"] == "active", f"payments did not accept the account: {beneficiary['reason']}")
        stage.settle()
